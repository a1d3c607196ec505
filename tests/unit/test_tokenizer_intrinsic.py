"""Metrics of tokenizers on text: counted by hand, and against the scorer of their authors."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.vocabulary import Vocabulary, read_vocabulary
from tasks.tokenizer.entropies import NoTokensError, renyi_entropy, shannon_entropy
from tasks.tokenizer.id_counts import count_ids, count_tokens_of_each
from tasks.tokenizer.intrinsic import CountedTokens, count_tokens_of, intrinsic_metrics
from tasks.tokenizer.metric_table import METRICS_SCHEMA
from tasks.tokenizer.text_words import count_kept_whole, count_split, find_words


def byte_level(folder: Path, *merges: tuple[str, str]) -> tuple[Tokenizer, Vocabulary]:
    vocab = {c: i for i, c in enumerate(BYTE_CHARACTERS)}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer, read_vocabulary(folder)


def values(metrics: pa.Table, tokenizer: str) -> dict[str, float]:
    rows = [row for row in metrics.to_pylist() if row["tokenizer"] == tokenizer]
    return {row["metric"]: row["value"] for row in rows}


def measure(texts: list[str], rare_below: int | None = 2, **sides: tuple[Tokenizer, Vocabulary]):
    counted = {name: count_tokens_of(*side, texts) for name, side in sides.items()}
    return intrinsic_metrics("some", texts, counted, rare_below)


def test_metrics_of_a_line_counted_by_hand(tmp_path: Path):
    source = byte_level(tmp_path / "old")
    new = byte_level(tmp_path / "new", ("a", "b"), ("Ġ", "ab"), ("Ã", "¼"), ("x", "y"))
    # 9 characters, 10 bytes. New tokens: ab, space+ab, space, ü, !, newline.
    metrics = measure(["ab ab ü!", "\n"], source=source, new=new)
    assert metrics.schema == METRICS_SCHEMA
    assert values(metrics, "new") == {
        "bytes_per_token": 10 / 6,
        "characters_per_token": 9 / 6,
        "fertility": 6 / 3,
        "words_split": 1 / 3,  # of ab, ab and ü the last is a space and a letter
        "strr_leading_space": 1 / 2,
        "strr_no_space": 2 / 2,
        "shannon_entropy": pytest.approx(math.log2(6)),
        "renyi_efficiency": pytest.approx(math.log2(6) / math.log2(260)),
        "vocabulary_used": 6 / 260,
        "rare_tokens": 260,
        "nsl": 6 / 10,
    }
    old = values(metrics, "source")
    assert old["bytes_per_token"] == 1
    assert old["fertility"] == 10 / 3
    assert old["rare_tokens"] == 256 - 3  # a, b and the space come twice
    assert "nsl" not in old
    notes = {row["metric"]: row["note"] for row in metrics.to_pylist()}
    assert notes["renyi_efficiency"] == "alpha=2.5, |V|=260"
    assert notes["nsl"].endswith("tokens of source")


def test_rare_tokens_are_counted_only_where_asked_for(tmp_path: Path):
    side = byte_level(tmp_path)
    assert values(measure(["aab"], 2, a=side), "a")["rare_tokens"] == 255
    assert "rare_tokens" not in values(measure(["aab"], None, a=side), "a")


def test_a_tokenizer_beside_itself_is_as_long(tmp_path: Path):
    side = byte_level(tmp_path, ("a", "b"))
    metrics = measure(["ab ab"], a=side, b=side)
    assert values(metrics, "b") == values(metrics, "a") | {"nsl": 1}


def test_special_tokens_are_no_part_of_the_ordinary_vocabulary(tmp_path: Path):
    tokenizer, vocabulary = byte_level(tmp_path, ("a", "b"))
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    one = count_tokens_of(tokenizer, read_vocabulary(tmp_path), ["ab"])
    metrics = intrinsic_metrics("some", ["ab"], {"one": one}, 1)
    assert len(one.counts) == len(vocabulary) + 1
    assert values(metrics, "one")["vocabulary_used"] == 1 / 257
    assert values(metrics, "one")["rare_tokens"] == 256


def test_what_would_divide_by_nothing_has_no_row(tmp_path: Path):
    side = byte_level(tmp_path)
    assert set(values(measure(["..."], a=side), "a")).isdisjoint(
        {"fertility", "words_split", "strr_leading_space", "strr_no_space"}
    )
    nothing = measure([], a=side, b=side)
    assert values(nothing, "b") == {"vocabulary_used": 0, "rare_tokens": 256}


def test_words_keep_the_space_before_them():
    words = find_words(["Größe, größe  Größe_1\n2e\u0301 日本", "Größe"])
    assert dict(zip(words.forms, words.counts.tolist(), strict=True)) == {
        "Größe": 2, " größe": 1, " Größe_1": 1, "2e\u0301": 1, " 日本": 1,
    }  # fmt: skip
    assert words.distinct == ("2e\u0301", "Größe", "Größe_1", "größe", "日本")
    assert words.n_words == 6


def test_words_alone_are_counted_by_form(tmp_path: Path):
    tokenizer, _ = byte_level(tmp_path, ("a", "b"), ("Ġ", "c"))
    words = find_words(["ab ab ab c c", "c"])
    assert count_split(tokenizer, words) == 2
    assert count_kept_whole(tokenizer, words, leading_space=True) == 1
    assert count_kept_whole(tokenizer, words, leading_space=False) == 2


def test_counts_agree_with_one_text_at_a_time(small_corpus_texts: list[str]):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(small_corpus_texts, trainer)
    texts = ["", *small_corpus_texts, "x " * 100_001, "ü"]
    one_by_one = [tokenizer.encode(text).ids for text in texts]
    counts = count_ids(tokenizer, iter(texts), 400)
    all_ids = [i for ids in one_by_one for i in ids]
    np.testing.assert_array_equal(counts, np.bincount(all_ids, minlength=400))
    assert count_tokens_of_each(tokenizer, texts).tolist() == list(map(len, one_by_one))


def test_even_frequencies_have_the_same_entropy_at_every_alpha():
    counts = np.array([0, 7, 7, 7, 7, 0])
    for alpha in (0.5, 1.0, 2.5, 3.0):
        assert renyi_entropy(counts, alpha) == pytest.approx(2)
    assert renyi_entropy(np.array([0, 9]), 2.5) == shannon_entropy(np.array([9])) == 0


def test_near_alpha_1_the_entropy_is_shannons():
    counts = np.random.default_rng(0).integers(0, 1000, 500)
    assert renyi_entropy(counts, 1 + 1e-7) == pytest.approx(shannon_entropy(counts), rel=1e-5)


def test_entropies_are_those_of_the_authors_scorer():
    # tokenization-scorer 1.1.8 on a text of these frequencies, vocab=64 in the efficiency.
    counts = np.array([40, 25, 15, 10, 7, 3])
    assert renyi_entropy(counts, 2.5) / math.log2(64) == pytest.approx(0.3086908499030118)
    assert shannon_entropy(counts) == pytest.approx(2.1918307859804176)


def test_no_tokens_have_no_entropy():
    with pytest.raises(NoTokensError, match=r"None of 3 tokens occurs.*give some text"):
        shannon_entropy(np.zeros(3, dtype=np.int64))


def test_counts_may_come_from_elsewhere(tmp_path: Path):
    tokenizer, vocabulary = byte_level(tmp_path)
    counts = np.zeros(256, dtype=np.int64)
    counts[:2] = 3, 1
    metrics = intrinsic_metrics(
        "s", ["xxxxxxxx"], {"a": CountedTokens(tokenizer, vocabulary, counts)}, 2
    )
    assert values(metrics, "a")["bytes_per_token"] == 2
    assert values(metrics, "a")["rare_tokens"] == 255
