"""Mixture inference: cases by hand, the whole linear program beside it, and mixtures recovered."""

import io
import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from scipy.optimize import linprog
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from flows.mixture_command import SampleError, infer
from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.vocabulary import TokenizerFileError, UnsupportedTokenizerError
from tasks.tokenizer.cut_words import BYTES_IN_ORDER, words_of_bytes
from tasks.tokenizer.merge_loop import Limits, Words, learn_merges
from tasks.tokenizer.mixture import Mixture, MixtureError, infer_mixture
from tasks.tokenizer.mixture_merges import (
    Merge,
    MergeOrderError,
    number_merges,
    training_merges,
)
from tasks.tokenizer.pretoken_counts import PretokenCounts, merge_counts
from tasks.tokenizer.pretokens import PretokenCounter

FLORES = Path("../shared/data")
GPT2_WORDS = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
NUMBER_OF = {data: number for number, data in enumerate(BYTES_IN_ORDER)}


def words_of(counts: Mapping[str, int]) -> Words:
    return Words(
        np.array([NUMBER_OF[bytes([byte])] for word in counts for byte in word.encode()], np.int32),
        np.concatenate(([0], np.cumsum([len(word.encode()) for word in counts]))).astype(np.int64),
        np.array(list(counts.values()), np.int64),
    )


def merges_from(words: Words, n_merges: int) -> list[Merge]:
    limits = Limits(len(BYTES_IN_ORDER) + n_merges, min_frequency=1)
    learnt = learn_merges(words, BYTES_IN_ORDER, limits)
    data = learnt.token_bytes
    return [(data[left], data[right]) for left, right, _ in learnt.merges]


def inferred(samples: Mapping[str, Mapping[str, int]], merges: Sequence[Merge]) -> Mixture:
    words = {name: words_of(counts) for name, counts in samples.items()}
    return infer_mixture(words, BYTES_IN_ORDER, merges, len(merges))


def test_shares_by_hand_where_the_merges_leave_one_answer():
    # Both samples hold 18 bytes. With x the share of the first, (e, f) before (g, h) says
    # 6x >= 2(1 - x), so x >= 1/4; (c, d) before (a, b) says 1 - x >= 3x, so x <= 1/4.
    samples = {"one": {"ab": 3, "ef": 6}, "two": {"cd": 1, "gh": 2, "z": 12}}
    mixture = inferred(samples, [(b"e", b"f"), (b"g", b"h"), (b"c", b"d"), (b"a", b"b")])
    assert mixture.shares == pytest.approx({"one": 0.25, "two": 0.75})
    assert mixture.objective == pytest.approx(0.0, abs=1e-6)
    assert (mixture.n_steps, mixture.n_absent) == (4, 0)


def test_slack_by_hand_where_no_shares_explain_the_merges():
    # (a, b) is once more frequent in 6 bytes of the first, twice in 8 bytes of the second.
    samples = {"one": {"ab": 2, "cd": 1}, "two": {"ab": 3, "cd": 1}}
    mixture = inferred(samples, [(b"c", b"d"), (b"a", b"b")])
    assert mixture.shares == pytest.approx({"one": 1.0, "two": 0.0})
    assert mixture.objective == pytest.approx(1e6 / 6)
    assert mixture.misfit == pytest.approx((1 / 6) / (1 / 6 + 2 / 6))


def test_a_pair_pays_once_for_all_merges_it_outdoes():
    # (a, b) outdoes three merges by one in 10 bytes each.
    counts = {"ab": 2, "cd": 1, "ef": 1, "gh": 1}
    mixture = inferred({"one": counts, "two": counts}, [(b"c", b"d"), (b"e", b"f"), (b"g", b"h")])
    assert mixture.objective == pytest.approx(1e6 / 10)


def test_merges_that_occur_nowhere_are_left_out():
    samples = {"one": {"ab": 3, "ef": 6}, "two": {"cd": 1, "gh": 2, "z": 12}}
    absent = [(b"x", b"y"), (b"xy", b"x")]
    known = [(b"e", b"f"), (b"g", b"h"), (b"c", b"d"), (b"a", b"b")]
    mixture = inferred(samples, [*absent, *known])
    assert mixture.shares == pytest.approx({"one": 0.25, "two": 0.75})
    assert (mixture.n_steps, mixture.n_absent) == (4, 2)


def language(seed: int) -> list[str]:
    """1500 words of a made-up language, the most frequent first: its letters follow each other."""
    draw = np.random.default_rng(seed)
    letters = [chr(ord("a") + i) for i in range(26)]
    follow = draw.dirichlet(np.full(26, 0.15), size=26)
    words = dict[str, None]()
    while len(words) < 1500:
        at = int(draw.integers(26))
        word = letters[at]
        for _ in range(int(draw.integers(1, 9))):
            at = int(draw.choice(26, p=follow[at]))
            word += letters[at]
        words[word] = None
    return list(words)


LANGUAGES = {f"language {seed}": language(seed) for seed in range(4)}


def drawn(words: Sequence[str], n_words: int, seed: int) -> dict[str, int]:
    """A text of a language as counted words."""
    chances = 1 / np.arange(1, len(words) + 1)
    counts = np.random.default_rng(seed).multinomial(n_words, chances / chances.sum())
    return {word: int(n) for word, n in zip(words, counts, strict=True) if n}


def n_bytes(counts: Mapping[str, int]) -> int:
    return sum(len(word) * n for word, n in counts.items())


def mixed(texts: Mapping[str, Mapping[str, int]], shares: Sequence[float]) -> dict[str, int]:
    """One text in which these have their shares of the bytes."""
    total: Counter[str] = Counter()
    for share, counts in zip(shares, texts.values(), strict=True):
        weight = 1e6 * share / n_bytes(counts)
        for word, n in counts.items():
            total[word] += round(weight * n * 100)
    return {word: n for word, n in total.items() if n}


def test_a_tokenizer_of_one_category_alone():
    samples = {name: drawn(words, 20_000, seed=1) for name, words in LANGUAGES.items()}
    for name, counts in samples.items():
        mixture = inferred(samples, merges_from(words_of(counts), 300))
        assert mixture.shares[name] == pytest.approx(1.0, abs=1e-3)
        assert mixture.objective == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize("shares", [(0.4, 0.3, 0.2, 0.1), (0.05, 0.85, 0.1, 0.0)])
def test_known_shares_of_made_up_languages(shares: Sequence[float]):
    trained_on = {name: drawn(words, 30_000, seed=2) for name, words in LANGUAGES.items()}
    samples = {name: drawn(words, 30_000, seed=3) for name, words in LANGUAGES.items()}
    mixture = inferred(samples, merges_from(words_of(mixed(trained_on, shares)), 300))
    assert mean_squared_error(mixture, shares) < 1e-3
    assert sum(mixture.shares.values()) == pytest.approx(1.0)


def mean_squared_error(mixture: Mixture, shares: Sequence[float]) -> float:
    return float(np.mean((np.array(list(mixture.shares.values())) - shares) ** 2))


@pytest.fixture(scope="module")
def flores() -> dict[str, tuple[PretokenCounts, PretokenCounts]]:
    return {name: halves_of_flores(name) for name in ("deu", "eng", "fra", "tur")}


@pytest.mark.skipif(not FLORES.exists(), reason="text that may not be shipped is not here")
@pytest.mark.parametrize(
    "shares", [(0.45, 0.25, 0.1, 0.2), (0.1, 0.1, 0.1, 0.7), (0.02, 0.08, 0.6, 0.3)]
)
def test_known_shares_of_four_languages(
    shares: Sequence[float], flores: dict[str, tuple[PretokenCounts, PretokenCounts]]
):
    weights = [
        1e8 * share / float(np.diff(half.starts) @ half.counts)
        for share, (half, _) in zip(shares, flores.values(), strict=True)
    ]
    text = merge_counts([half for half, _ in flores.values()], weights)
    samples = {name: words_of_bytes(half) for name, (_, half) in flores.items()}
    merges = merges_from(words_of_bytes(text), 250)
    mixture = infer_mixture(samples, BYTES_IN_ORDER, merges, 250)
    assert mean_squared_error(mixture, shares) < 1e-3


def halves_of_flores(name: str) -> tuple[PretokenCounts, PretokenCounts]:
    """Every other line, and the lines between."""
    text = (FLORES / f"flores_dev_{name}.txt").read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    counters = [PretokenCounter(None, GPT2_WORDS, 256) for _ in range(2)]
    for half, counter in enumerate(counters):
        counter.add(pa.array(lines[half::2]))
    return counters[0].result(), counters[1].result()


def whole_program(
    samples: Sequence[Mapping[str, int]], merges: Sequence[Merge]
) -> tuple[float, int]:
    """The least slack over the constraints of every pair at every merge, counted anew each time.

    Also the most pairs that outdo one merge in equal shares.
    """
    texts = [
        [([bytes([byte]) for byte in word.encode()], n) for word, n in counts.items()]
        for counts in samples
    ]
    lengths = np.array([n_bytes(counts) for counts in samples]) / 1e6
    rows: list[tuple[int, Merge, np.ndarray]] = []
    most = 0
    for step, merge in enumerate(merges):
        counts = [Counter[Merge]() for _ in samples]
        for text, count in zip(texts, counts, strict=True):
            for word, n in text:
                for pair in itertools.pairwise(word):
                    count[pair] += n
        if any(count[merge] for count in counts):
            excess = [
                (step, pair, np.array([count[pair] - count[merge] for count in counts]) / lengths)
                for pair in set().union(*counts) - {merge}
            ]
            rows += excess
            most = max(most, sum(row.mean() > 0 for _, _, row in excess))
        for word, _ in itertools.chain(*texts):
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == merge:
                    word[at : at + 2] = [b"".join(merge)]
                at += 1
    columns = {name: i for i, name in enumerate(dict.fromkeys(r[0] for r in rows))}
    pairs = {name: len(columns) + i for i, name in enumerate({r[1] for r in rows})}
    n, n_slack = len(samples), len(columns) + len(pairs)
    left = np.zeros((len(rows), n + n_slack))
    for i, (step, pair, excess) in enumerate(rows):
        left[i, :n] = excess
        left[i, [n + columns[step], n + pairs[pair]]] = -1.0
    is_share = np.repeat([1.0, 0.0], [n, n_slack])
    found = linprog(
        1.0 - is_share, A_ub=left, b_ub=np.zeros(len(rows)), A_eq=is_share[None], b_eq=[1.0]
    )
    return float(found.fun), most


@pytest.mark.parametrize(
    ("seed", "letters"),
    [(0, "abcd"), (1, "abcd"), (2, "abcdefghijklmnop"), (3, "abcdefghijklmnop")],
)
def test_agreement_with_the_whole_program(seed: int, letters: str):
    draw = random.Random(seed)

    def text(n_words: int) -> dict[str, int]:
        return {
            "".join(draw.choices(letters, k=draw.randint(1, 8))): draw.randint(1, 30)
            for _ in range(n_words)
        }

    samples = {name: text(120) for name in ("one", "two", "three")}
    merges = merges_from(words_of(text(60)), 12)
    least, most = whole_program(list(samples.values()), merges)
    mixture = inferred(samples, merges)
    assert mixture.objective <= least * (1 + 1e-6)
    assert least <= (mixture.objective + mixture.gap) * (1 + 1e-6)
    assert mixture.gap <= 0.02 * mixture.objective
    if len(letters) > 4:
        assert most > 64  # more than are looked for at first


def test_of_all_cuts_of_a_token_training_made_one():
    made = [(b"a", b"b"), (b"c", b"d"), (b"ab", b"c"), (b"ab", b"cd")]
    every_cut = [
        (b"a", b"b"),
        (b"c", b"d"),
        (b"ab", b"c"),
        (b"ab", b"cd"),
        (b"abc", b"d"),
    ]
    assert training_merges(every_cut, 10) == made
    assert training_merges(every_cut, 2) == made[:2]
    assert training_merges(made, 10) == made


def test_a_list_out_of_order_is_refused():
    with pytest.raises(MergeOrderError, match=r"Merge 1 joins .* b'xy' is no token by then; give"):
        number_merges(BYTES_IN_ORDER, [(b"a", b"b"), (b"xy", b"a")])


def test_what_shares_cannot_be_inferred_from():
    with pytest.raises(MixtureError, match=r"two categories .* these came: one; give a sample"):
        inferred({"one": {"ab": 1}}, [(b"a", b"b")])
    with pytest.raises(MixtureError, match=r"sample of two holds no text"):
        inferred({"one": {"ab": 1}, "two": {}}, [(b"a", b"b")])
    with pytest.raises(MixtureError, match=r"None of 1 merges occurs in the samples of one, two"):
        inferred({"one": {"ab": 1}, "two": {"c": 1}}, [(b"x", b"y")])


def written(counts: Mapping[str, int]) -> str:
    words = [word for word, n in counts.items() for _ in range(n)]
    random.Random(0).shuffle(words)
    return " ".join(words)


@pytest.fixture(scope="module")
def two_languages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of three quarters one language, and a text of each."""
    folder = tmp_path_factory.mktemp("mixture")
    one, two = (
        [written(drawn(LANGUAGES[name], 9_000, seed))[:30_000] for seed in (4, 5)]
        for name in ("language 0", "language 1")
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + 200, initial_alphabet=list(BYTE_CHARACTERS), show_progress=False
    )
    tokenizer.train_from_iterator([one[0]] * 3 + [two[0]], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "one.txt").write_text(one[1], encoding="utf-8")
    (folder / "two.txt").write_text(two[1], encoding="utf-8")
    return folder


def printed(tokenizer: Path, samples: Sequence[str], n_merges: int = 200) -> str:
    screen = io.StringIO()
    infer(Console(file=screen, width=100), tokenizer, samples, n_merges)
    return screen.getvalue()


def test_a_person_sees_the_shares_largest_first(two_languages: Path):
    samples = [f"{name}={two_languages / name}.txt" for name in ("two", "one")]
    lines = printed(two_languages / "tokenizer.json", samples).splitlines()
    assert lines[0].split() == ["category", "share", "of", "bytes", "sample,", "MB"]
    shares = {name: float(share.rstrip("%")) for name, share, _ in map(str.split, lines[1:3])}
    assert list(shares) == ["one", "two"]
    assert shares["one"] == pytest.approx(75, abs=1.5)
    assert shares["two"] == pytest.approx(25, abs=1.5)
    assert lines[1].split()[2] == "0.03"
    assert lines[3].startswith("200 merges used. ")


def test_samples_that_cannot_be_read(two_languages: Path, tmp_path: Path):
    good = f"one={two_languages / 'one.txt'}"
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "packed.gz").write_bytes(b"\x1f\x8b\x08")
    for samples, said in (
        ([good, "two"], r"--sample two is not of the form name=path; write"),
        ([good, good], r"--sample one is given twice, .*; join the files"),
        ([good, f"two={tmp_path / 'none.txt'}"], r"none.txt cannot be read \(No such file"),
        ([good, f"two={tmp_path}"], r"cannot be read \(Is a directory\); name a text file"),
        ([good, f"two={tmp_path / 'packed.gz'}"], r"is no UTF-8 text \(byte 1\); convert"),
        ([good, f"two={tmp_path / 'blank.txt'}"], r"blank.txt holds no text; give some"),
    ):
        with pytest.raises(SampleError, match=said):
            printed(two_languages, samples)
    with pytest.raises(MixtureError, match=r"two categories .* these came: one"):
        printed(two_languages, [good])


def test_tokenizers_whose_merges_say_nothing(two_languages: Path, tmp_path: Path):
    samples = [f"{name}={two_languages / name}.txt" for name in ("one", "two")]
    with pytest.raises(TokenizerFileError, match=r"holds no tokenizer\.json"):
        printed(tmp_path, samples)
    words = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnsupportedTokenizerError, match=r"of type WordLevel, and .* give a"):
        printed(tmp_path, samples)
    plain = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnsupportedTokenizerError, match=r"of type BPE without byte-level words"):
        printed(tmp_path, samples)
    spelt = Tokenizer(models.BPE({"€": 0, "b": 1, "€b": 2}, [("€", "b")]))
    spelt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    spelt.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnsupportedTokenizerError, match=r"merges '€' and 'b', of which one is not"):
        printed(tmp_path, samples)
