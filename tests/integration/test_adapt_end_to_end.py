"""The whole path on a tiny model through the command line: run, cache, change, kill, resume."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from infra.stages import settings_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TOKGRAFT = str(Path(sys.executable).with_name("tokgraft"))


def write_run(folder: Path, run: dict, **changed: object) -> str:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**run, **changed}))
    return str(path)


def finish(*arguments: str) -> str:
    done = subprocess.run(
        [TOKGRAFT, *arguments], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", done.stderr
    return done.stdout


def manifests() -> dict[str, dict]:
    """Every whole attempt of the store by its path."""
    store = settings_store()
    return {
        file.path: json.loads(store.read(file.path))
        for file in store.files()
        if file.path.endswith("manifest.json") and "checkpoints" not in file.path
    }


def digests() -> set[tuple[str, str]]:
    return {(m["stage"], m["digest"]) for m in manifests().values()}


def stages_of(paths: set[str]) -> set[str]:
    return {path.split("/")[0] for path in paths}


def test_a_second_run_is_cached_and_a_changed_choice_runs_what_follows(tmp_path, tiny_run):
    file = write_run(tmp_path, tiny_run, control={})
    first = finish("run", file, "--export", str(tmp_path / "model"))
    before = manifests()
    assert "bits per byte" in first
    assert len(before) == 19

    second, imported = finish_here(file)
    assert manifests() == before
    shown = [line for line in second.splitlines() if " Cached " in line]
    assert len(shown) == 17  # all but the two locks, which look at their files again
    assert imported == "[]"

    changed = {**tiny_run["evaluation"], "seed": 1}
    plan = finish("plan", write_run(tmp_path, tiny_run, control={}, evaluation=changed))
    assert plan.count("measured") >= 4
    finish("run", write_run(tmp_path, tiny_run, control={}, evaluation=changed))
    assert stages_of(set(manifests()) - set(before)) == {"measured", "report"}

    code = (
        "import sys; from transformers import AutoModelForCausalLM as M, AutoTokenizer as T\n"
        f"folder = {str(tmp_path / 'model')!r}; t = T.from_pretrained(folder)\n"
        "ids = t('Die Verordnung tritt', return_tensors='pt').input_ids\n"
        "out = M.from_pretrained(folder)(ids).logits\n"
        "print(out.shape[-1] == len(t), any(n in sys.modules for n in ('flows','tasks','infra')))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert loaded.stdout.strip() == "True False"


def finish_here(file: str) -> tuple[str, str]:
    """Run in an interpreter that says which of the heavy libraries it ended up with."""
    code = (
        "import sys; from flows.cli import app\n"
        f"app(['run', {file!r}], standalone_mode=False)\n"
        "print(sorted({'torch', 'ray', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=True
    )
    output, _, imported = done.stdout.rstrip("\n").rpartition("\n")
    return output, imported


SOME_STAGES = ["tokenizer", "pretraining"]
ALL_STAGES = [
    "model_lock", "model", "corpus_lock", "corpus", "pretokens", "tokenizer", "tokens",
    "embedding", "assembled", "pretraining", "export", "measured", "report",
]  # fmt: skip


@pytest.mark.parametrize(
    "stages", [SOME_STAGES, pytest.param(ALL_STAGES, marks=pytest.mark.long)], ids=["some", "all"]
)
def test_killed_in_stage_after_stage_a_run_goes_on_and_ends_the_same(
    stages, tmp_path, tiny_run, monkeypatch, own_place
):
    file = write_run(tmp_path, tiny_run)
    for stage in stages:
        kill_when_it_begins(file, own_place / "store" / stage)
    finish("run", file)
    after_kills = manifests()
    finished = [(m["stage"], m["key"]) for m in after_kills.values()]
    assert len(finished) == len(set(finished)), "a finished stage was run again"
    assert no_process_left(file)

    killed_digests = digests()
    monkeypatch.setenv("TOKGRAFT_STORE", str(own_place / "other_store"))
    from infra.settings import get_settings

    get_settings.cache_clear()
    finish("run", file)
    assert digests() == killed_digests


def kill_when_it_begins(file: str, stage_folder: Path) -> None:
    """Start the run and SIGKILL it as soon as the stage has begun to write."""
    run = subprocess.Popen(
        [TOKGRAFT, "run", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 900
    while not stage_folder.exists() and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert stage_folder.exists(), f"{stage_folder.name} did not begin"


def no_process_left(file: str) -> bool:
    """Whether all that the killed runs started has ended too."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if not any(_mentions(pid, os.environ["TOKGRAFT_DATA_FOLDER"]) for pid in _pids()):
            return True
        time.sleep(1)
    return False


def _pids() -> list[int]:
    return [
        int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()
    ]


def _mentions(pid: int, text: str) -> bool:
    try:
        return text.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
