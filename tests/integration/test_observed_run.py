"""A run watched by machines: JSON lines on stderr, nothing on stdout, metrics in a file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def run_watched(file: Path, metrics: Path) -> tuple[list[dict], dict[tuple[str, str], float]]:
    """Records of a run, and its calls by stage and outcome."""
    watched = {"TOKGRAFT_LOG_FORMAT": "json", "TOKGRAFT_METRICS_FOLDER": str(metrics)}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("tokgraft")), "run", str(file)],
        env={**os.environ, **watched}, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.stdout == ""
    families = text_string_to_metric_families((metrics / "tokgraft_adapt.prom").read_text())
    calls = {
        (sample.labels["stage"], sample.labels["outcome"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "tokgraft_stage_calls"
    }
    return [json.loads(line) for line in done.stderr.splitlines()], calls


def test_a_run_is_told_in_records_and_metrics(tmp_path: Path, tiny_run: dict):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(tiny_run))
    for outcome in ("ran", "cached"):
        records, calls = run_watched(file, tmp_path / "metrics")
        ended = [record for record in records if record["message"] == "stage finished"]
        assert len(ended) == 15
        assert len({record["run"] for record in ended}) == 1
        assert all(len(record["key"]) == 64 and record["flow"] == "adapt" for record in ended)
        assert calls["corpus", outcome] == calls["pretraining", outcome] == 1
        assert calls["measured", outcome] == 3
        assert sum(count for (_, how), count in calls.items() if how == "failed") == 0
        last = records[-1]
        assert last["message"] == "run finished"
        assert set(last["result"]) == {"export", "report"}


@pytest.mark.long
def test_a_stage_that_fails_is_a_record_and_a_count(tmp_path: Path, tiny_run: dict):
    file = tmp_path / "run.yaml"
    corpus = {**tiny_run["corpus"], "budget_bytes": 10_000_000}
    file.write_text(yaml.safe_dump({**tiny_run, "corpus": corpus}))
    records, calls = run_watched(file, tmp_path / "metrics")
    assert calls["corpus", "failed"] == 1
    (failed,) = [record for record in records if record["message"] == "stage failed"]
    assert (failed["stage"], failed["level"]) == ("corpus", "ERROR")
    assert records[-1]["level"] == "ERROR"
    assert "budget_bytes asks for 10000000" in records[-1]["message"]
