"""What a person sees of a tokenizer in a terminal."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers

from flows.inspect_tokenizer import TextArgumentError, read_text_argument, show
from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.vocabulary import TokenizerFileError


def byte_level(folder: Path, *merges: tuple[str, str]) -> Path:
    vocab = {c: i for i, c in enumerate(BYTE_CHARACTERS)}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<\x1b[31mend>"])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def printed(
    path: Path, text: str, compare: Path | None = None, colours: bool = False, width: int = 100
) -> str:
    screen = io.StringIO()
    system = "truecolor" if colours else None
    show(
        Console(file=screen, width=width, force_terminal=colours, color_system=system),
        path,
        text,
        compare,
    )
    return screen.getvalue()


def row(lines: list[str], label: str) -> list[str]:
    """The cells behind a label, in the one line that starts with it."""
    (line,) = (line for line in lines if line.startswith(label))
    return line[len(label) :].split()


def test_without_colours_bars_part_the_tokens(tmp_path: Path):
    folder = byte_level(tmp_path / "small", ("a", "b"), ("Ġ", "ab"))
    lines = printed(folder, "ab ab\t\x1b\n€").splitlines()
    assert lines[0] == "small: 8 tokens"
    assert lines[1:3] == ["ab│·ab│⇥│\\u001B│↵", "│\\xE2│\\x82│\\xAC"]
    ids = [256, 257, *b"\t\x1b\n\xe2\x82\xac"]
    assert lines[3] == " ".join(str(i) for i in ids)
    assert row(lines, "bytes per token")[0] == "1.38"
    assert row(lines, "vocabulary size")[0] == "259"
    assert row(lines, "tokens that are no valid UTF-8")[0] == "128"
    assert row(lines, "longest token, bytes")[0] == "3"
    assert "rare tokens" not in "".join(lines)
    assert lines[lines.index("Longest tokens") + 2].split() == ["3", "·ab"]


def test_with_colours_grounds_take_turns(tmp_path: Path):
    shown = printed(byte_level(tmp_path / "small"), "abcd", colours=True)
    cut = shown.splitlines()[1].split("\x1b[0m")[:4]
    assert [part[-1] for part in cut] == ["a", "b", "c", "d"]
    grounds = [part[:-1] for part in cut]
    assert len(set(grounds)) == 3
    assert grounds[3] == grounds[0]
    assert "│" not in shown


def test_a_token_cannot_steer_the_terminal(tmp_path: Path):
    shown = printed(byte_level(tmp_path / "small"), "a<\x1b[31mend>[bold]x")
    assert "a│<\\u001B[31mend>│[│b" in shown
    assert "\x1b" not in shown


def test_a_second_tokenizer_stands_beside_the_first(tmp_path: Path):
    old = byte_level(tmp_path / "one" / "tok")
    new = byte_level(tmp_path / "two" / "tok", ("a", "b"))
    lines = printed(old, "abab", compare=new / "tokenizer.json", width=400).splitlines()
    assert lines[0] == f"{old}: 4 tokens"
    assert lines[4] == f"{new}: 2 tokens"
    assert row(lines, "bytes per token")[:2] == ["1.00", "2.00"]
    assert row(lines, "sequence length (NSL)")[0] == "0.500"
    assert row(lines, "longest token, bytes")[:2] == ["1", "2"]


def test_a_long_text_is_measured_whole_and_shown_in_part(tmp_path: Path):
    lines = printed(byte_level(tmp_path / "small"), "x" * 700).splitlines()
    assert lines[0] == "small: 700 tokens; the first 500 are shown"
    assert lines[1] == "│".join("x" * 500)


def test_a_long_token_is_cut_short(tmp_path: Path):
    merges = [("-" * n, "-") for n in range(1, 60)]
    shown = printed(byte_level(tmp_path / "small", *merges), "x")
    assert f"{'-' * 31}…" in shown
    assert "-" * 32 not in shown


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path):
    with pytest.raises(TokenizerFileError, match=r"holds no tokenizer\.json"):
        printed(tmp_path, "x")


def test_a_tokenizer_that_does_not_load_is_refused(tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text(
        '{"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": []}'
    )
    with pytest.raises(TokenizerFileError, match=r"no tokenizer that loads .*save it again"):
        printed(tmp_path, "x")


def test_text_is_taken_from_a_file_standard_input_or_the_argument(tmp_path: Path):
    nothing = io.BytesIO()
    (tmp_path / "a.txt").write_bytes(b"x\r\ny")
    assert read_text_argument(str(tmp_path / "a.txt"), nothing) == "x\r\ny"
    assert read_text_argument("-", io.BytesIO("ü".encode())) == "ü"
    assert read_text_argument("Straße und/oder Weg", nothing) == "Straße und/oder Weg"
    long = "x/" * 100_000
    assert read_text_argument(long, nothing) == long


@pytest.mark.parametrize(
    ("argument", "stdin", "message"),
    [
        ("-", b"a\xff", r"standard input is no UTF-8 \(byte 1\); convert"),
        ("-", b"", "standard input is empty"),
        ("", b"", "argument is empty; give some text"),
        ("a\udcff", b"", r"argument is no UTF-8 \(byte 1\)"),
        ("{folder}", b"", "is a folder; name a file in it"),
        ("{folder}/empty", b"", "file .*empty is empty"),
        ("{folder}/broken", b"", r"file .*broken is no UTF-8 \(byte 0\)"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, argument: str, stdin: bytes, message: str):
    (tmp_path / "empty").touch()
    (tmp_path / "broken").write_bytes(b"\xff")
    with pytest.raises(TextArgumentError, match=message):
        read_text_argument(argument.replace("{folder}", str(tmp_path)), io.BytesIO(stdin))
