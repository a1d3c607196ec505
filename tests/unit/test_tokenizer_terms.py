"""Required terms: chains by hand, sizes to the token, and every term whole in the library."""

import json
import random
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from tasks.shared.byte_alphabet import to_alphabet
from tasks.tokenizer import merge_kernels as kernels
from tasks.tokenizer.byte_level_file import byte_level_tokenizer, number_tokens
from tasks.tokenizer.cut_words import BYTES_IN_ORDER, words_of_bytes
from tasks.tokenizer.cutters import library_cutter
from tasks.tokenizer.errors import CorpusTooSmallError, VocabularyTooSmallError
from tasks.tokenizer.learnt_prefix import Prefixes
from tasks.tokenizer.merge_loop import Learnt, Limits, Words, learn_merges
from tasks.tokenizer.pretokenizer import choose_pretokenizer
from tasks.tokenizer.pretokens import PretokenCounter
from tasks.tokenizer.required_terms import check_terms_are_words, cut_to_bytes, require_terms
from tasks.tokenizer.term_errors import TermError
from tasks.tokenizer.term_lists import read_terms
from tasks.tokenizer.term_presets import PresetName, Term, preset, spell

GPT2 = choose_pretokenizer({}, "gpt2", "none")
TERMS = [
    *(b" Verbindlichkeit", b"Bundesverfassungsgericht", b" 1990", b"2024", b"xyxyxy"),
    *(b"abab", b"aaaaaaa", b" Antrag", b"Antrag", "Größenordnung".encode(), b" der"),
]


def words_of(texts: list[str]) -> Words:
    counter = PretokenCounter(None, GPT2, 256)
    counter.add(pa.array(texts, pa.string()))
    return words_of_bytes(counter.result())


def learn(words: Words, size: int, *, scaffold: bool = False) -> Learnt:
    return learn_merges(words, BYTES_IN_ORDER, Limits(size), scaffold=scaffold)


def made(learnt: Learnt) -> list[bytes]:
    return [learnt.token_bytes[result] for _, _, result in learnt.merges]


def library_tokenizer(learnt: Learnt) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(byte_level_tokenizer(learnt, GPT2, None, [])))


@pytest.fixture(scope="module")
def words(small_corpus_texts: list[str]) -> Words:
    return words_of(small_corpus_texts)


def test_a_chain_takes_the_place_of_the_last_merges_by_hand():
    # Learnt: ug 20, un 16, hug 15, pun 12. "bugs" is b ug s, so that it takes two tokens.
    counts = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}
    words = words_of([word for word, n in counts.items() for _ in range(n)])
    learnt = learn(words, 260)
    assert made(learnt) == [b"ug", b"un", b"hug", b"pun"]
    required = require_terms(learnt, words, 260, [b"bugs"])
    assert made(required) == [b"ug", b"un", b"bug", b"bugs"]
    left = dict(zip(required.token_bytes, required.counts.tolist(), strict=True))
    assert (left[b"ug"], left[b"un"], left[b"h"], left[b"bugs"]) == (20, 16, 15, 0)
    assert required.events[:, :2].tolist() == [[kernels.MADE_TOKEN, 256 + i] for i in range(4)]


def test_a_step_that_is_found_twice_in_a_term_is_merged_twice_by_hand():
    # After (x, y) the term is xy xy xy, so that the next pair is (xy, xy).
    required = require_terms(learn(words_of(["q"]), 256), words_of(["q"]), 259, [b"xyxyxy"])
    assert made(required) == [b"xy", b"xyxy", b"xyxyxy"]


def test_terms_that_are_tokens_change_nothing(words: Words):
    learnt = learn(words, 400)
    required = require_terms(learnt, words, 400, [b" der", *learnt.token_bytes[300:]])
    assert b" der" in learnt.token_bytes
    np.testing.assert_array_equal(required.merges, learnt.merges)
    np.testing.assert_array_equal(required.counts, learnt.counts)
    np.testing.assert_array_equal(required.made, learnt.made)
    np.testing.assert_array_equal(required.events, learnt.events)


@pytest.mark.parametrize("scaffold", [False, True])
@pytest.mark.parametrize("size", [370, 500])
def test_every_term_is_one_token_and_the_size_exact(words: Words, size: int, scaffold: bool):
    learnt = learn(words, size, scaffold=scaffold)
    size = min(size, learnt.n_visible())  # the few texts hold fewer than 500 without scaffolds
    required = require_terms(learnt, words, size, TERMS, hide_steps=scaffold)
    assert required.n_visible() == size
    tokenizer = library_tokenizer(required)
    for n_terms in range(1, len(TERMS) + 1, 5):
        some = require_terms(learnt, words, size, TERMS[:n_terms], hide_steps=scaffold)
        whole = library_tokenizer(some)
        assert all(whole.encode(t.decode()).tokens == [to_alphabet(t)] for t in TERMS[:n_terms])
    ids = number_tokens(required, 0)
    for term in TERMS:
        encoded = tokenizer.encode(term.decode())
        assert encoded.tokens == [to_alphabet(term)]
        assert encoded.ids[0] < size  # scaffolds have ids behind
        assert ids[required.token_bytes.index(term)] == encoded.ids[0]


def test_no_token_that_stays_is_cut_by_a_term(words: Words):
    learnt = learn(words, 500)
    required = library_tokenizer(require_terms(learnt, words, 500, TERMS))
    plain = library_tokenizer(learnt)
    stay = set(required.get_vocab()) & set(plain.get_vocab())
    texts = [data.decode(errors="ignore") for data in learnt.token_bytes]
    whole = [t for t in texts if plain.encode(t).tokens == [to_alphabet(t.encode())]]
    kept = [t for t in whole if to_alphabet(t.encode()) in stay]
    assert len(kept) > 300
    assert all(len(required.encode(text).ids) == 1 for text in kept)


def test_counts_are_those_of_the_library(words: Words, small_corpus_texts: list[str]):
    required = require_terms(learn(words, 400), words, 400, TERMS)
    tokenizer = library_tokenizer(required)
    ids = np.concatenate([tokenizer.encode(text).ids for text in small_corpus_texts])
    np.testing.assert_array_equal(np.bincount(ids, minlength=400), required.counts)


@pytest.mark.parametrize("scaffold", [False, True])
def test_random_terms_always_fit_to_the_token(scaffold: bool):
    draw = random.Random(1)
    for _ in range(15):
        texts = ["".join(draw.choices("abc", k=draw.randint(2, 9))) for _ in range(60)]
        words = words_of(texts)
        size = draw.randint(285, 310)
        learnt = learn(words, size, scaffold=scaffold)
        terms = ["".join(draw.choices("abc", k=draw.randint(1, 6))).encode() for _ in range(8)]
        required = require_terms(learnt, words, learnt.n_visible(), terms, hide_steps=scaffold)
        assert required.n_visible() == learnt.n_visible()
        tokenizer = library_tokenizer(required)
        for term in terms:
            assert tokenizer.encode(term.decode()).ids == [
                number_tokens(required, 0)[required.token_bytes.index(term)]
            ]


def test_a_prefix_of_a_run_is_the_run_to_a_smaller_size(words: Words):
    for scaffold in (False, True):
        learnt = learn(words, 390, scaffold=scaffold)
        smaller = learn(words, 340, scaffold=scaffold)
        prefix = Prefixes(learnt).longest(340)
        assert prefix is not None
        assert prefix.n_visible == 340
        n = len(smaller.merges)
        assert prefix.n_merges >= n
        np.testing.assert_array_equal(learnt.merges[:n], smaller.merges)


def test_a_continued_tokenizer_starts_from_its_own_tokens():
    # The old tokenizer has the merge (a, b); its ids are a, b, c, ab. Cut by it "cab" is c ab.
    old = np.array([[0, 1, 3]], np.int32)
    words = Words(np.array([3, 2, 3, 2], np.int32), np.array([0, 2, 4]), np.array([5, 1]))
    base = [b"a", b"b", b"c", b"ab"]
    learnt = learn_merges(words, base, Limits(5))
    assert made(learnt) == [b"abc"]
    required = require_terms(
        learnt, words, 6, [b"cab"], lambda terms: [[2, 3] for _ in terms], base_merges=old
    )
    assert required.token_bytes == [*base, b"abc", b"cab"]
    assert required.merges.tolist() == [[3, 2, 4], [2, 3, 5]]


def test_no_room_for_terms_names_the_numbers(words: Words):
    with pytest.raises(VocabularyTooSmallError, match=r"258 tokens .* below 259, the 256 base"):
        require_terms(learn(words, 258), words, 258, [b"xyxyxy"])


def test_too_little_text_is_an_error():
    words = words_of(["ab", "ab"])
    with pytest.raises(CorpusTooSmallError, match=r"1 terms yield 258 tokens .* 300 were"):
        require_terms(learn(words, 300), words, 300, [b"xy"])


def test_empty_terms_and_such_as_cannot_be_written_are_refused(words: Words):
    learnt = learn(words, 300)
    with pytest.raises(TermError, match="1 of 2 terms are empty"):
        require_terms(learnt, words, 300, [b"a", b""])
    with pytest.raises(TermError, match="no tokens for"):
        require_terms(learnt, words, 300, [b"a"], lambda terms: [None for _ in terms])


def test_terms_that_are_cut_into_words_are_listed():
    single = library_cutter(None, choose_pretokenizer({}, "gpt2", "individual"))
    whole = library_cutter(None, choose_pretokenizer({}, "gpt2", "none"))
    check_terms_are_words([b"1990", b"word"], whole.cut)
    with pytest.raises(TermError, match=r"2 of 3 terms .*'1990' -> \['1', '9', '9', '0'\]"):
        check_terms_are_words([b"1990", b"word", b"12"], single.cut)
    assert cut_to_bytes([b"!\x00"]) == [[BYTES_IN_ORDER.index(b"!"), BYTES_IN_ORDER.index(b"\x00")]]


def test_presets_hold_what_their_rules_say():
    texts = {name: {term.text for term in preset(name)} for name in get_args(PresetName)}
    assert len(texts["years"]) == 2049 - 1776 + 1
    assert len(texts["numbers"]) == 990
    assert {"(a)", "(Z)", "(1)", "(99)", "(ii)", "(ix)"} <= texts["enumerations"]
    assert {"  ", "\t" * 8, "\n\n", "\r\n"} <= texts["whitespace"]
    assert {"##", "***", "https://"} <= texts["markdown"]
    assert {"</table>", ' href="'} <= texts["html"]
    assert "</br>" not in texts["html"]
    assert {'":', "null"} <= texts["json"]
    assert all(len(preset(name)) == len(texts[name]) for name in get_args(PresetName))
    assert {term.type for term in preset("years")} == {"years"}


def test_terms_are_spelt_with_a_space_in_front_or_without():
    term = Term("Vertrag")
    assert spell(term, "bare") == [b"Vertrag"]
    assert spell(term, "space") == [b" Vertrag"]
    assert spell(term, "both") == [b"Vertrag", b" Vertrag"]
    assert spell(Term("\n\n"), "both") == [b"\n\n"]


def test_numbers_as_terms_need_a_rule_that_keeps_numbers_whole():
    numbers = [data for term in preset("numbers") for data in spell(term, "bare")]
    threes = choose_pretokenizer({}, "gpt4", "groups_of_3")
    single = choose_pretokenizer({}, "gpt4", "individual")
    cutters = [library_cutter(None, cut) for cut in (threes, single)]
    check_terms_are_words(numbers, cutters[0].cut)
    with pytest.raises(TermError, match="990 of 990"):
        check_terms_are_words(numbers, cutters[1].cut)


def test_terms_are_read_from_text_and_parquet(tmp_path: Path):
    (tmp_path / "terms.txt").write_text("Aspirin\tdrug\n\nalpha beta\nAspirin\tother\r\n")
    expected = [Term("Aspirin", "drug"), Term("alpha beta")]
    assert read_terms(tmp_path / "terms.txt") == expected
    columns = {"term": ["Aspirin", "alpha beta"], "type": ["drug", None]}
    pq.write_table(pa.table(columns), tmp_path / "terms.parquet")
    assert read_terms(tmp_path / "terms.parquet") == expected
    pq.write_table(pa.table({"term": ["x"]}), tmp_path / "bare.parquet")
    assert read_terms(tmp_path / "bare.parquet") == [Term("x")]


def test_bad_lists_of_terms_say_where(tmp_path: Path):
    def written(name: str, content: str | pa.Table) -> Path:
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content)
        else:
            pq.write_table(content, path)
        return path

    wrong = {
        "Line 2 of .*'a.tb.tc'": written("a.txt", "good\na\tb\tc\n"),
        "Line 1 of": written("b.txt", "\tdrug\n"),
        "holds no terms": written("c.txt", "\n \n"),
        "a.csv is no list": written("a.csv", "a"),
        "needs a column of strings named term": written("a.parquet", pa.table({"text": ["a"]})),
        r"\(term not text\)": written("b.parquet", pa.table({"term": [1]})),
        r"1 of 2 rows .*\[1\]": written("c.parquet", pa.table({"term": ["a", None]})),
        "cannot be read": written("d.parquet", "no table"),
        "cannot be read.*absent": tmp_path / "absent.txt",
    }
    for message, path in wrong.items():
        with pytest.raises(TermError, match=message):
            read_terms(path)
