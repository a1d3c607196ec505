"""SentencePiece's files: the same ids as the tokenizers library, both ways, or a refusal."""

import io
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers

from tasks.shared.extra_tokens import ToolToken
from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.format_errors import FormatFileError, NotExpressibleError
from tasks.tokenizer.padding import add_extra_tokens
from tasks.tokenizer.sentencepiece_export import export_sentencepiece
from tasks.tokenizer.sentencepiece_format import Kind, new_model, write_sentencepiece
from tasks.tokenizer.sentencepiece_import import read_sentencepiece

BYTE_PIECES = [f"<0x{b:02X}>" for b in range(256)]
LETTERS = list("bghnpsu")
IDENTITY: dict[str, Any] = {
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
}


@pytest.fixture(scope="module")
def lines(small_corpus_texts: list[str]) -> list[str]:
    folder = Path(os.__file__).parent
    source = (folder / "textwrap.py").read_text(encoding="utf-8").splitlines()
    return [line for line in source if line.strip()] + small_corpus_texts[:100]


@pytest.fixture(scope="module")
def any_texts(lines: list[str]) -> list[str]:
    """Real text, random characters, and characters that spaces and unknown ones hang on."""
    draw = random.Random(0)
    every = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
    return [
        *lines[::5],
        *("".join(map(chr, draw.choices(every, k=40))) for _ in range(100)),
        *("".join(draw.choices(" ▁aeä\n\tzZ19.é中n", k=40)) for _ in range(200)),
        *("", " ", "  ", "▁", "a" * 300, " " * 300, "def def<start>def\n\n  def"),
    ]


def bytes_of_model(path: Path) -> Any:
    model = new_model()
    model.ParseFromString(path.read_bytes())
    return model


def assert_same_ids(tokenizer: Json, path: Path, texts: list[str]) -> None:
    library = Tokenizer.from_str(json.dumps(tokenizer))
    expected = [e.ids for e in library.encode_batch(texts, add_special_tokens=False)]
    assert SentencePieceProcessor(model_file=str(path)).encode(texts) == expected


def write_scaffold(path: Path, unused: set[int]) -> SentencePieceProcessor:
    pieces = ["<unk>", *LETTERS, "ug", "un", "hug", "pun", "hugs"]
    write_sentencepiece(
        path,
        pieces,
        merge_order=[8, 9, 10, 11, 12],
        roles={"unk": 0},
        unused=unused,
        byte_fallback=False,
        metaspace=False,
    )
    return SentencePieceProcessor(model_file=str(path))


def test_scaffold_bpe_by_hand(tmp_path: Path):
    # hug 10, pug 5, pun 12, bun 4, hugs 5 with room for eleven: "un" is but a step to "pun".
    scaffold = write_scaffold(tmp_path / "scaffold.model", unused={9})
    plain = write_scaffold(tmp_path / "plain.model", unused=set())
    cuts = {
        "bun": ["b", "u", "n"],
        "pun": ["pun"],
        "bug": ["b", "ug"],
        "spun": ["s", "pun"],
        "unhug": ["u", "n", "hug"],
        "hugs": ["hugs"],
    }
    assert {word: scaffold.encode(word, out_type=str) for word in cuts} == cuts
    assert plain.encode("unhug", out_type=str) == ["un", "hug"]
    assert scaffold.unk_id() == 0
    assert scaffold.bos_id() == -1


def test_equal_arguments_give_equal_bytes(tmp_path: Path):
    write_scaffold(tmp_path / "a.model", {9})
    write_scaffold(tmp_path / "b.model", {9})
    assert (tmp_path / "a.model").read_bytes() == (tmp_path / "b.model").read_bytes()


def test_kinds_of_pieces_are_written(tmp_path: Path):
    path = tmp_path / "x.model"
    write_sentencepiece(
        path,
        ["<unk>", "<s>", "</s>", *BYTE_PIECES, "▁", "a", "▁a", "<sep>", "<mask>"],
        merge_order=[261],
        roles={"unk": 0, "bos": 1, "eos": 2},
        control={263},
        user_defined={262},
        byte_fallback=True,
        metaspace=True,
        dummy_prefix=True,
    )
    kinds = [Kind(piece.type).name for piece in bytes_of_model(path).pieces]
    assert kinds[:3] == ["UNKNOWN", "CONTROL", "CONTROL"]
    assert set(kinds[3:259]) == {"BYTE"}
    assert kinds[259:] == ["NORMAL", "NORMAL", "NORMAL", "USER_DEFINED", "CONTROL"]
    processor = SentencePieceProcessor(model_file=str(path))
    assert (processor.bos_id(), processor.eos_id(), processor.pad_id()) == (1, 2, -1)
    assert processor.encode("a<sep>aé", out_type=str) == ["▁a", "<sep>", "a", "<0xC3>", "<0xA9>"]


@pytest.mark.parametrize(
    ("pieces", "merge_order", "roles", "byte_fallback", "message"),
    [
        (["a"], [], {}, False, "none of 1 has the role unk"),
        (["<unk>", "<0x00>"], [], {"unk": 0}, True, "and 1 are here"),
        (["<unk>", "a", "a"], [], {"unk": 0}, False, "1 of 3 pieces occur twice"),
        (["<unk>", "a", "aa"], [], {"unk": 0}, False, "1 pieces of several .* 'aa'"),
    ],
)
def test_pieces_that_make_no_model_are_refused(
    tmp_path: Path,
    pieces: list[str],
    merge_order: list[int],
    roles: dict[str, int],
    byte_fallback: bool,
    message: str,
):
    with pytest.raises(NotExpressibleError, match=message):
        write_sentencepiece(
            tmp_path / "x.model",
            pieces,
            merge_order,
            roles,
            byte_fallback=byte_fallback,
            metaspace=True,
        )


def metaspace_words(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")


def split_words(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")


def character_bpe(lines: list[str], arrange: Callable[[Tokenizer], None]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    arrange(tokenizer)
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=["<unk>", "<s>", *BYTE_PIECES],
        limit_alphabet=60,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def parsed(tokenizer: Tokenizer) -> Json:
    made: Json = json.loads(tokenizer.to_str())
    # Trained as special so that they come first, bytes are no added tokens.
    made["added_tokens"] = [t for t in made["added_tokens"] if t["content"] not in BYTE_PIECES]
    return made


@pytest.mark.parametrize("arrange", [metaspace_words, split_words])
def test_any_text_gets_the_same_ids_from_an_exported_model(
    tmp_path: Path, lines: list[str], any_texts: list[str], arrange: Callable[[Tokenizer], None]
):
    tokenizer = parsed(character_bpe(lines, arrange))
    path = tmp_path / "x.model"
    export_sentencepiece(path, tokenizer, {"bos": "<s>"})
    assert_same_ids(tokenizer, path, any_texts)
    # And back: the merges that follow from the scores are those that were learnt.
    again, roles = read_sentencepiece(path)
    assert again["model"]["merges"] == tokenizer["model"]["merges"]
    assert again["model"]["vocab"] == tokenizer["model"]["vocab"]
    assert roles == {"unk": "<unk>", "bos": "<s>"}
    assert_same_ids(again, path, any_texts)


def test_spaces_as_llama_and_as_gemma_write_them(
    tmp_path: Path, lines: list[str], any_texts: list[str]
):
    tokenizer = character_bpe(lines, metaspace_words)
    spaces = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces])
    llama = {**parsed(tokenizer), "pre_tokenizer": None}
    export_sentencepiece(tmp_path / "llama.model", llama, {})
    assert_same_ids(llama, tmp_path / "llama.model", any_texts)
    tokenizer.normalizer = spaces
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.add_tokens([AddedToken("def", normalized=False), AddedToken("\n", normalized=False)])
    export_sentencepiece(tmp_path / "gemma.model", parsed(tokenizer), {})
    assert_same_ids(parsed(tokenizer), tmp_path / "gemma.model", any_texts)


def test_without_byte_fallback_a_run_of_unknown_characters_is_one_token(
    tmp_path: Path, any_texts: list[str]
):
    vocabulary = {"<unk>": 0, "▁": 1, "a": 2, "n": 3, "an": 4, "▁an": 5}
    merges = [("a", "n"), ("▁", "an")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True))
    metaspace_words(tokenizer)
    export_sentencepiece(tmp_path / "x.model", parsed(tokenizer), {})
    assert_same_ids(parsed(tokenizer), tmp_path / "x.model", [*any_texts, "an ann zz an"])


def test_scaffolds_of_a_tokenizer_are_cut_again(tmp_path: Path):
    vocabulary = {text: i for i, text in enumerate([*LETTERS, "ug", "un", "hug", "pun", "hugs"])}
    merges = [["u", "g"], ["u", "n"], ["h", "ug"], ["p", "un"], ["hug", "s"]]
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True}
    vocabulary["<unk>"] = 12
    tokenizer = {"model": {**model, "vocab": vocabulary, "merges": merges}, "added_tokens": []}
    path = tmp_path / "x.model"
    export_sentencepiece(path, tokenizer, {}, unused={vocabulary["un"]})
    processor = SentencePieceProcessor(model_file=str(path))
    assert processor.encode("spunbun", out_type=str) == ["s", "pun", "b", "u", "n"]
    with pytest.raises(NotExpressibleError, match=r"1 unused pieces .*'un'.* load it with"):
        read_sentencepiece(path)


def test_tokens_that_no_text_is_cut_to_become_control_pieces(tmp_path: Path):
    vocabulary = {"<unk>": 0, "a": 1, "b": 2, "ab": 3, "ba": 4}
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True}
    tokenizer: Json = {"model": {**model, "vocab": vocabulary, "merges": [["a", "b"]]}}
    path = tmp_path / "x.model"
    export_sentencepiece(path, tokenizer, {})
    assert_same_ids(tokenizer, path, ["baab", "abba"])
    assert bytes_of_model(path).pieces[4].type == Kind.CONTROL


def test_tool_and_reserved_tokens_become_control_pieces_behind_all_others(
    tmp_path: Path, lines: list[str], any_texts: list[str]
):
    tool = ToolToken("<|search|>", "Finds pages.")
    tokenizer, extra = add_extra_tokens(parsed(character_bpe(lines, metaspace_words)), [tool], 64)
    path = tmp_path / "x.model"
    export_sentencepiece(path, tokenizer, {"bos": "<s>"})
    assert_same_ids(tokenizer, path, any_texts)
    loaded = SentencePieceProcessor(model_file=str(path))
    assert loaded.get_piece_size() == 960
    assert [*extra.tools, *extra.reserved] == list(range(960 - len(extra), 960))
    assert all(loaded.is_control(i) for i in (*extra.tools, *extra.reserved))
    assert loaded.id_to_piece(min(extra.tools)) == "<|search|>"


def test_what_sentencepiece_cannot_do_is_refused_by_name(tmp_path: Path):
    vocabulary = {"<unk>": 0, "▁": 1, "a": 2, "a▁": 3}
    model: Json = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "vocab": vocabulary}
    model["merges"] = [["a", "▁"]]
    good: Json = {"model": model}
    path = tmp_path / "x.model"
    export_sentencepiece(path, good, {})
    words = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}
    first = {**words, "prepend_scheme": "first"}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    regex = {"type": "Split", "pattern": {"Regex": r"\s+"}, "behavior": "Isolated"}
    token = {"content": "x", "id": 4, "special": False, "lstrip": True}
    prefix = {"type": "Prepend", "prepend": "▁"}
    refusals: list[tuple[Json, str]] = [
        ({"pre_tokenizer": byte_level}, "this tokenizer is byte-level"),
        ({"pre_tokenizer": regex}, "puts one first or does neither"),
        ({"pre_tokenizer": first}, "'prepend_scheme': 'first'"),
        ({"pre_tokenizer": words}, r"1 tokens that reach over .*'a▁'"),
        ({"normalizer": {"type": "NFC"}}, "this tokenizer has {'type': 'NFC'}"),
        ({"model": {**model, "type": "Unigram"}}, "this tokenizer is Unigram"),
        ({"model": {**model, "ignore_merges": True}}, "nothing like ignore_merges"),
        ({"model": {**model, "fuse_unk": False}}, "a run of unknown characters"),
        ({"model": {**model, "vocab": {**vocabulary, "b": 9}}}, r"first gap: \[4\]"),
        ({"added_tokens": [token]}, "by their text alone"),
        ({"added_tokens": [token], "normalizer": prefix}, "and this tokenizer one after 'x'"),
    ]
    for change, message in refusals:
        with pytest.raises(NotExpressibleError, match=message):
            export_sentencepiece(path, {**good, **change}, {})


def trained(path: Path, lines: list[str], **options: Any) -> Path:
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        vocab_size=800,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    path.write_bytes(written.getvalue())
    return path


SETTINGS: dict[str, dict[str, Any]] = {
    "bpe, text as it is": {**IDENTITY, "model_type": "bpe", "byte_fallback": True},
    "bpe as Llama 2 has it": {
        **IDENTITY,
        **{"model_type": "bpe", "byte_fallback": True, "add_dummy_prefix": True},
    },
    "bpe, everything by default": {"model_type": "bpe"},
    "bpe, nfkc": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "nfkc"},
    "bpe as Gemma has it": {
        **IDENTITY,
        **{"model_type": "bpe", "byte_fallback": True, "split_digits": True},
        **{"user_defined_symbols": ["\n", "▁▁", "▁▁▁", "<start>", "def"], "pad_id": 3},
        "control_symbols": ["<turn>"],
    },
    "unigram, text as it is": {**IDENTITY, "model_type": "unigram", "byte_fallback": True},
    "unigram, everything by default": {"model_type": "unigram"},
}


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_model_of_sentencepiece_reads_with_the_same_ids(
    tmp_path: Path, lines: list[str], any_texts: list[str], options: dict[str, Any]
):
    path = trained(tmp_path / "x.model", lines, **options)
    tokenizer, roles = read_sentencepiece(path)
    assert_same_ids(tokenizer, path, any_texts)
    processor = SentencePieceProcessor(model_file=str(path))
    library = Tokenizer.from_str(json.dumps(tokenizer))
    known = [text for text in lines if processor.unk_id() not in processor.encode(text)]
    assert known
    for text in known:
        assert library.decode(library.encode(text).ids) == processor.decode(processor.encode(text))
    specials = {t["content"] for t in tokenizer["added_tokens"] if t["special"]}
    assert set(roles.values()) <= specials
    assert roles["bos"] == processor.id_to_piece(processor.bos_id())


def edited(path: Path, change: Callable[[Any], None]) -> Path:
    model = bytes_of_model(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def append_with_score_0(model: Any) -> None:
    # A recipe to extend Llama: new pieces with score 0, which is also that of the first merge.
    model.pieces.add(piece="ret", score=0.0, type=1)


def without_a_letter(model: Any) -> None:
    next(piece for piece in model.pieces if piece.piece == "e").piece = "\u1234"


def with_unused(model: Any) -> None:
    next(piece for piece in model.pieces if piece.piece == "e").type = int(Kind.UNUSED)


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({"model_type": "char"}, None, "model_type 4"),
        ({"model_type": "bpe", "treat_whitespace_as_suffix": True}, None, "as_suffix True"),
        ({"model_type": "bpe", "user_defined_symbols": ["<sep>"]}, None, "1 user-defined .*<sep>"),
        ({"model_type": "bpe"}, append_with_score_0, "1 pieces with the score of another"),
        ({"model_type": "bpe"}, without_a_letter, "joins 'e', which is no piece"),
        ({"model_type": "unigram"}, with_unused, "1 unused pieces .*'e'"),
    ],
)
def test_a_model_that_tokenizers_would_cut_otherwise_is_refused(
    tmp_path: Path,
    lines: list[str],
    options: dict[str, Any],
    change: Callable[[Any], None] | None,
    message: str,
):
    path = trained(tmp_path / "x.model", lines, **options)
    if change is not None:
        edited(path, change)
    with pytest.raises(NotExpressibleError, match=message):
        read_sentencepiece(path)


def with_a_control_piece_inside(model: Any) -> None:
    model.pieces.add(piece="x<s>", score=-1.0, type=int(Kind.NORMAL))


def test_ids_that_differ_are_found(tmp_path: Path, lines: list[str]):
    path = trained(tmp_path / "x.model", lines, model_type="unigram")
    read_sentencepiece(path)
    edited(path, with_a_control_piece_inside)
    with pytest.raises(NotExpressibleError, match=r"cuts '.*x<s>.*and SentencePiece to \["):
        read_sentencepiece(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    path = tmp_path / "x.model"
    path.write_bytes(b"YQ== 0\nYg== 1\n")
    with pytest.raises(FormatFileError, match="is no SentencePiece model"):
        read_sentencepiece(path)
