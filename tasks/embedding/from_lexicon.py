"""Initialisers that know words: by their vectors, their translations or their meaning.

Dimensions: V = old vocabulary, K = tokens that need rows, D = model width, S = width of a space.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from tasks.embedding.config_learned import HyperOfa
from tasks.embedding.config_lexical import (
    Ofa,
    SourceModel,
    TokenAdapt,
    TranslatedLines,
    TransTokenizer,
    Wechsel,
    parallel_role,
)
from tasks.embedding.config_prealign import PreAlign
from tasks.embedding.config_vectors import (
    FastTextFile,
    Side,
    TrainedVectors,
    VectorSource,
    WordVectorFile,
)
from tasks.embedding.dictionaries import read_dictionary
from tasks.embedding.fasttext_model import FastTextModel, read_fasttext_model
from tasks.embedding.from_word_pairs import make_from_word_pairs
from tasks.embedding.from_words import WordReader, make_from_words
from tasks.embedding.gettext_catalogues import iter_catalogue_pairs
from tasks.embedding.known import Known
from tasks.embedding.lexicon import Lexicon
from tasks.embedding.made_rows import MadeRows
from tasks.embedding.ofa import low_rank
from tasks.embedding.parallel_text import Batch, iter_sentence_pairs
from tasks.embedding.space_alignment import SpaceAlignment, Words, align_spaces
from tasks.embedding.token_spaces import vectors_of_tokens
from tasks.embedding.tokenadapt import tokenadapt
from tasks.embedding.translations import translate_tokens
from tasks.embedding.wechsel import wechsel
from tasks.embedding.word_vectors import WordVectors, read_word_vectors
from tasks.embedding.words_of_tokens import token_texts

FromLexicon = Wechsel | Ofa | TransTokenizer | TokenAdapt | HyperOfa | PreAlign


def make_from_lexicon(method: FromLexicon, known: Known, lexicon: Lexicon) -> MadeRows:
    """Make rows for every token that the words lead to.

    Raises:
        InputError: vectors, dictionary, text or encoder cannot be used, alone or together.
    """
    if not known.n_needed:
        return MadeRows.nothing(known.rows)
    match method:
        case Wechsel():
            return _wechsel(method, known, lexicon)
        case Ofa():
            return _ofa(method, known, lexicon)
        case TransTokenizer():
            return _translated(method, known, lexicon)
        case TokenAdapt():
            return _adapted(method, known, lexicon)
        case HyperOfa():
            return _learned(method, known, lexicon)
        case PreAlign():
            return make_from_word_pairs(method, known, lexicon)


def _wechsel(method: Wechsel, known: Known, lexicon: Lexicon) -> MadeRows:
    sources, targets = method.source_vectors, method.target_vectors
    old = _open(sources, "source_vectors", lexicon)
    new = _open(targets, "target_vectors", lexicon)
    alignment: SpaceAlignment | None = None
    if method.dictionary is not None:
        path = lexicon.file("dictionary")
        pairs = read_dictionary(path, reverse=method.dictionary.reverse)
        words = _leading(old, sources.max_words), _leading(new, targets.max_words)
        alignment = align_spaces(*words, pairs)
    old_VS = _token_vectors(old, sources, "source", known, lexicon)
    new_WS = _token_vectors(new, targets, "target", known, lexicon)
    new_KS = new_WS[known.plan.needed]
    weights = wechsel(new_KS, old_VS, alignment, method.n_neighbours, method.temperature)
    measured = {"n_old_with_vector": _n_present(old_VS), "n_needed_with_vector": _n_present(new_KS)}
    if alignment is not None:
        measured["n_dictionary_pairs"] = alignment.n_pairs
    return MadeRows.from_weights(known.rows, weights, measured=measured)


def _ofa(method: Ofa, known: Known, lexicon: Lexicon) -> MadeRows:
    vectors = _open(method.vectors, "vectors", lexicon)
    old_VS = _token_vectors(vectors, method.vectors, "source", known, lexicon, as_ofa=True)
    new_WS = _token_vectors(vectors, method.vectors, "target", known, lexicon, as_ofa=True)
    new_KS = new_WS[known.plan.needed]
    weights = wechsel(new_KS, old_VS, None, method.n_neighbours, method.temperature)
    measured = {"n_old_with_vector": _n_present(old_VS), "n_needed_with_vector": _n_present(new_KS)}
    rows = known.rows
    if method.rank is None:
        return MadeRows.from_weights(rows, weights, measured=measured)
    of_input = low_rank(rows.input, method.rank)
    of_head = of_input if rows.tied else low_rank(rows.head, method.rank)
    reduced = replace(rows, input=of_input.rows, head=of_head.rows)
    measured |= {"share_of_input_kept": of_input.share_kept}
    made = MadeRows.from_weights(reduced, weights, measured=measured)
    return replace(made, note=f"of old rows in their {method.rank} leading dimensions")


def _translated(method: TransTokenizer, known: Known, lexicon: Lexicon) -> MadeRows:
    def batches() -> Iterator[Batch]:
        for number, text in enumerate(method.parallel_texts):
            role = parallel_role(number)
            if isinstance(text, TranslatedLines):
                source, target = lexicon.file(f"{role}-source"), lexicon.file(f"{role}-target")
                yield from iter_sentence_pairs(source, target)
            else:
                yield from iter_catalogue_pairs(lexicon.files(role))

    encoders = lexicon.encode("source"), lexicon.encode("target")
    weights, measured = translate_tokens(method, known, batches(), *encoders)
    return MadeRows.from_weights(known.rows, weights, measured=measured)


def _adapted(method: TokenAdapt, known: Known, lexicon: Lexicon) -> MadeRows:
    from tasks.embedding.sentence_encoder import SentenceEncoder

    is_source = isinstance(method.encoder, SourceModel)
    folder = lexicon.source_folder if is_source else lexicon.folder
    dtype = lexicon.compute_dtype(method.compute_dtype)
    encoder = SentenceEncoder(folder, lexicon.device(), dtype)
    needed, source = known.plan.needed, known.source
    new_texts = token_texts([known.target.token_bytes[i] for i in needed.tolist()])

    def show(done: int, total: int) -> None:
        lexicon.progress(done, total, "tokens embedded by their text")

    vectors_TS = encoder.embed([*new_texts, *token_texts(source.token_bytes)], show)
    new_KS, old_VS = vectors_TS[: len(needed)], vectors_TS[len(needed) :]
    weights = tokenadapt(
        new_KS, old_VS, known.plan.needed_pieces, known.source_bytes,
        method.n_neighbours, method.global_share, method.temperature,
    )  # fmt: skip
    measured = {"n_old_with_vector": _n_present(old_VS), "n_needed_with_vector": _n_present(new_KS)}
    return MadeRows.from_weights(known.rows, weights, measured=measured)


def _learned(method: HyperOfa, known: Known, lexicon: Lexicon) -> MadeRows:
    vectors = _open(method.vectors, "vectors", lexicon)
    words = _words(vectors, method.vectors.max_words)
    encoders = lexicon.encode("source"), lexicon.encode("target")
    reader = WordReader(words, *encoders, lexicon.device(), lexicon.progress)
    return make_from_words(method, known, reader)


def _open(vectors: VectorSource, role: str, lexicon: Lexicon) -> WordVectors | FastTextModel:
    """Read vectors that are given, or take those that were trained."""
    match vectors:
        case WordVectorFile():
            return read_word_vectors(lexicon.file(role), vectors.max_words)
        case FastTextFile():
            return read_fasttext_model(lexicon.file(role))
        case TrainedVectors():
            return lexicon.trained(role)


def _words(vectors: WordVectors | FastTextModel, max_words: int | None) -> WordVectors:
    return vectors.word_vectors(max_words) if isinstance(vectors, FastTextModel) else vectors


def _leading(vectors: WordVectors | FastTextModel, max_words: int | None) -> Words:
    """Words of which few are asked for their vectors."""
    return vectors.leading_words(max_words) if isinstance(vectors, FastTextModel) else vectors


def _token_vectors(
    vectors: WordVectors | FastTextModel,
    source: VectorSource,
    side: Side,
    known: Known,
    lexicon: Lexicon,
    *,
    as_ofa: bool = False,
) -> Float32[np.ndarray, "V S"]:
    by = "words" if isinstance(source, WordVectorFile) else source.by
    token_bytes = (known.source if side == "source" else known.target).token_bytes
    encode = lexicon.encode(side)
    return vectors_of_tokens(vectors, by, source.max_words, token_bytes, encode, as_ofa=as_ofa)


def _n_present(vectors: Float32[np.ndarray, "V S"]) -> int:
    return int(vectors.any(axis=1).sum())
