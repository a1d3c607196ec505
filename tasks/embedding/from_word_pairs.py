"""Rows trained on the pairs of a dictionary."""

import numpy as np

from tasks.embedding.config_prealign import PreAlign
from tasks.embedding.config_source import Composed, MeanOfPieces
from tasks.embedding.dictionaries import read_dictionary
from tasks.embedding.initialisers import make_from_source
from tasks.embedding.known import Known
from tasks.embedding.lexicon import Lexicon
from tasks.embedding.made_rows import MadeRows
from tasks.embedding.word_pairs import pair_words
from tasks.shared.document_prefix import document_prefix_id


def make_from_word_pairs(method: PreAlign, known: Known, lexicon: Lexicon) -> MadeRows:
    """Train the input rows of tokens that the dictionary's words have; others keep their first.

    Raises:
        InputError: the dictionary cannot be read, or has nothing to do with the new tokens.
    """
    from tasks.embedding.prealign import AlignmentSettings, align_rows

    plan = known.plan
    first = Composed(head=method.head) if method.start == "composed" else MeanOfPieces()
    start = make_from_source(first, known)
    read = read_dictionary(lexicon.file("dictionary"), reverse=method.dictionary.reverse)
    is_new_W = plan.are("new", "uncovered")
    pairs = pair_words(read, lexicon.encode("source"), lexicon.encode("target"), is_new_W)
    settings = AlignmentSettings(
        method.n_steps, method.pairs_per_step, method.lr, method.temperature, method.n_layers,
        lexicon.compute_dtype(method.compute_dtype), method.seed,
    )  # fmt: skip

    def show(done: int, loss: float) -> None:
        lexicon.progress(done, method.n_steps, f"words told from others, {loss:.3f} nats")

    made = align_rows(
        lexicon.model(), pairs, start.input, plan.needed.astype(np.int64), plan.match,
        (document_prefix_id(known.source.roles), document_prefix_id(known.target.roles)),
        settings, show,
    )  # fmt: skip
    note = f"trained to read as its words' translations do, from {method.start}"
    counted = {"n_dictionary_pairs": len(read)}
    return start.with_trained(made.input, made.seen, note, made.loss, counted)
