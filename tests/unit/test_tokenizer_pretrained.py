"""One reader for every file that holds a tokenizer."""

import json
from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from tasks.shared.vocabulary_file import TokenizerFileError, read_tokenizer_file
from tasks.shared.vocabulary_reading import vocabulary_of
from tasks.tokenizer.format_errors import FormatFileError
from tasks.tokenizer.named_roles import RolesConflictError
from tasks.tokenizer.pretrained import pretrained_files, read_pretrained
from tasks.tokenizer.sentencepiece_format import write_sentencepiece
from tasks.tokenizer.tiktoken_export import to_tiktoken
from tasks.tokenizer.tiktoken_format import TiktokenEncoding, record_path, write_tiktoken
from tasks.tokenizer.tiktoken_import import from_tiktoken

RANKS = {**{bytes([b]): b for b in range(256)}, b"ab": 256, b"abc": 257}
PATTERN = r"\p{L}+|\P{L}+"
ENCODING = TiktokenEncoding(PATTERN, RANKS, {"<|end|>": 300})


def write_model(path: Path) -> None:
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁", "a", "▁a"]
    write_sentencepiece(
        path,
        pieces,
        merge_order=[261],
        roles={"unk": 0, "bos": 1, "eos": 2},
        byte_fallback=True,
        metaspace=True,
    )


def test_a_folder_with_tokenizer_json_is_read_as_it_is(tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text(json.dumps(from_tiktoken(ENCODING)))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<|end|>"}')
    (tmp_path / "other.model").write_bytes(b"")
    expected = read_tokenizer_file(tmp_path)
    assert expected.named == {"eos": "<|end|>"}
    assert read_pretrained(tmp_path) == expected
    assert read_pretrained(tmp_path / "tokenizer.json") == expected


def test_a_ranks_file_is_read_with_its_record(tmp_path: Path):
    write_tiktoken(tmp_path / "x.tiktoken", ENCODING)
    for path in (tmp_path, tmp_path / "x.tiktoken"):
        file = read_pretrained(path)
        assert file.model["merges"] == [["a", "b"], ["ab", "c"]]
        vocabulary = vocabulary_of(file)
        assert len(vocabulary) == 301
        assert vocabulary.special_ids == {"<|end|>": 300}
        assert vocabulary.token_bytes[257] == b"abc"
        assert to_tiktoken(file.tokenizer).ranks == RANKS


def test_ranks_are_read_under_the_name_of_a_model_too(tmp_path: Path):
    write_tiktoken(tmp_path / "tokenizer.model", ENCODING)
    record_path(tmp_path / "tokenizer.model").unlink()
    file = read_pretrained(tmp_path, PATTERN, {"<|end|>": 300})
    tokenizer = Tokenizer.from_str(json.dumps(file.tokenizer))
    assert tokenizer.encode("abcab<|end|>b").ids == [257, 256, 300, 98]
    with pytest.raises(FormatFileError, match="or give the pattern"):
        read_pretrained(tmp_path)


def test_a_sentencepiece_model_is_read_with_its_roles(tmp_path: Path):
    path = tmp_path / "tokenizer.model"
    write_model(path)
    file = read_pretrained(tmp_path)
    assert file == read_pretrained(path)
    vocabulary = vocabulary_of(file)
    assert vocabulary.token_bytes[3 + 0x41] == b"A"
    assert vocabulary.token_bytes[261] == b" a"
    assert {role: vocabulary.roles[role] for role in ("unk", "bos", "eos")} == {
        **{"unk": 0, "bos": 1, "eos": 2}
    }
    tokenizer = Tokenizer.from_str(json.dumps(file.tokenizer))
    ids = SentencePieceProcessor(model_file=str(path)).encode("a aé")
    assert tokenizer.encode("a aé").ids == ids


def test_tokens_that_the_config_adds_are_not_lost(tmp_path: Path):
    write_model(tmp_path / "tokenizer.model")
    config = {"added_tokens_decoder": {"1": {"content": "<s>"}, "262": {"content": "<turn>"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(FormatFileError, match=r"adds 1 tokens .*'<turn>'.* save_pretrained"):
        read_pretrained(tmp_path)


def test_tokens_of_older_folders_are_not_lost(tmp_path: Path):
    write_model(tmp_path / "tokenizer.model")
    (tmp_path / "added_tokens.json").write_text('{"<turn>": 262}')
    with pytest.raises(FormatFileError, match=r"adds 1 tokens .*'<turn>'.* save_pretrained"):
        read_pretrained(tmp_path)


def test_roles_are_read_beside_any_kind_of_file(tmp_path: Path):
    write_tiktoken(tmp_path / "x.tiktoken", ENCODING)
    (tmp_path / "special_tokens_map.json").write_text('{"eos_token": {"content": "<|end|>"}}')
    assert read_pretrained(tmp_path).named == {"eos": "<|end|>"}
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<|end|>"}')
    assert vocabulary_of(read_pretrained(tmp_path)).roles["pad"] == 300
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "ab"}')
    with pytest.raises(RolesConflictError, match=r"'<\|end\|>' as eos and .* names 'ab'"):
        read_pretrained(tmp_path)
    named = read_pretrained(tmp_path, roles={"eos": "<|end|>", "bos": "<s>"}).named
    assert named == {"eos": "<|end|>", "bos": "<s>"}


def test_roles_of_a_model_and_of_the_config_beside_it_must_agree(tmp_path: Path):
    write_model(tmp_path / "tokenizer.model")
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "a"}')
    with pytest.raises(RolesConflictError, match=r"tokenizer\.model names '</s>' as eos"):
        read_pretrained(tmp_path)
    assert read_pretrained(tmp_path, roles={"eos": "a"}).named["eos"] == "a"


def test_ids_of_special_tokens_that_are_taken_or_far_away_are_refused(tmp_path: Path):
    write_tiktoken(tmp_path / "x.tiktoken", ENCODING)
    for ids in ({"<a>": 257}, {"<a>": 258, "<b>": 258}):
        with pytest.raises(FormatFileError, match=r"need an id of their own .* ends at 257"):
            read_pretrained(tmp_path, PATTERN, ids)
    with pytest.raises(FormatFileError, match=r"259 tokens and ids up to 10000000000 \(of '<a>'"):
        read_pretrained(tmp_path, PATTERN, {"<a>": 10**10})


def test_a_pattern_is_for_ranks_alone(tmp_path: Path):
    write_model(tmp_path / "tokenizer.model")
    with pytest.raises(FormatFileError, match="is no file of ranks, but pattern"):
        read_pretrained(tmp_path, PATTERN)


def test_of_a_folder_only_what_makes_up_the_tokenizer_is_taken():
    names = ["tokenizer.json", "tokenizer.model", "tokenizer_config.json", "model.safetensors"]
    assert pretrained_files(names, "f") == ["tokenizer.json", "tokenizer_config.json"]
    names = ["x.tiktoken", "x.tiktoken.json", "chat_template.jinja", "vocab.txt"]
    assert pretrained_files(names, "f") == ["chat_template.jinja", "x.tiktoken", "x.tiktoken.json"]


def test_anything_else_is_refused_with_what_is_read(tmp_path: Path):
    supported = r"a tokenizer is read from a tokenizer\.json, a \.tiktoken .* SentencePiece"
    with pytest.raises(FormatFileError, match=f"holds nothing of the kind; {supported}"):
        read_pretrained(tmp_path)
    with pytest.raises(FormatFileError, match=f"absent does not exist; {supported}"):
        read_pretrained(tmp_path / "absent")
    (tmp_path / "vocab.txt").write_text("a\n")
    with pytest.raises(FormatFileError, match=f"vocab.txt holds nothing of the kind; {supported}"):
        read_pretrained(tmp_path / "vocab.txt")
    write_model(tmp_path / "a.model")
    write_model(tmp_path / "b.model")
    with pytest.raises(FormatFileError, match=rf"holds a\.model, b\.model; {supported}"):
        read_pretrained(tmp_path)


def test_a_damaged_model_is_refused(tmp_path: Path):
    (tmp_path / "x.model").write_bytes(b"\x00\x01\x02")
    with pytest.raises(FormatFileError, match="no SentencePiece model"):
        read_pretrained(tmp_path / "x.model")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerFileError, match=r"no model\.vocab"):
        read_pretrained(tmp_path)
