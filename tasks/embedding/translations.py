"""Weights of old rows by translation, from sentence pairs to rows.

Dimensions: K = tokens that need rows.
"""

from collections.abc import Iterable

import numpy as np

from tasks.embedding.alignment_units import Units, token_units, word_units
from tasks.embedding.config_lexical import TransTokenizer
from tasks.embedding.known import Known
from tasks.embedding.parallel_text import Batch
from tasks.embedding.pieces import Pieces
from tasks.embedding.row_weights import RowWeights
from tasks.embedding.trans_tokenizer import token_counts, translation_weights
from tasks.embedding.word_alignment import ParallelTextError, align
from tasks.embedding.words_of_tokens import Encode

MAX_UNITS = 1000
"""A longer sentence is none: it would be paired with every unit of its translation, in memory and
time that grow with the square of the length, and say next to nothing about any one of them."""


def translate_tokens(
    method: TransTokenizer,
    known: Known,
    batches: Iterable[Batch],
    encode_source: Encode,
    encode_target: Encode,
) -> tuple[RowWeights, dict[str, int | float]]:
    """Align sentence pairs and weigh old rows by what was linked.

    Args:
        method: how.
        known: both vocabularies and which tokens need rows.
        batches: sentences and their translations.
        encode_source: the old tokenizer.
        encode_target: the new one.

    Returns:
        Weights of the K tokens, and numbers for the summary.

    Raises:
        ParallelTextError: there are no sentence pairs, or too many for memory; or in each pair
            one sentence has more than ``MAX_UNITS``.
    """
    sides = list[Pieces](), list[Pieces]()
    for source, target in batches:
        sides[0].append(Pieces.from_lists(encode_source(source)))
        sides[1].append(Pieces.from_lists(encode_target(target)))
    old = _units(method, Pieces.joined(sides[0]), known.source.token_bytes)
    new = _units(method, Pieces.joined(sides[1]), known.target.token_bytes)
    short = np.maximum(old.sentences.lengths, new.sentences.lengths) <= MAX_UNITS
    if len(short) and not short.any():
        raise ParallelTextError(
            f"each of the {len(short)} sentence pairs has more than {MAX_UNITS} {method.unit} on "
            "one side; give text with one sentence a line."
        )
    left, right = old.sentences.select(short), new.sentences.select(short)
    links = align(
        left,
        right,
        len(old.tokens),
        len(new.tokens),
        n_iterations=method.n_iterations,
        tension=method.diagonal_tension,
        null_probability=method.null_probability,
        max_pairs=method.max_pairs,
    )
    sizes = len(known.source), len(known.target)
    counts_WV = token_counts(links, old.tokens, new.tokens, float(method.min_count), *sizes)
    needed_K = known.plan.needed.astype(np.int64)
    weights = translation_weights(
        counts_WV, needed_K, known.target.token_bytes, method.smooth_unseen
    )
    linked_W = counts_WV.sum(axis=1) > 0
    return weights, {
        "n_sentence_pairs": len(left),
        "n_too_long_sentence_pairs": int((~short).sum()),
        "n_links": int((links.counts >= method.min_count).sum()),
        "n_needed_with_link": int(np.asarray(linked_W).ravel()[needed_K].sum()),
        "log_likelihood_per_unit": links.log_likelihoods[-1] / max(len(right.ids), 1),
    }


def _units(
    method: TransTokenizer, sentences: Pieces, token_bytes: tuple[bytes | None, ...]
) -> Units:
    if method.unit == "tokens":
        return token_units(sentences, len(token_bytes))
    return word_units(sentences, token_bytes)
