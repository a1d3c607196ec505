"""tiktoken's files: the same ids as the tokenizers library, both ways, or a refusal."""

import json
import os
import random
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import pytest
import tiktoken
from tiktoken.load import load_tiktoken_bpe
from tokenizers import Tokenizer
from tokenizers.trainers import BpeTrainer

from tasks.shared.byte_alphabet import BYTE_CHARACTERS, to_alphabet
from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.format_errors import FormatFileError, NotExpressibleError
from tasks.tokenizer.patterns import word_pattern
from tasks.tokenizer.rank_rule import last_merges
from tasks.tokenizer.regex_dialect import check_portable, from_rust
from tasks.tokenizer.single_pattern import single_pattern
from tasks.tokenizer.tiktoken_export import to_tiktoken
from tasks.tokenizer.tiktoken_format import (
    TiktokenEncoding,
    is_ranks_file,
    read_tiktoken,
    record_path,
    write_tiktoken,
)
from tasks.tokenizer.tiktoken_import import from_tiktoken

CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
GPT2: Json = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
BYTES: Json = {**GPT2, "use_regex": False}
DIGITS: Json = {"type": "Digits", "individual_digits": True}
SPECIALS = ("<|end|>", "<|im_start|>")
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def split(pattern: str, behavior: str = "Isolated", invert: bool = False) -> Json:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps: Json) -> Json:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def added(content: str, token_id: int, **flags: bool) -> Json:
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": content, **usual, "special": True, **flags}


def bare(vocabulary: Mapping[str, int], merges: Sequence[Sequence[str]], words: Json) -> Json:
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": words,
        "model": {"type": "BPE", "vocab": dict(vocabulary), "merges": [*merges]},
    }


def byte_vocabulary(*tokens: str) -> dict[str, int]:
    return {text: i for i, text in enumerate((*BYTE_CHARACTERS, *tokens))}


def train(texts: list[str], words: Json, size: int = 2000) -> Json:
    tokenizer = Tokenizer.from_str(json.dumps(bare({}, [], words)))
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIALS),
        initial_alphabet=list(BYTE_CHARACTERS),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return json.loads(tokenizer.to_str())


def encoding_of(ours: TiktokenEncoding) -> tiktoken.Encoding:
    return tiktoken.Encoding(
        "test",
        pat_str=ours.pattern,
        mergeable_ranks=dict(ours.ranks),
        special_tokens=dict(ours.special_tokens),
    )


def assert_same_ids(tokenizer: Json, encoding: tiktoken.Encoding, texts: list[str]) -> None:
    library = Tokenizer.from_str(json.dumps(tokenizer))
    expected = [e.ids for e in library.encode_batch(texts, add_special_tokens=False)]
    assert [encoding.encode(text, allowed_special="all") for text in texts] == expected


@pytest.fixture(scope="module")
def python_sources() -> list[str]:
    folder = Path(os.__file__).parent
    names = ("ast", "calendar", "dis", "locale", "operator", "json/decoder", "textwrap", "uuid")
    return [(folder / f"{name}.py").read_text(encoding="utf-8") for name in names]


@pytest.fixture(scope="module")
def any_texts(python_sources: list[str]) -> list[str]:
    """Real text, random characters, random bytes, long runs, special tokens within words."""
    draw = random.Random(0)
    kinds = " \u00a0\t\r\naäAÄdDrR\u017f'\u2019.-/😀\u0301中ǅʰ12²Ⅷ\U00011de0\u200dstlvm"
    return [
        *python_sources[-2:],
        *("".join(map(chr, draw.choices(CODE_POINTS, k=100))) for _ in range(50)),
        *("".join(draw.choices(kinds, k=100)) for _ in range(100)),
        *(draw.randbytes(100).decode(errors="replace") for _ in range(50)),
        *("a" * 700, " " * 700 + "x", "ab" * 300, "'" * 300, "1" * 200, "\n" * 50 + " \n  "),
        *("<|end|>", "a<|end|>b  <|im_start|>\n  <|end|>", "<|end|", ""),
    ]


WORDS: dict[str, Json] = {
    "gpt2": GPT2,
    "gpt4": sequence(split(word_pattern("gpt4", "groups_of_3")), BYTES),
    "llama3": sequence(split(word_pattern("llama3", "groups_of_3")), BYTES),
    "o200k": sequence(split(word_pattern("o200k", "groups_of_3")), BYTES),
    "punct": sequence(split(word_pattern("punct", "none")), BYTES),
    "digits, then gpt2": sequence(DIGITS, GPT2),
    "digits, then gpt4": sequence(DIGITS, split(word_pattern("gpt4", "none")), BYTES),
    "threes, then gpt2": sequence(split(r"\p{N}{1,3}"), GPT2),
    "no words": BYTES,
    "digits alone": sequence(DIGITS, BYTES),
    "a regex that leaves text out": sequence(split(r"\p{L}+|\p{N}{1,2}"), BYTES),
    "matches alone": sequence(split(r"\p{L}+|\s", "Removed", True), BYTES),
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS.keys())
def test_any_text_gets_the_same_ids(words: Json, python_sources: list[str], any_texts: list[str]):
    # Whole documents would take long to learn from; merges do not depend on the words in use.
    learnt_from = GPT2 if words == BYTES else words
    tokenizer = {**train(python_sources[:-2], learnt_from), "pre_tokenizer": words}
    ours = to_tiktoken(tokenizer)
    assert (len(ours.ranks), ours.n_ids) == (1998, 2000)
    assert_same_ids(tokenizer, encoding_of(ours), any_texts)
    # And back: the merges that follow from the ranks are those that were learnt.
    again = from_tiktoken(ours)
    assert again["model"]["merges"] == tokenizer["model"]["merges"]
    assert again["model"]["vocab"] == tokenizer["model"]["vocab"]
    assert again["model"]["ignore_merges"] is False
    if words["type"] == "ByteLevel" or words["pretokenizers"][0].get("behavior") != "Removed":
        assert_same_ids(again, encoding_of(ours), any_texts)
        assert to_tiktoken(again).ranks == ours.ranks


@pytest.mark.parametrize("name", ["gpt2", "gpt4", "o200k", "digits, then gpt4"])
def test_every_character_is_cut_alike(name: str):
    # Unassigned planes lie above; each character after a letter, a digit or a space, in long runs.
    characters = [chr(c) for c in CODE_POINTS if c < 0x20000]
    texts = ["".join(characters), " ".join(characters[:0x3000]), "a1".join(characters[:0x3000])]
    cut = Tokenizer.from_str(json.dumps(bare({}, [], WORDS[name]))).pre_tokenizer
    assert cut is not None
    spans = [[span for _, span in cut.pre_tokenize_str(text)] for text in texts]
    words = [[text[a:b] for a, b in cuts] for text, cuts in zip(texts, spans, strict=True)]
    # In tiktoken a word that is a token is one, so with all words as tokens the ids tell the cuts.
    ranks = {bytes([b]): b for b in range(256)}
    for word in sorted({word for text in words for word in text}):
        ranks.setdefault(word.encode(), len(ranks))
    encoding = encoding_of(TiktokenEncoding(single_pattern(WORDS[name]), ranks, {}))
    expected = [[ranks[word.encode()] for word in text] for text in words]
    assert [encoding.encode_ordinary(text) for text in texts] == expected


def test_merges_by_hand():
    # From "abcd" with ab < cd < abc < abcd: ab cd, then abcd. abc comes from ab + c.
    base = {bytes([b]): b for b in range(256)}
    ranks = {**base, b"ab": 256, b"cd": 257, b"abc": 258, b"abcd": 259, b"xyz": 260}
    assert last_merges(ranks) == {
        **{b"ab": (b"a", b"b"), b"cd": (b"c", b"d")},
        **{b"abc": (b"ab", b"c"), b"abcd": (b"ab", b"cd"), b"xyz": None},
    }


def test_of_equal_pairs_the_left_one_is_joined():
    assert last_merges({"aa": 0, "aaa": 1})["aaa"] == ("aa", "a")


def test_a_word_that_no_merges_lead_to_is_still_a_token_to_tiktoken():
    ranks = {bytes([b]): b for b in range(256)} | {b"xyz": 256}
    encoding = TiktokenEncoding(r"\p{L}+|\s+|[^\s\p{L}]+", ranks, {})
    tokenizer = from_tiktoken(encoding)
    assert tokenizer["model"]["ignore_merges"] is True
    assert encoding_of(encoding).encode("xyz xyza") == [256, 32, 120, 121, 122, 97]
    assert_same_ids(tokenizer, encoding_of(encoding), ["xyz xyza"])
    assert to_tiktoken(tokenizer).ranks == ranks


def test_a_token_that_no_text_is_cut_to_has_no_rank():
    vocabulary = byte_vocabulary("ab", "<unused>")
    ours = to_tiktoken(bare(vocabulary, [["a", "b"]], GPT2))
    assert ours.ranks.keys() == {bytes([b]) for b in range(256)} | {b"ab"}


def test_merges_that_never_get_their_turn_do_no_harm():
    # The third merge is listed as some converters list it, and "abc" never is a, bc.
    vocabulary = byte_vocabulary("ab", "bc", "abc")
    merges = [["a", "b"], ["b", "c"], ["a", "bc"], ["ab", "c"]]
    tokenizer = bare(vocabulary, merges, BYTES)
    assert_same_ids(tokenizer, encoding_of(to_tiktoken(tokenizer)), ["abc", "bcabcab", "aabcc"])


def random_model(draw: random.Random) -> tuple[dict[str, int], list[list[str]]]:
    """Merges over three letters in any order, and tokens that no merge makes."""
    tokens, merges = list("abc"), []
    for _ in range(draw.randint(2, 9)):
        pair = draw.choices(tokens, k=2)
        if pair not in merges and len("".join(pair)) < 8:
            merges.append(pair)
            tokens.append("".join(pair))
    if draw.random() < 0.2:
        draw.shuffle(merges)
    unmade = ["".join(draw.choices("ab", k=3)) for _ in range(draw.randint(0, 2))]
    return byte_vocabulary(*dict.fromkeys([*tokens[3:], *unmade])), merges


def test_random_merges_give_the_same_ids_or_are_refused():
    draw = random.Random(0)
    texts = ["".join(word) for n in range(1, 7) for word in product("ab", repeat=n)]
    texts += ["".join(draw.choices("abc", k=12)) for _ in range(60)]
    n_written = 0
    for number in range(150):
        tokenizer = bare(*random_model(draw), BYTES)
        tokenizer["model"]["ignore_merges"] = number % 2 == 0
        try:
            ours = to_tiktoken(tokenizer)
        except NotExpressibleError:
            continue
        assert_same_ids(tokenizer, encoding_of(ours), texts)
        assert_same_ids(from_tiktoken(ours), encoding_of(ours), texts)
        n_written += 1
    assert 50 < n_written < 150


@pytest.mark.parametrize("pattern", [CL100K, r"^a+|b{2,3}+c|\s++$|[^\s]|\s"])
def test_a_pattern_of_tiktokens_cuts_alike_in_tokenizers(pattern: str, any_texts: list[str]):
    ranks = {bytes([b]): b for b in range(256)}
    words = {f"{a}{b}".encode() for a in "abc \n1" for b in "abc \n1"}
    for word in sorted(words):
        ranks[word] = len(ranks)
    encoding = TiktokenEncoding(pattern, ranks, {"<|end|>": len(ranks)})
    texts = [*any_texts, "aab\nbbbc bbc bbbb  ", "a b1234 \n  c", "\n \n"]
    assert_same_ids(from_tiktoken(encoding), encoding_of(encoding), texts)


def test_the_published_pattern_by_hand():
    assert from_rust(CL100K) == (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|(?>\p{N}{1,3})"
        r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++\z|\s*[\r\n]|\s+(?!\S)|\s"
    )


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"\w+", r"a$", r"^a", r"a{1,3}+", r"[[:alpha:]]+", r"(?i:ss)", r"a{3}?", r"(?s:.)"),
        *(r"(?<n>a)", r"\ba", r"[a--b]", r"a{,3}", r"(?m:a)", r"(a)\1", r"\h", r"[a", r"\p{Alnum}"),
        *("a|", "(a", r"\s*", "a**"),
    ],
)
def test_what_the_two_may_read_otherwise_is_refused(pattern: str):
    with pytest.raises(NotExpressibleError, match="The pattern "):
        check_portable(pattern)


def test_files_load_in_tiktoken_and_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python_sources: list[str]
):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")
    ours = to_tiktoken(train(python_sources[:2], GPT2, 500))
    path = tmp_path / "tokenizer.tiktoken"
    write_tiktoken(path, ours)
    assert path.read_bytes().startswith(b"IQ== 2\nIg== 3\n")
    record = json.loads(record_path(path).read_text())
    assert record["vocabulary_size"] == 500
    assert record["special_tokens"] == {"<|end|>": 0, "<|im_start|>": 1}
    assert load_tiktoken_bpe(str(path), record["sha256"]) == ours.ranks
    assert is_ranks_file(path)
    assert read_tiktoken(path) == ours
    write_tiktoken(tmp_path / "again.tiktoken", read_tiktoken(path))
    assert (tmp_path / "again.tiktoken").read_bytes() == path.read_bytes()


def test_a_pattern_may_be_given_where_no_record_is(tmp_path: Path):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"YQ== 0\nYg== 1\n")
    assert read_tiktoken(path, r"\s+|\S+", {"<s>": 2}) == TiktokenEncoding(
        r"\s+|\S+", {b"a": 0, b"b": 1}, {"<s>": 2}
    )
    record_path(path).write_text('{"pat_str": "b", "special_tokens": {"<e>": 3}}')
    assert read_tiktoken(path, "a") == TiktokenEncoding("a", {b"a": 0, b"b": 1}, {"<e>": 3})
    record_path(path).unlink()
    with pytest.raises(FormatFileError, match=r"pat_str of tokenizer\.model\.json is None"):
        read_tiktoken(path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"YQ== 0\nYg==\n", r"the line b'Yg==' is no token"),
        (b"YQ== 0\n\xff\xfe 1\n", r"is no token in base64"),
        (b"", r"is no token in base64"),
        (b"YQ== 0\nYg== 0\n", r"2 lines and 1 different"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, table: bytes, message: str):
    path = tmp_path / "x.tiktoken"
    path.write_bytes(table)
    with pytest.raises(FormatFileError, match=message):
        read_tiktoken(path, "a")


def test_a_table_of_another_record_is_refused(tmp_path: Path):
    path = tmp_path / "x.tiktoken"
    write_tiktoken(path, TiktokenEncoding("a", {b"a": 0, b"b": 1}, {}))
    path.write_bytes(b"YQ== 0\n")
    with pytest.raises(FormatFileError, match=r"x\.tiktoken\.json has the sha256"):
        read_tiktoken(path)


def test_ranks_without_all_bytes_are_refused():
    with pytest.raises(FormatFileError, match="lack 254 of 256 bytes"):
        from_tiktoken(TiktokenEncoding("a", {b"a": 0, b"b": 1}, {}))


def test_a_special_token_that_is_an_ordinary_one_is_refused():
    ranks = {bytes([b]): b for b in range(256)} | {b"<s>": 256}
    with pytest.raises(NotExpressibleError, match=r"1 special tokens are ordinary .*'<s>'"):
        from_tiktoken(TiktokenEncoding("a", ranks, {"<s>": 257}))


def test_what_tiktoken_cannot_do_is_refused_by_name():
    good = bare(byte_vocabulary("ab"), [["a", "b"]], GPT2)
    to_tiktoken(good)
    refusals: list[tuple[Json, str]] = [
        ({"normalizer": {"type": "NFC"}}, r"first changes it \(NFC\)"),
        ({"model": {**good["model"], "type": "Unigram"}}, "this tokenizer is Unigram"),
        ({"model": {**good["model"], "end_of_word_suffix": "</w>"}}, "nothing like end_of_word"),
        ({"model": {**good["model"], "dropout": 0.1}}, "nothing like dropout"),
        ({"model": {**good["model"], "vocab": {"a": 0, "b": 1, "ab": 2}}}, "has none for 254"),
        ({"model": {**good["model"], "merges": [["▁", "b"]]}}, "not of the byte alphabet"),
        ({"pre_tokenizer": None}, "takes the bytes of text as they are"),
        ({"pre_tokenizer": {**GPT2, "add_prefix_space": True}}, "without add_prefix_space"),
        ({"pre_tokenizer": sequence(split("a"), GPT2)}, "with 2 in turn"),
        ({"pre_tokenizer": sequence(split("a", "Removed"), BYTES)}, "matches of a regex, which"),
        ({"pre_tokenizer": sequence(DIGITS, split("a+"), BYTES)}, "followed by a\\+ none is known"),
        ({"pre_tokenizer": sequence(split(r"\p{N}{1,3}"), GPT2, BYTES)}, "No single|matches of"),
        ({"added_tokens": [added("<s>", 257, lstrip=True)]}, "'<s>' has lstrip"),
        ({"added_tokens": [added("<s", 257), added("<s>", 258)]}, "beginning of others"),
        ({"added_tokens": [added("<s>", 257), added("x", 88, normalized=True)]}, "normalized"),
    ]
    for change, message in refusals:
        with pytest.raises(NotExpressibleError, match=message):
            to_tiktoken({**good, **change})


def test_another_order_of_merges_is_refused():
    late = bare(byte_vocabulary("cd", "ab"), [["a", "b"], ["c", "d"]], GPT2)
    with pytest.raises(NotExpressibleError, match=r"merged later than .*b'cd'"):
        to_tiktoken(late)
    # To tiktoken "abc" comes from a + bc, since bc is joined before ab.
    other = bare(byte_vocabulary("bc", "ab", "abc"), [["b", "c"], ["a", "b"], ["ab", "c"]], GPT2)
    with pytest.raises(NotExpressibleError, match=r"other pieces .*b'abc' from \(b'a', b'bc'\)"):
        to_tiktoken(other)


def test_digits_knows_the_numbers_that_are_named_for_it():
    """Over every character: a number of ``Digits`` is one of the regex that stands for it."""
    library = Tokenizer.from_str(json.dumps(bare({}, [], DIGITS)))
    number = Tokenizer.from_str(
        json.dumps(bare({}, [], split(single_pattern(sequence(DIGITS, BYTES)).split("|(?:")[0])))
    )
    text = "".join(chr(c) for c in CODE_POINTS if c < 0x20000)
    assert library.pre_tokenizer is not None
    assert number.pre_tokenizer is not None
    assert library.pre_tokenizer.pre_tokenize_str(text) == number.pre_tokenizer.pre_tokenize_str(
        text
    )


def test_a_byte_is_written_as_its_character():
    ranks = {bytes([b]): 255 - b for b in range(256)}
    vocabulary = from_tiktoken(TiktokenEncoding("a", ranks, {}))["model"]["vocab"]
    assert vocabulary[to_alphabet(b" ")] == 255 - 32
