"""Where a token's rows come from, in a terminal and through the command line."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.explain import NoLineageError, read_lineage
from flows.named_token import AmbiguousTokenError, UnknownTokenError, find_token
from infra.artifacts import Artifact
from infra.parquet import write_table
from infra.stages import StageCall, run_call
from tasks.embedding.lineage import SCHEMA

TOKENS = [
    (b"a", "a"), (b" a", "Ġa"), (b" ab", "Ġab"), (b"abc", "abc"), (b"2", "2"), (b"\n", "Ċ"),
    (None, "<|end|>"), (b"\xc3", "Ã"), (b"a", "<0x61>"), (b"7", "7"), (b"9", "9"),
]  # fmt: skip


def line(token_id: int, part: str = "input", **changed: object) -> dict:
    data, text = TOKENS[token_id]
    row = {"id": token_id, "bytes": data, "text": text, "part": part, "method": "copied"}
    return row | {"source_ids": [1], "source_tokens": ["a"], "weights": [1.0], "note": ""} | changed


LINES = [
    *(line(i) for i in (0, 1)),
    line(2, method="mean", source_ids=[5, 3], source_tokens=["\x1b[31m", "·b"],
         weights=[0.25, 0.75], note="half \x1b[31m"),
    *(line(i) for i in range(3, len(TOKENS))),
]  # fmt: skip
HEAD = [line(2, "head", method="normal", source_ids=[], source_tokens=[], weights=[])]
TIED = pa.Table.from_pylist(LINES, SCHEMA)
UNTIED = pa.Table.from_pylist(LINES + HEAD, SCHEMA)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_table(tmp_path / "model" / "lineage.parquet", UNTIED)
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("typed", "token_id"),
    [(" a", 1), ("·a", 1), ("Ġab", 2), ("<|end|>", 6), ("\n", 5), ("↵", 5), ("\\xC3", 7),
     ("3", 3), ("\udcc3", 7), ("9", None), ("2", None)],
)  # fmt: skip
def test_a_token_is_found_as_it_is_typed_or_shown(typed: str, token_id: int | None):
    if token_id is not None:
        assert find_token(TIED, typed) == token_id
        return
    with pytest.raises(AmbiguousTokenError, match=rf"{typed} is both .* token .* the id of "):
        find_token(TIED, typed)


def test_a_number_is_a_text_or_an_id_where_one_says_so():
    assert (find_token(TIED, "2", "text"), find_token(TIED, "2", "id")) == (4, 2)
    with pytest.raises(UnknownTokenError, match="from 0 to 10"):
        find_token(TIED, "11", "id")
    with pytest.raises(UnknownTokenError, match="'a' is no id"):
        find_token(TIED, "a", "id")


def test_two_tokens_of_one_text_are_named():
    with pytest.raises(AmbiguousTokenError, match=r"of 2 tokens: a \(0\), a \(8\); give an id"):
        find_token(TIED, "a")


def test_an_unknown_token_brings_those_that_begin_alike():
    with pytest.raises(UnknownTokenError, match=r"\(nearest are ·ab \(2\), abc \(3\), a \(0\)"):
        find_token(TIED, "ab")
    with pytest.raises(UnknownTokenError, match="no token begins like it"):
        find_token(TIED, "")


def test_the_command_explains_input_and_head(folder: Path):
    done = CliRunner().invoke(app, ["explain", str(folder), " ab"])
    assert done.exit_code == 0, done.output
    assert [text.split() for text in done.stdout.splitlines()] == [
        ["token", "·ab"],
        ["id", "2"],
        ["bytes", "20", "61", "62"],
        [],
        ["input", "mean"],
        ["half", "\\u001B[31m"],
        ["weight", "old", "id", "old", "token"],
        ["0.75", "3", "·b"],
        ["0.25", "5", "\\u001B[31m"],
        [],
        ["head", "normal"],
        ["no", "old", "row", "by", "itself"],
    ]


def test_a_tied_head_is_the_input(folder: Path):
    write_table(folder / "lineage.parquet", TIED)
    done = CliRunner().invoke(app, ["explain", str(folder), "6"])
    assert done.stdout.splitlines()[2].split(maxsplit=1) == ["bytes", "none, a special token"]
    assert done.stdout.splitlines()[-1] == "head   tied: the same row"


def artifact(stage: str, source: Path) -> Artifact:
    def body(attempt):
        shutil.copytree(source, attempt.folder, dirs_exist_ok=True)
        return {}

    return run_call(StageCall(stage, 1, 0, ()), 1, body, lambda *_: None)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_artifacts_are_read_by_their_address(
    folder: Path, own_place: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
):
    from infra.settings import get_settings

    monkeypatch.setenv("TOKGRAFT_STORE", f"{scheme}{own_place}/store")
    get_settings.cache_clear()
    assert read_lineage(artifact("embedding", folder).uri).equals(UNTIED)
    with pytest.raises(NoLineageError, match="embedding, assembled, export"):
        read_lineage(artifact("report", folder.parent).uri)


def test_what_has_no_lineage_is_refused(tmp_path: Path):
    with pytest.raises(NoLineageError, match=r"has no lineage\.parquet; name a folder that"):
        read_lineage(str(tmp_path))
    with pytest.raises(NoLineageError, match="nowhere is no folder"):
        read_lineage(str(tmp_path / "nowhere"))
    write_table(tmp_path / "lineage.parquet", TIED.drop(["source_tokens"]))
    with pytest.raises(NoLineageError, match="earlier versions"):
        read_lineage(str(tmp_path))
