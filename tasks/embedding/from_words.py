"""The initialiser that learns rows from words' vectors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from tasks.embedding.config_learned import HyperOfa
from tasks.embedding.hyperofa import HyperOfaSettings, hyperofa
from tasks.embedding.known import Known
from tasks.embedding.made_rows import MadeRows
from tasks.embedding.ofa import low_rank
from tasks.embedding.word_sets import WordSets
from tasks.embedding.word_vectors import WordVectors
from tasks.embedding.words_of_tokens import Encode, cut_words, words_by_token


@dataclass(frozen=True)
class WordReader:
    """Words with vectors, and how both tokenizers cut them."""

    vectors: WordVectors
    encode_old: Encode
    encode_new: Encode
    device: str
    progress: Callable[[int, int, str], None] = lambda done, total, text: None


def make_from_words(method: HyperOfa, known: Known, reader: WordReader) -> MadeRows:
    """Make rows for every token that is part of a word.

    Raises:
        InputError: the words do not cover the source model's vocabulary, or ``rank`` is too large.
    """
    words = reader.vectors.words
    plan, old = known.plan, known.rows
    of_old = words_by_token(cut_words(words, reader.encode_old), len(known.source))
    of_new = words_by_token(cut_words(words, reader.encode_new), len(plan.match))
    needed_W = np.zeros(len(plan.match), bool)
    needed_W[plan.needed] = True
    old_sets = WordSets(reader.vectors.vectors, of_old)
    new_sets = WordSets(reader.vectors.vectors, of_new.select(needed_W))
    settings = HyperOfaSettings(**method.model_dump(exclude={"method", "head", "vectors", "rank"}))

    def show(done: int, loss: float) -> None:
        reader.progress(done, method.n_epochs, f"loss of the word network {loss:.3f}")

    def make(
        rows_VD: Float32[np.ndarray, "V D"],
    ) -> tuple[Float32[np.ndarray, "K D"], Float32[np.ndarray, " T"]]:
        if method.rank is None:
            return hyperofa(old_sets, new_sets, rows_VD, settings, reader.device, show)
        reduced = low_rank(rows_VD, method.rank)
        made_KR, losses = hyperofa(
            old_sets, new_sets, reduced.coordinates, settings, reader.device, show
        )
        return made_KR @ reduced.primitives, losses

    input_KD, losses = make(old.input)
    head_is_read = not old.tied and method.head in ("same", "untied")
    return MadeRows(
        input_KD,
        make(old.head)[0] if head_is_read else None,
        None,
        new_sets.words.lengths > 0,
        note="by a network, from the vectors of words that hold the token",
        losses=losses,
        measured={
            "n_old_with_words": int((of_old.lengths > 0).sum()),
            "first_loss": float(losses[0]),
            "last_loss": float(losses[-1]),
        },
    )
