"""Reserved and tool tokens: last ids, special, and the same in the tokenizers library."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from tasks.shared.extra_tokens import (
    ExtraTokens,
    ToolToken,
    read_extra_tokens,
    write_extra_tokens,
)
from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.bpe import no_merges
from tasks.tokenizer.byte_level_file import byte_level_tokenizer
from tasks.tokenizer.padding import (
    AddedTokenError,
    add_extra_tokens,
    add_tool_tokens,
    n_rows,
    pad_to_multiple,
    pad_to_size,
)
from tasks.tokenizer.pretokenizer import choose_pretokenizer

GPT2 = choose_pretokenizer({}, "gpt2", "none")
SEARCH = ToolToken("<|search|>", "Finds pages.")
CLOCK = ToolToken("<|clock|>", "Tells the time.")


def byte_tokenizer() -> Json:
    return byte_level_tokenizer(no_merges(), GPT2, None, [])


def ids_in_library(tokenizer: Json, text: str) -> list[int]:
    return Tokenizer.from_str(json.dumps(tokenizer)).encode(text, add_special_tokens=False).ids


def test_rows_are_filled_up_to_the_multiple_by_hand():
    padded = pad_to_multiple(byte_tokenizer(), 100)
    assert n_rows(padded) == 300
    added = {token["content"]: token["id"] for token in padded["added_tokens"]}
    assert added == {f"<|reserved_{number}|>": 256 + number for number in range(44)}
    assert all(token["special"] for token in padded["added_tokens"])
    assert ids_in_library(padded, "<|reserved_0|><|reserved_43|>") == [256, 299]


def test_a_multiple_already_is_left_alone():
    assert pad_to_multiple(byte_tokenizer(), 64) == byte_tokenizer()
    padded = pad_to_multiple(byte_tokenizer(), 100)
    assert pad_to_multiple(padded, 100) == padded


def test_numbers_that_are_taken_are_passed_over():
    twice = pad_to_size(pad_to_size(byte_tokenizer(), 258), 260)
    assert [token["content"] for token in twice["added_tokens"]] == [
        f"<|reserved_{number}|>" for number in range(4)
    ]


def test_text_is_cut_as_before():
    text = "Straße 12, naïve\n\t<|im_start|> x"
    padded = pad_to_multiple(byte_tokenizer(), 512)
    assert ids_in_library(padded, text) == ids_in_library(byte_tokenizer(), text)


def test_tools_come_last_and_are_recorded():
    tokenizer, tools = add_tool_tokens(pad_to_size(byte_tokenizer(), 260), [SEARCH, CLOCK])
    assert tools == {260: SEARCH, 261: CLOCK}
    assert ids_in_library(tokenizer, "<|clock|><|search|>") == [261, 260]
    assert Tokenizer.from_str(json.dumps(tokenizer)).decode([260]) == ""


def test_ids_hold_where_added_tokens_of_the_source_leave_a_hole():
    tokenizer = byte_tokenizer()
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer["added_tokens"] = [{"id": 300, "content": "<end>", "special": True, **flags}]
    padded = pad_to_size(tokenizer, 303)
    assert ids_in_library(padded, "<end><|reserved_0|><|reserved_1|>") == [300, 301, 302]


def test_a_unigram_vocabulary_is_padded_behind_its_list():
    model = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], unk_id=0, byte_fallback=False))
    padded = pad_to_multiple(json.loads(model.to_str()), 4)
    assert ids_in_library(padded, "a<|reserved_0|><|reserved_1|>") == [1, 2, 3]
    assert len(padded["model"]["vocab"]) == 2


def test_tools_and_then_reserved_tokens_fill_up_to_the_multiple():
    padded, extra = add_extra_tokens(byte_tokenizer(), [SEARCH, CLOCK], 8)
    assert extra.tools == {256: SEARCH, 257: CLOCK}
    assert list(extra.reserved) == [258, 259, 260, 261, 262, 263]
    assert ids_in_library(padded, "<|clock|><|reserved_5|>") == [257, 263]
    assert len(extra) == 8


def test_nothing_asked_for_changes_nothing():
    tokenizer = byte_tokenizer()
    assert add_extra_tokens(tokenizer, [], 1) == (tokenizer, ExtraTokens({}, range(256, 256)))


def test_tokens_that_stay_last_move_up_by_as_many_as_are_added():
    before = byte_tokenizer()
    vocabulary = before["model"]["vocab"]
    vocabulary |= {"ab": 256, "abc": 257}
    before["model"]["merges"] = [["a", "b"], ["ab", "c"]]
    padded, extra = add_extra_tokens(before, [SEARCH], 4, n_last=2)
    assert (extra.tools, list(extra.reserved)) == ({256: SEARCH}, [257])
    assert vocabulary["abc"] == 257
    assert ids_in_library(padded, "ab") == [258]
    assert ids_in_library(padded, "abc<|search|>") == [259, 256]
    assert n_rows(padded) == 260


def test_what_was_added_is_read_as_it_was_written(tmp_path: Path):
    assert read_extra_tokens(tmp_path) == ExtraTokens()
    write_extra_tokens(tmp_path, ExtraTokens())
    assert not list(tmp_path.iterdir())
    extra = ExtraTokens({7: SEARCH, 8: ToolToken("<|größe|>", "Misst „Längen“.")}, [9, 10])
    write_extra_tokens(tmp_path, extra)
    assert read_extra_tokens(tmp_path) == extra


def test_what_cannot_be_added_is_named():
    with pytest.raises(AddedTokenError, match="pad_to_size=200 is below the 256 rows"):
        pad_to_size(byte_tokenizer(), 200)
    with pytest.raises(AddedTokenError, match="pad_to_multiple_of=0"):
        pad_to_multiple(byte_tokenizer(), 0)
    with pytest.raises(AddedTokenError, match=r"\['<\|clock\|>'\]"):
        add_tool_tokens(byte_tokenizer(), [CLOCK, SEARCH, CLOCK])
    with pytest.raises(AddedTokenError, match=r"\['a', ''\]"):
        add_tool_tokens(byte_tokenizer(), [ToolToken("a", ""), ToolToken("", "")])
