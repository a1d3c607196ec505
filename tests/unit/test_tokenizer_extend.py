"""Continued merges: old ids stay, text is only ever cut more coarsely."""

import json
from itertools import accumulate
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers

from tasks.shared.vocabulary_file import Json, read_tokenizer_file
from tasks.tokenizer.errors import CorpusTooSmallError, UnsupportedSourceError
from tasks.tokenizer.extend import extend_tokenizer


def extend(folder: Path, texts: list[str], n_new_tokens: int, **options: int) -> Json:
    chosen = {"min_frequency": 2, "max_token_bytes": 48, "add_missing_bytes": False} | options
    return extend_tokenizer(read_tokenizer_file(folder), texts, n_new_tokens, **chosen)


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
    extended = extend(letters, ["abc", "abc", "abc", "cab", "cab"], 2)
    assert extended["model"]["vocab"] == {
        **{"a": 0, "b": 1, "c": 2, "ab": 3, "<end>": 4},
        **{"abc": 5, "cab": 6},
    }
    assert extended["model"]["merges"] == [["a", "b"], ["ab", "c"], ["c", "ab"]]


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
    extended = extend_tokenizer(file, ["abc", "abc"], 241, 2, 48, True)
    tokenizer = Tokenizer.from_str(json.dumps(extended))
    assert extended["model"]["vocab"]["abc"] == 5 + 240
    assert len(tokenizer.encode("abc\x00 €ü\U0010ffff", add_special_tokens=False).tokens) == 12


def test_metaspace_without_pretokenizer_learns_words_and_not_documents(tmp_path: Path):
    vocab = {piece: i for i, piece in enumerate(["<unk>", "▁", "a", "b", "▁a"])}
    tokenizer = Tokenizer(models.BPE(vocab, [("▁", "a")], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    old = read_tokenizer_file(tmp_path).tokenizer
    extended = extend(tmp_path, ["ab ab bb ab bb"] * 4, 3)
    assert set(new_tokens(old, extended)) == {"▁ab", "▁b", "▁bb"}
    assert extended["pre_tokenizer"] is None


def test_a_small_corpus_says_how_much_it_yields(letters: Path):
    with pytest.raises(CorpusTooSmallError, match=r"yields 1 new tokens .* n_new_tokens=5;"):
        extend(letters, ["abc", "abc"], 5)


def test_a_source_that_is_not_bpe_names_the_remedy(tmp_path: Path):
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnsupportedSourceError, match=r"WordLevel .* choose method: bpe"):
        extend(tmp_path, ["a"], 1)


def test_text_that_the_source_cannot_write_names_the_remedy(letters: Path):
    with pytest.raises(UnsupportedSourceError, match=r'"xyz".*choose method: bpe'):
        extend(letters, ["abc", "abc", "xyz"], 1)
