"""Secrets are planted in the environment, and everything that a run wrote is searched for them."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PLANTED = "planted0S3cret0"
IN_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": f"{PLANTED}1",
    "AWS_SECRET_ACCESS_KEY": f"{PLANTED}2",
    "AWS_SESSION_TOKEN": f"{PLANTED}3",
    "HF_TOKEN": f"hf_{PLANTED}4",
    "PREFECT_API_KEY": f"pnu_{PLANTED}5",
    "PIP_INDEX_URL": f"https://user:{PLANTED}6@127.0.0.1:9/simple",
}


def test_a_run_writes_no_secret_anywhere(tmp_path: Path, tiny_run: dict, own_place: Path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny_run))
    said = tokgraft("run", tmp_path, own_place)
    assert said.returncode == 0, said.stdout + said.stderr
    searched = list(written(own_place))
    assert {"manifest.json", "report.html", "prefect.db", "server.log", "raylet.out"} <= {
        p.name for p in searched
    }
    assert [str(path) for path in searched if PLANTED.encode() in content_of(path)] == []
    assert PLANTED not in said.stdout + said.stderr


def test_a_refused_run_file_leaves_its_secret_nowhere(
    tmp_path: Path, tiny_run: dict, own_place: Path
):
    paths = [f"s3://key:{PLANTED}@bucket/*.txt"]
    tiny_run["corpus"]["sources"][0]["paths"] = paths
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny_run))
    said = tokgraft("run", tmp_path, own_place)
    assert said.returncode == 2
    assert "carries a user, a password or a signature" in said.stderr
    assert PLANTED not in said.stdout + said.stderr
    assert [str(path) for path in written(own_place) if PLANTED.encode() in content_of(path)] == []


def tokgraft(command: str, folder: Path, place: Path) -> subprocess.CompletedProcess[str]:
    """Run with all temporary files, Ray's and Prefect's among them, below one place."""
    (place / "tmp").mkdir(exist_ok=True)
    ray = tempfile.mkdtemp(prefix="r", dir="/tmp")  # a socket's name has to be short
    places = {"TMPDIR": str(place / "tmp"), "RAY_TMPDIR": ray}
    try:
        return subprocess.run(
            [str(Path(sys.executable).with_name("tokgraft")), command, str(folder / "run.yaml")],
            env={**os.environ, **IN_ENVIRONMENT, **places},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    finally:
        shutil.move(ray, place / "ray")


def written(place: Path) -> Iterator[Path]:
    return (path for path in place.rglob("*") if path.is_file() and not path.is_symlink())


def content_of(path: Path) -> bytes:
    """What a file says; a table unpacked."""
    if path.suffix == ".parquet":
        return repr(pq.read_table(path).to_pylist()).encode()
    return path.read_bytes()
