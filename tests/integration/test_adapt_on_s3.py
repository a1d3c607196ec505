"""A whole run with its store in a bucket, and again where there is nothing but the bucket."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from s3_server import BUCKET

from infra.artifacts import all_attempts
from infra.settings import get_settings
from infra.stages import settings_store
from infra.verification import verify_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_every_stage_writes_to_a_bucket_and_is_found_there(
    tmp_path: Path, tiny_run: dict, s3, monkeypatch: pytest.MonkeyPatch
):
    s3.create_bucket(Bucket=BUCKET)
    monkeypatch.setenv("TOKGRAFT_STORE", f"s3://{BUCKET}/run")
    get_settings.cache_clear()
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(tiny_run))

    def run(machine: str) -> str:
        place = {"TOKGRAFT_CACHE_DIR": str(tmp_path / machine)}
        done = subprocess.run(
            [str(Path(sys.executable).with_name("tokgraft")), "run", str(file)],
            env={**os.environ, **place}, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("first")
    store = settings_store()
    finished = set(all_attempts(store))
    stages = {path.split("/")[0] for path in finished}
    assert {
        "model",
        "corpus",
        "pretokens",
        "tokenizer",
        "tokens",
        "embedding",
        "assembled",
    } < stages
    assert {"pretraining", "export", "measured", "report"} < stages
    assert verify_store(store, fast=False).problems == ()
    run("second")
    again = {path for path in set(all_attempts(store)) - finished if "_lock/" not in path}
    assert again == set(), "cached, all of it"
