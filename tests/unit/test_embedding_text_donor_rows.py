"""Rows by methods with text, words or a donor: what test_embedding_rows.py asks of the others."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

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
from tasks.embedding.config_source import Composed, MeanOfPieces
from tasks.embedding.config_text import Align, Focus, TokAlign, TokenDistillation, TokenVectors
from tasks.embedding.config_vectors import Side, WordVectorFile
from tasks.embedding.constant_direction import ConstantDirection
from tasks.embedding.description import describe
from tasks.embedding.from_donor import Donor, make_from_donor
from tasks.embedding.from_lexicon import FromLexicon, make_from_lexicon
from tasks.embedding.from_network import make_from_network
from tasks.embedding.from_text import FromText, make_from_text
from tasks.embedding.head_rule import head_prior
from tasks.embedding.initialise import Choices, initialise
from tasks.embedding.initialisers import make_from_source
from tasks.embedding.known import Known
from tasks.embedding.lexicon import Lexicon
from tasks.embedding.lineage import lineage_tables
from tasks.embedding.made_rows import MadeRows
from tasks.embedding.row_plan import plan_rows
from tasks.embedding.rows import NewRows, SourceRows
from tasks.embedding.words_of_tokens import Encode
from tasks.shared.vocabulary import Vocabulary

WIDTH, DONOR_WIDTH = 6, 9
UNIT = np.eye(WIDTH)[-1]
"""Hidden states of these tests have 1 here, so this is an exact constant direction."""
BYTES = [bytes([i]) for i in range(256)]
EOS, A, B, C = 0, 1 + ord("a"), 1 + ord("b"), 1 + ord("c")
AB, BC, ABC = 257, 258, 259


def vocabulary(tokens: list[bytes | str], merges: Sequence[tuple[int, ...]]) -> Vocabulary:
    """A str is a special token; ``<eos>`` has the role eos."""
    special = {t: i for i, t in enumerate(tokens) if isinstance(t, str)}
    return Vocabulary(
        tuple(t if isinstance(t, bytes) else None for t in tokens),
        tuple(t.decode("latin1") if isinstance(t, bytes) else t for t in tokens),
        special,
        {"eos": special["<eos>"]},
        tuple((left, right, made) for left, right, made in merges),
    )


CAPITALS = [(1 + x, 2 + x, ABC + 1 + n) for n, x in enumerate(range(ord("A"), ord("U")))]
"""Merges enough for a network to learn from, of letters that no text has."""
MERGES = [(A, B, AB), (B, C, BC), (AB, C, ABC), *CAPITALS]
OLD = ["<eos>", *BYTES, b"ab", b"bc", b"abc", *(bytes([x - 1, y - 1]) for x, y, _ in CAPITALS)]
SOURCE = vocabulary(OLD, MERGES)
N_OLD = len(SOURCE)
EXTENDED = vocabulary(
    [*OLD, b"aba", b"abab", b"cb", b"bcbc"],
    [*MERGES, *((AB, A, N_OLD), (AB, AB, N_OLD + 1), (C, B, N_OLD + 2), (BC, BC, N_OLD + 3))],
)
TOKENS_OF_EXTENDED = list(zip(EXTENDED.token_bytes, EXTENDED.token_text, strict=True))
N_NEW = len(EXTENDED)
NEW = slice(N_OLD, N_NEW)
FIRST_PIECES = [AB, AB, C, BC]
"""Old pieces that aba, abab, cb and bcbc begin with."""


def permuted() -> tuple[np.ndarray, Vocabulary]:
    """Old ids by new id, and the source vocabulary in that order."""
    order = np.random.default_rng(2).permutation(N_OLD)
    new_id = {int(i): new for new, i in enumerate(order)}
    tokens = [SOURCE.token_bytes[i] or SOURCE.token_text[i] for i in order]
    merges = [tuple(new_id[i] for i in merge) for merge in SOURCE.merges]
    return order, vocabulary(tokens, merges)


def cut(vocabulary: Vocabulary, text: bytes) -> list[int]:
    """Longest match from the left."""
    ids = {t: i for i, t in enumerate(vocabulary.token_bytes) if t is not None}
    found: list[int] = []
    while text:
        size = next(n for n in range(min(4, len(text)), 0, -1) if text[:n] in ids)
        found.append(ids[text[:size]])
        text = text[size:]
    return found


def segment_all(tokens: Sequence[bytes]) -> list[list[int]]:
    return [cut(SOURCE, token) for token in tokens]


@dataclass(frozen=True)
class Letters:
    """A corpus of a, b and c, and a small model with the source's rows."""

    known: Known

    def new_ids(self, max_bytes: int, seed: int) -> Iterator[np.ndarray]:
        return (new for _, new in self.both_ids(max_bytes, seed))

    def both_ids(self, max_bytes: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(seed)
        for _ in range(40):
            text = bytes(rng.choice([*b"abc"], size=40).tolist())
            yield np.array(cut(SOURCE, text)), np.array(cut(self.known.target, text))

    def model(self) -> PreTrainedModel:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=N_OLD, hidden_size=WIDTH, intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=1, num_key_value_heads=1,
        )  # fmt: skip
        model = LlamaForCausalLM(config).eval()
        model.get_input_embeddings().weight.data = torch.tensor(self.known.rows.input)
        return model

    def compute_dtype(self, asked: str) -> torch.dtype:
        return torch.float32

    def progress(self, done: int, total: int, text: str) -> None:
        pass

    def device(self) -> str:
        return "cpu"

    def outside_file(self, role: str) -> Path:
        raise KeyError(role)  # networks of these tests are trained here

    def encode(self, side: Side) -> Encode:
        vocabulary = self.known.source if side == "source" else self.known.target
        return lambda texts: [cut(vocabulary, text.encode()) for text in texts]


def random_rows(n: int, width: int, *, tied: bool, bias: bool = False) -> SourceRows:
    rng = np.random.default_rng(width)
    input_VD, head_VD = rng.normal(size=(2, n, width)).astype(np.float32)
    bias_V = rng.normal(size=n).astype(np.float32) if bias else None
    return SourceRows(input_VD, input_VD if tied else head_VD, bias_V, tied)


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
LEARNT = [
    LeastSquares(),
    TokenDistillation(head="same", start="mean_of_pieces", **SHORT),
    TokenDistillation(**SHORT),
    PreAlign(dictionary=DICTIONARY, n_steps=3, pairs_per_step=4),
    PreAlign(
        head="same", start="mean_of_pieces", dictionary=DICTIONARY, n_steps=3, pairs_per_step=4
    ),
    Hypernetwork(network=TrainedNetwork(hidden=8, loss=NextToken(n_negatives=20), **SHORT)),
    HyperOfa(vectors=WORDS, hidden=8, n_epochs=2),
    HyperOfa(vectors=WORDS, hidden=8, n_epochs=2, rank=3),
]  # fmt: skip
"""Rows that no weights of old rows explain in whole."""
METHODS = [*SUMS, REDUCED, *LEARNT]
MODELS = {"tied": (True, False), "untied": (False, False), "tied_bias": (True, True),
          "untied_bias": (False, True)}  # fmt: skip
CASES = [
    ("same", "tied"), ("same", "untied_bias"), ("untied", "tied_bias"), ("untied", "untied"),
    ("prefix_prior", "tied"), ("first_piece", "untied_bias"),
]  # fmt: skip


def name_of(method) -> str:
    plain = type(method).model_construct()
    differs = [
        str(value)
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


def old_rows(model: str = "untied") -> SourceRows:
    tied, bias = MODELS[model]
    return random_rows(N_OLD, WIDTH, tied=tied, bias=bias)


TRANSLATIONS = {"ab": "abab", "bc": "cb", "abc": "aba", "b": "bcbc", "ca": "ac"}


@pytest.fixture(scope="module")
def lexicon_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Word vectors, a dictionary and parallel lines under their roles."""
    folder, draw = tmp_path_factory.mktemp("lexicon"), random.Random(0)
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
    return folder


RowsFor = Callable[..., NewRows]


@pytest.fixture
def rows_for(lexicon_folder: Path, tiny_model_folder: Path) -> RowsFor:
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
        known = Known(old, plan_rows(SOURCE, target, segment_all, {}), SOURCE, target)
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


@each_method
@each_case
def test_same_vocabulary_changes_no_bit(rows_for: RowsFor, method, head: str, model: str):
    old = old_rows(model)
    rows = rows_for(method, old, SOURCE, head)
    assert rows.input.tobytes() == old.input.tobytes()
    assert (rows.head is None) is (old.tied and head == "same")
    if rows.head is not None:
        np.testing.assert_array_equal(rows.head, old.head)
    if old.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias, old.head_bias)
    else:
        assert rows.head_bias is None


@each([method for method in METHODS if isinstance(method, FromLexicon)])
def test_where_no_token_is_new_nothing_is_read_and_nothing_trained(method, tmp_path: Path):
    known = Known(old_rows(), plan_rows(SOURCE, SOURCE, segment_all, {}), SOURCE, SOURCE)
    letters = Letters(known)
    nothing_there = Lexicon(
        tmp_path, tmp_path, {}.__getitem__, letters.encode, letters.device, letters.model,
        letters.compute_dtype,
    )  # fmt: skip
    made = make_from_lexicon(method, known, nothing_there)
    assert len(made.found) == 0
    assert made.losses is None


@each_method
@each_model
def test_permuted_vocabulary_permutes_rows(rows_for: RowsFor, method, model: str):
    old, (order, target) = old_rows(model), permuted()
    rows = rows_for(method, old, target, "untied")
    assert rows.input.tobytes() == old.input[order].tobytes()
    assert rows.head is not None
    assert rows.head.tobytes() == old.head[order].tobytes()
    if old.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias, old.head_bias[order])


@each_method
@each_case
def test_old_rows_stay_and_every_row_is_usable(rows_for: RowsFor, method, head: str, model: str):
    old = old_rows(model)
    rows = rows_for(method, old, head=head)
    assert rows.input.shape == (N_NEW, WIDTH)
    assert rows.input[:N_OLD].tobytes() == old.input.tobytes()
    # What describe checks before anything is written: no row is zero, none is not finite.
    summary = describe(rows, old, plan_rows(SOURCE, EXTENDED, segment_all, {}))
    assert (summary["n_copied"], summary["n_initialised"]) == (N_OLD, 4)
    assert summary["n_unexplained_equal_rows"] == 0
    assert summary["tied"] is (old.tied and head == "same")
    if rows.head is not None:
        assert rows.head.shape == rows.input.shape
        assert not np.shares_memory(rows.head, rows.input)
        if head != "prefix_prior":
            assert rows.head[:N_OLD].tobytes() == old.head.tobytes()
    assert (rows.head_bias is None) is (old.head_bias is None)
    tables = lineage_tables(rows, SOURCE, EXTENDED)
    assert [table.num_rows for table in tables] == [N_NEW] * (1 + (rows.head is not None))


@each_method
@each_model
def test_untying_alone_changes_no_row(rows_for: RowsFor, method, model: str):
    old = old_rows(model)
    same, untied = (rows_for(method, old, head=head) for head in ("same", "untied"))
    np.testing.assert_array_equal(untied.input, same.input)
    np.testing.assert_array_equal(untied.head_bias, same.head_bias)
    np.testing.assert_array_equal(untied.head, same.input if same.head is None else same.head)


@each_method
@each_model
def test_first_piece_head_by_hand(rows_for: RowsFor, method, model: str):
    old = old_rows(model)
    rows = rows_for(method, old, head="first_piece")
    assert rows.head is not None
    np.testing.assert_array_equal(rows.head[NEW], old.head[FIRST_PIECES])
    if old.head_bias is not None and rows.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias[NEW], old.head_bias[FIRST_PIECES])


@each([*DONATED, Interpolation(k=5), LeastSquares()])
@each_model
def test_any_donor_serves_any_model(rows_for: RowsFor, method, model: str):
    """A tied donor lends its input rows for the head of an untied model, and the reverse."""
    old = old_rows(model)
    tied, untied = (rows_for(method, old, donor_tied=donor_tied) for donor_tied in (True, False))
    for rows in (tied, untied):
        assert (rows.head is None) is old.tied
        assert rows.input[:N_OLD].tobytes() == old.input.tobytes()
    np.testing.assert_array_equal(tied.input, untied.input)
    if tied.head is not None and untied.head is not None:
        assert (tied.head[NEW] != untied.head[NEW]).all()


@each([Omp(k=4), Interpolation(k=5, metric="cosine"), LeastSquares()])
@each_model
def test_a_row_that_the_donor_never_trained_falls_back(method, model: str):
    known = Known(old_rows(model), plan_rows(SOURCE, EXTENDED, segment_all, {}), SOURCE, EXTENDED)
    donor = random_rows(N_NEW, DONOR_WIDTH, tied=True)
    donor.input[N_OLD + 1] = 0
    made = make_from_donor(method, known, Donor("d", donor, np.arange(N_NEW, dtype=np.int32)))
    assert made.found.tolist() == [True, False, True, True]
    choices = Choices(method.method, "same", ("mean_of_pieces", "mean"), 0)
    rows = initialise(known, made, choices, lambda: pytest.fail("no head rule asks for it"))
    assert rows.steps[NEW] == ("made", "mean_of_pieces", "made", "made")
    assert describe(rows, known.rows, known.plan)["n_fallback_mean_of_pieces"] == 1


@each([Omp(k=4), Interpolation(k=5, metric="cosine"), LeastSquares()])
def test_a_byte_that_has_a_real_piece_is_no_second_anchor(method):
    """A donor with byte fallback never saw ``<0x61>`` where it has a token "a"."""
    plain = Known(old_rows(), plan_rows(SOURCE, EXTENDED, segment_all, {}), SOURCE, EXTENDED)
    target = vocabulary([*(data or text for data, text in TOKENS_OF_EXTENDED), b"a"], MERGES)
    target = replace(target, token_text=(*EXTENDED.token_text, "<0x61>"))
    known = Known(old_rows(), plan_rows(SOURCE, target, segment_all, {}), SOURCE, target)
    donor = random_rows(N_NEW + 1, DONOR_WIDTH, tied=True)
    donor.input[N_NEW] = 3 * donor.input[N_OLD]
    made, expected = (
        make_from_donor(method, one, Donor("d", donor, np.arange(len(one.target), dtype=np.int32)))
        for one in (known, plain)
    )
    assert made.measured["n_anchors"] == expected.measured["n_anchors"] == N_OLD - 1
    np.testing.assert_array_equal(made.input, expected.input)


@each([
    TokenDistillation(head="same", start="mean_of_pieces", **SHORT),
    TokenDistillation(head="untied", start="composed", **SHORT),
])  # fmt: skip
def test_rows_that_training_did_not_move_say_where_they_are_from(rows_for: RowsFor, method):
    """No text has the last token; a head is not trained at all."""
    tokens = [text if data is None else data for data, text in TOKENS_OF_EXTENDED]
    target = vocabulary([*tokens, 20 * b"bb"], EXTENDED.merges)
    rows = rows_for(method, old_rows(), target)
    first = Composed() if method.start == "composed" else MeanOfPieces()
    known = Known(old_rows(), plan_rows(SOURCE, target, segment_all, {}), SOURCE, target)
    plain = make_from_source(first, known)
    notes, weights = rows.input_origins.notes, rows.input_origins.weights
    trained = [i for i in range(N_OLD, N_NEW + 1) if notes[i].startswith("trained to read as")]
    assert trained
    assert N_NEW not in trained
    assert [weights.of(i) for i in trained] == [([], [])] * len(trained)
    assert plain.input_weights is not None
    assert weights.of(N_NEW) == plain.input_weights.of(N_NEW - N_OLD)
    np.testing.assert_array_equal(rows.input[N_NEW], plain.input[N_NEW - N_OLD])
    assert rows.head_origins is not None
    assert not any("trained" in note for note in rows.head_origins.notes)


@each([*CONVEX, REDUCED])
def test_convex_methods_stay_within_the_source(rows_for: RowsFor, method):
    """A mean is no longer than the longest of its rows; how short it gets depends on angles."""
    old = old_rows()
    rows = rows_for(method, old)
    assert rows.head is not None
    for made, source, origins in (
        (rows.input, old.input, rows.input_origins),
        (rows.head, old.head, rows.head_origins),
    ):
        assert origins is not None
        totals = [sum(origins.weights.of(token)[1]) for token in range(N_NEW)]
        np.testing.assert_allclose(totals, 1, atol=1e-6)
        assert origins.weights.weights.min() >= 0
        norms = np.linalg.norm(made, axis=1)
        assert 0 < norms.min() <= norms.max() <= np.linalg.norm(source, axis=1).max() + 1e-6


def test_whole_rows_that_are_taken_over_keep_their_norm(rows_for: RowsFor):
    pytest.importorskip("fasttext")
    old = old_rows()
    norms = np.linalg.norm(rows_for(NEEDS_FASTTEXT[1], old).input, axis=1)
    old_norms = np.linalg.norm(old.input, axis=1)
    assert old_norms.min() <= norms.min() <= norms.max() <= old_norms.max()


@each_method
def test_the_same_choices_give_the_same_bits(rows_for: RowsFor, method):
    old = old_rows("untied_bias")
    once, again = (rows_for(method, old) for _ in range(2))
    assert once.input.tobytes() == again.input.tobytes()
    assert once.head is not None
    assert again.head is not None
    assert once.head.tobytes() == again.head.tobytes()


@each_method
def test_all_byte_tokens_have_rows_of_their_own(rows_for: RowsFor, method):
    target = vocabulary(
        [b"ab", b"cb", *BYTES[::-1], "<eos>", b"bc"],
        [(160, 159, 0), (158, 159, 1), (159, 158, 259)],
    )
    old = old_rows("tied")
    rows = rows_for(method, old, target)
    assert len({row.tobytes() for row in rows.input[2:258]}) == 256
    assert rows.input[2:258].tobytes() == old.input[256:0:-1].tobytes()


@each_method
@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
def test_shared_rows_survive_the_stored_dtype(rows_for: RowsFor, method, stored: str):
    dtype = getattr(torch, stored)
    stored_VD = torch.randn(N_OLD, WIDTH, generator=torch.manual_seed(0)).to(dtype)
    input_VD = stored_VD.float().numpy()
    rows = rows_for(method, SourceRows(input_VD, input_VD, None, tied=True))
    back = torch.from_numpy(rows.input[:N_OLD]).to(dtype)
    assert torch.equal(back.view(torch.uint8), stored_VD.view(torch.uint8))


@each_method
@pytest.mark.parametrize("head", ["same", "untied", "first_piece"])
def test_old_logits_stay_up_to_new_columns(rows_for: RowsFor, method, head: str):
    old = old_rows()
    rows = rows_for(method, old, head=head)
    assert rows.head is not None
    hidden_ND = np.random.default_rng(5).normal(size=(20, WIDTH))
    np.testing.assert_array_equal(hidden_ND @ rows.head[:N_OLD].T, hidden_ND @ old.head.T)


@each(SUMS)
def test_lineage_rebuilds_rows(rows_for: RowsFor, method):
    old = old_rows()
    rows = rows_for(method, old)
    for table, made, source in zip(
        lineage_tables(rows, SOURCE, EXTENDED),
        (rows.input, rows.head),
        (old.input, old.head),
        strict=True,
    ):
        assert made is not None
        assert table["id"].to_pylist() == list(range(N_NEW))
        for row in table.to_pylist():
            rebuilt = np.array(row["weights"]) @ source[row["source_ids"]]
            np.testing.assert_allclose(made[row["id"]], rebuilt, atol=1e-5)
