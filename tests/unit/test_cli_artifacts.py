"""What the command line does with artifacts that stand."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.cli_export import check_export, export_model
from infra.artifacts import Artifact
from infra.stages import StageCall, run_call
from tasks.shared.errors import InputError


@pytest.fixture
def model() -> Artifact:
    def body(attempt):
        (attempt.folder / "config.json").write_text("{}")
        return {}

    return run_call(StageCall("export", 1, 0, ()), 1, body, lambda *_: None)


def test_a_narrow_terminal_cuts_no_address_short(model: Artifact):
    listed = CliRunner().invoke(app, ["artifacts", "ls"], env={"COLUMNS": "40"})
    assert listed.stdout.splitlines() == [f"export        {model.digest[:12]}  {model.uri}"]
    checked = CliRunner().invoke(app, ["artifacts", "verify", model.uri])
    assert checked.stdout == "1 files are what was written.\n"


def test_export_copies_the_model_alone(model: Artifact, tmp_path: Path):
    (Path(model.uri) / ".config.json.0f0f").write_text("half")
    export_model(model, tmp_path / "deep" / "model")
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()] == [
        "deep/model/config.json"
    ]


def test_looking_at_the_place_to_export_to_leaves_nothing_there(tmp_path: Path):
    check_export(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        check_export(tmp_path / "file" / "model")
    with pytest.raises(InputError, match="nothing is overwritten"):
        check_export(tmp_path)
