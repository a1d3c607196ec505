"""Continued merges: old ids stay, text is only ever cut more coarsely."""

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bpe_continue import continue_training
from tokenizers import Tokenizer, models, normalizers

from tasks.shared.vocabulary_file import Json, TokenizerFile, read_tokenizer_file
from tasks.tokenizer.config import SourceWords
from tasks.tokenizer.errors import CorpusTooSmallError, UnsupportedSourceError
from tasks.tokenizer.extend import Extended, extend_tokenizer
from tasks.tokenizer.merge_loop import Limits
from tasks.tokenizer.pretokens import PretokenCounter
from tasks.tokenizer.word_rule import word_rule


def extended(file: TokenizerFile, texts: list[str], n_new_tokens: int, **options: Any) -> Extended:
    chosen = {"min_frequency": 2, "max_token_bytes": 48} | options
    missing = bool(chosen.pop("add_missing_bytes", False))
    rule = word_rule(file, SourceWords())
    counter = PretokenCounter(rule.normalizer, rule.pre_tokenizer, 256)
    counter.add(pa.array(texts, pa.string()))
    limits = Limits(0, **chosen)
    return extend_tokenizer(file, counter.result(), n_new_tokens, limits, add_missing_bytes=missing)


def extend(folder: Path, texts: list[str], n_new_tokens: int, **options: Any) -> Json:
    return extended(read_tokenizer_file(folder), texts, n_new_tokens, **options).tokenizer


def ends(tokenizer: Tokenizer, text: str) -> set[int]:
    tokens = tokenizer.encode(text, add_special_tokens=False).tokens
    return set(accumulate(len(token) for token in tokens))


def new_tokens(old: Json, new: Json) -> dict[str, int]:
    return {t: i for t, i in new["model"]["vocab"].items() if t not in old["model"]["vocab"]}


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """Knows a, b, c and ab; its special token has the largest id."""
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "c": 2, "ab": 3}, [("a", "b")]))
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_merges_go_on_where_they_stopped_by_hand(letters: Path):
    # Cut by the old merges: "abc" is ab c, three times; "cab" is c ab, twice.
    new = extend(letters, ["abc", "abc", "abc", "cab", "cab"], 2)
    assert new["model"]["vocab"] == {
        **{"a": 0, "b": 1, "c": 2, "ab": 3, "<end>": 4},
        **{"abc": 5, "cab": 6},
    }
    assert new["model"]["merges"] == [["a", "b"], ["ab", "c"], ["c", "ab"]]


def test_only_vocabulary_and_merges_change(tiny_model_folder: Path, small_corpus_texts: list[str]):
    old = json.loads((tiny_model_folder / "tokenizer.json").read_text())
    new = extend(tiny_model_folder, small_corpus_texts, 100)
    assert {k: v for k, v in new.items() if k != "model"} == {
        k: v for k, v in old.items() if k != "model"
    }
    n_old = len(old["model"]["vocab"])
    assert new["model"]["vocab"].items() >= old["model"]["vocab"].items()
    assert sorted(new_tokens(old, new).values()) == list(range(n_old, n_old + 100))
    assert new["model"]["merges"][: len(old["model"]["merges"])] == old["model"]["merges"]


def test_new_text_is_cut_at_a_subset_of_the_old_places(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    old = Tokenizer.from_file(str(tiny_model_folder / "tokenizer.json"))
    new = Tokenizer.from_str(json.dumps(extend(tiny_model_folder, small_corpus_texts[:120], 150)))
    texts = [*small_corpus_texts, "völlig anderer Text: äöü €  \n\n\tx", "def f(x): return x"]
    assert all(ends(new, text) <= ends(old, text) for text in texts)
    assert sum(len(new.encode(t)) for t in texts) < sum(len(old.encode(t)) for t in texts)


def test_the_same_text_gives_the_same_tokenizer(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    first, second = (extend(tiny_model_folder, small_corpus_texts, 100) for _ in range(2))
    assert first == second


def test_no_new_token_is_longer_than_asked(tiny_model_folder: Path, small_corpus_texts: list[str]):
    old = json.loads((tiny_model_folder / "tokenizer.json").read_text())
    new = new_tokens(old, extend(tiny_model_folder, small_corpus_texts, 60, max_token_bytes=4))
    assert max(map(len, new)) == 4


def test_missing_bytes_take_the_first_new_ids(letters: Path):
    file = read_tokenizer_file(letters)
    file.tokenizer["pre_tokenizer"] = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    # 243 byte values occur in UTF-8 and three of them are known.
    new = extended(file, ["abc", "abc"], 241, add_missing_bytes=True).tokenizer
    tokenizer = Tokenizer.from_str(json.dumps(new))
    assert new["model"]["vocab"]["abc"] == 5 + 240
    assert len(tokenizer.encode("abc\x00 €ü\U0010ffff", add_special_tokens=False).tokens) == 12


def test_metaspace_without_pretokenizer_learns_words_and_not_documents(tmp_path: Path):
    vocab = {piece: i for i, piece in enumerate(["<unk>", "▁", "a", "b", "▁a"])}
    tokenizer = Tokenizer(models.BPE(vocab, [("▁", "a")], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    old = read_tokenizer_file(tmp_path).tokenizer
    new = extend(tmp_path, ["ab ab bb ab bb"] * 4, 3)
    assert set(new_tokens(old, new)) == {"▁ab", "▁b", "▁bb"}
    assert new["pre_tokenizer"] is None


def test_a_small_corpus_says_how_much_it_yields(letters: Path):
    with pytest.raises(CorpusTooSmallError, match=r"yields 1 new tokens .* n_new_tokens=5;"):
        extend(letters, ["abc", "abc"], 5)


def test_a_source_that_is_not_bpe_names_the_remedy(tmp_path: Path):
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnsupportedSourceError, match=r"WordLevel .* choose method: bpe"):
        extend(tmp_path, ["a"], 1)


def test_words_that_the_source_cannot_write_are_counted_or_refused(letters: Path):
    few = extended(read_tokenizer_file(letters), ["abc"] * 150 + ["xyz"], 1)
    assert few.n_unwritten == 1
    with pytest.raises(UnsupportedSourceError, match=r"no pieces for 2 of 4 words.*method: bpe"):
        extend(letters, ["abc", "abc", "xyz", "xyz"], 1)


def test_the_same_merges_as_bpe_continue(tiny_model_folder: Path, small_corpus_texts: list[str]):
    old = (tiny_model_folder / "tokenizer.json").read_text()
    vocab_size = len(json.loads(old)["model"]["vocab"]) + 150
    oracle = continue_training(
        old, texts=small_corpus_texts, vocab_size=vocab_size, min_frequency=2,
        max_token_length=48, show_progress=False,
    )  # fmt: skip
    expected = json.loads(oracle.to_str())["model"]
    new = extend(tiny_model_folder, small_corpus_texts, 150)["model"]
    assert new["merges"] == expected["merges"]
    assert new["vocab"] == expected["vocab"]


def test_stand_ins_for_bytes_are_not_merged(tmp_path: Path):
    vocab = {piece: i for i, piece in enumerate(["<0xC3>", "<0xA4>", "▁", "a", "▁a"])}
    tokenizer = Tokenizer(models.BPE(vocab, [("▁", "a")], byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    old = read_tokenizer_file(tmp_path).tokenizer
    new = extend(tmp_path, [" aaä aaä aaä"] * 4, 1)
    assert set(new_tokens(old, new)) == {"▁aa"}
    with pytest.raises(CorpusTooSmallError, match="yields 1 new tokens"):
        extend(tmp_path, [" aaä aaä aaä"] * 4, 2)
