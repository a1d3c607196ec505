"""Every method that reads text, words or a donor, on a few letters."""

import random
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from letter_rows import UNIT, once_each
from letter_texts import (
    DONOR_WIDTH,
    EXTENDED,
    SOURCE,
    Letters,
    random_rows,
    segment_all,
)

from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_donor import Interpolation, LeastSquares, Omp
from tasks.embedding.config_learned import Hypernetwork, HyperOfa, NextToken, TrainedNetwork
from tasks.embedding.config_lexical import (
    DictionaryFile,
    Ofa,
    SourceModel,
    TokenAdapt,
    TranslatedLines,
    TransTokenizer,
    Wechsel,
)
from tasks.embedding.config_prealign import PreAlign
from tasks.embedding.config_text import Align, Focus, TokAlign, TokenDistillation, TokenVectors
from tasks.embedding.config_vectors import WordVectorFile
from tasks.embedding.constant_direction import ConstantDirection
from tasks.embedding.from_donor import Donor, make_from_donor
from tasks.embedding.from_lexicon import FromLexicon, make_from_lexicon
from tasks.embedding.from_network import make_from_network
from tasks.embedding.from_text import FromText, make_from_text
from tasks.embedding.head_rule import head_prior
from tasks.embedding.initialise import Choices, initialise
from tasks.embedding.known import Known
from tasks.embedding.lexicon import Lexicon
from tasks.embedding.made_rows import MadeRows
from tasks.embedding.row_plan import plan_rows
from tasks.embedding.rows import NewRows, SourceRows
from tasks.shared.vocabulary import Vocabulary

VECTORS = TokenVectors(dimensions=8, epochs=1, min_count=1, max_ngram_bytes=3, n_buckets=200)
NEEDS_FASTTEXT = [Focus(vectors=VECTORS), TokAlign(vectors=VECTORS, n_pivots=4)]
WORDS = WordVectorFile(path="a file of the lexicon")
DICTIONARY = DictionaryFile(path="a file of the lexicon")
LINES = (TranslatedLines(source="a file of the lexicon", target="another"),)
NEIGHBOURS = {"n_neighbours": 3}
CONVEX = [
    *NEEDS_FASTTEXT, Align(), Align(add_pieces=True), Interpolation(k=5),
    Wechsel(source_vectors=WORDS, target_vectors=WORDS, dictionary=DICTIONARY, **NEIGHBOURS),
    Ofa(vectors=WORDS, **NEIGHBOURS),
    TransTokenizer(parallel_texts=LINES, min_count=1),
    TransTokenizer(parallel_texts=LINES, min_count=1, unit="tokens"),
    TokenAdapt(encoder=SourceModel(kind="source_model")),
]  # fmt: skip
"""Rows are means of old rows."""
DONATED = [
    Omp(k=4), Omp(k=4, normalised=True), Interpolation(k=5, weighting="barycentric"),
    Interpolation(k=5, weighting="least_squares"), Interpolation(k=5, metric="cosine"),
]  # fmt: skip
SUMS = [*CONVEX, *DONATED]
"""Rows are sums of old rows and nothing else; a donor's weights may be below 0."""
REDUCED = Ofa(vectors=WORDS, rank=3, **NEIGHBOURS)
"""Means of old rows in fewer dimensions: no longer than these, and not to be rebuilt from them."""
SHORT = {"n_steps": 3, "windows_per_step": 2, "window_tokens": 16}
NETWORK = Hypernetwork(network=TrainedNetwork(hidden=8, loss=NextToken(n_negatives=20), **SHORT))
LEARNT = [
    LeastSquares(),
    TokenDistillation(head="same", start="mean_of_pieces", **SHORT),
    TokenDistillation(**SHORT),
    PreAlign(dictionary=DICTIONARY, n_steps=3, pairs_per_step=4),
    PreAlign(
        head="same", start="mean_of_pieces", dictionary=DICTIONARY, n_steps=3, pairs_per_step=4
    ),
    NETWORK,
    TokenDistillation(start=NETWORK, **SHORT),
    HyperOfa(vectors=WORDS, hidden=8, n_epochs=2),
    HyperOfa(vectors=WORDS, hidden=8, n_epochs=2, rank=3),
]  # fmt: skip
"""Rows that no weights of old rows explain in whole."""
METHODS = [*SUMS, REDUCED, *LEARNT]
CASES = [
    ("same", "tied"), ("same", "untied_bias"), ("untied", "tied_bias"), ("untied", "untied"),
    ("prefix_prior", "tied"), ("first_piece", "untied_bias"),
]  # fmt: skip


def name_of(method) -> str:
    plain = type(method).model_construct()
    differs = [
        getattr(value, "method", str(value))
        for name in ("weighting", "metric", "normalised", "add_pieces", "start", "rank", "unit")
        if (value := getattr(method, name, None)) != getattr(plain, name, None)
    ]
    return "-".join([method.method, *differs])


def each(methods: list, name: str = "method"):
    """Parametrise over methods, those with fastText only where it is installed."""
    missing = pytest.mark.skipif(find_spec("fasttext") is None, reason="needs the extra vectors")
    return pytest.mark.parametrize(
        name,
        [
            pytest.param(m, id=name_of(m), marks=[missing] if m in NEEDS_FASTTEXT else [])
            for m in methods
        ],
    )


each_method = each(METHODS)
each_case = pytest.mark.parametrize(("head", "model"), CASES)
each_model = pytest.mark.parametrize("model", ["tied", "untied_bias"])
TRANSLATIONS = {"ab": "abab", "bc": "cb", "abc": "aba", "b": "bcbc", "ca": "ac"}


def write_lexicon(folder: Path) -> None:
    """Word vectors, a dictionary and parallel lines under their roles."""
    draw = random.Random(0)
    words = [*TRANSLATIONS, *TRANSLATIONS.values(), "a", "c", "abcb", "babab"]
    vectors = [" ".join([w, *(f"{draw.gauss(0, 1):.3f}" for _ in range(4))]) for w in words]
    pairs = [draw.choices([*TRANSLATIONS.items()], k=3) for _ in range(40)]
    files = {
        **dict.fromkeys(("vectors.vec", "source_vectors.vec", "target_vectors.vec"), vectors),
        "dictionary.tsv": ["\t".join(pair) for pair in TRANSLATIONS.items()],
        "parallel-000-source.txt": [" ".join(word for word, _ in line) for line in pairs],
        "parallel-000-target.txt": [" ".join(word for _, word in line) for line in pairs],
    }
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n")


RowsFor = Callable[..., NewRows]


def rows_from(lexicon_folder: Path, tiny_model_folder: Path) -> RowsFor:
    """Whole rows by a method, from tokenizers and texts of a few letters."""

    def rows(
        method,
        old: SourceRows,
        target: Vocabulary = EXTENDED,
        head: str | None = None,
        *,
        donor_tied: bool = True,
    ) -> NewRows:
        if head is not None:
            method = method.model_copy(update={"head": head})
        known = Known(
            old, plan_rows(SOURCE, target, segment_all, {}), SOURCE, target, once_each(target)
        )
        letters = Letters(known)
        lexicon = Lexicon(
            lexicon_folder, tiny_model_folder, {}.__getitem__, letters.encode, letters.device,
            letters.model, letters.compute_dtype,
        )  # fmt: skip
        unit = ConstantDirection(UNIT, spread=0.0)
        counts_W = np.arange(len(target))
        return initialise(
            known,
            make(method, known, lexicon, donor_tied=donor_tied),
            Choices(method.method, method.head, ("error",), 0),
            lambda: head_prior(EmbeddingConfig().prefix_prior, known.plan, counts_W, unit),
        )

    return rows


def make(method, known: Known, lexicon: Lexicon, *, donor_tied: bool) -> MadeRows:
    if isinstance(method, FromText):
        return make_from_text(method, known, Letters(known))
    if isinstance(method, Hypernetwork):
        return make_from_network(method, known, Letters(known))
    if isinstance(method, FromLexicon):
        return make_from_lexicon(method, known, lexicon)
    n_rows = len(known.target)
    donor = random_rows(n_rows, DONOR_WIDTH, tied=donor_tied)
    return make_from_donor(method, known, Donor("d", donor, np.arange(n_rows, dtype=np.int32)))
