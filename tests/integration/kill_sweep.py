"""Kill a small pipeline (corpus, then token shards) at many chances, and let it go on each time.

One process imports everything once and forks for each try, so that a try takes its work alone.
The stores are folders, or prefixes of a bucket.
Prints one line of JSON a try: the chance, and what is wrong after going on ([] where all is well).
"""

import contextlib
import gc
import importlib
import json
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))

from kill_points import Chances

from flows.run_config import RunConfig
from infra.artifacts import Artifact, all_attempts, find_current
from infra.object_store import ObjectStore, store_at
from infra.provenance import provenance
from infra.settings import get_settings
from infra.stages import settings_store
from infra.verification import verify_store
from tasks.corpus.task import lock_corpus, sample_corpus
from tasks.model.task import import_model, lock_model
from tasks.pretraining.task import tokenize_corpus

KILLED = -9


def pipeline(run: RunConfig) -> Artifact:
    """The last of its artifacts."""
    source = import_model(run.model, lock_model(run.model))
    return tokenize_corpus(run.tokens, source, sample_corpus(run.corpus, lock_corpus(run.corpus)))


def in_fork(store: str, work: Callable[[], object], report: Path) -> int:
    """Do the work in a child with this store; returns its code, negative for a signal."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        os.environ["TOKGRAFT_STORE"] = store
        get_settings.cache_clear()
        store_at.cache_clear()
        report.write_text(json.dumps(work()))
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def count_chances(run: RunConfig) -> dict[str, list[str]]:
    """Run to the end with nothing fatal; the names of all chances, and what was imported."""
    chances = Chances(get_settings().store_root, fatal=0)
    chances.install()
    pipeline(run)
    return {"names": chances.names, "modules": list(sys.modules)}


def run_and_die(run: RunConfig, fatal: int) -> None:
    Chances(get_settings().store_root, fatal).install()
    pipeline(run)


def go_on(run: RunConfig) -> dict[str, Any]:
    """Run again after a kill; the digests in the end, and what is wrong."""
    pipeline(run)
    attempts = Counter(stage for stage, _ in whole_attempts())
    again = [
        f"{stage} finished {n} times"
        for stage, n in attempts.items()
        if n > 1 and not stage.endswith("_lock")
    ]
    problems = verify_store(settings_store(), fast=False).problems
    return {"digests": digests(), "wrong": [*again, *problems]}


def whole_attempts() -> Iterator[tuple[str, str]]:
    """Stage and key of each."""
    for path in all_attempts(settings_store()):
        stage, key, _ = path.split("/")
        yield stage, key


def digests() -> list[str]:
    """Of all artifacts that stand."""
    store = settings_store()
    found = {
        f"{stage} {artifact.digest}"
        for stage, key in whole_attempts()
        if (artifact := find_current(store, stage, key)[0]) is not None
    }
    return sorted(found)


def import_all(names: list[str]) -> None:
    """Import what a child came to import, and look up versions, so that later ones need not."""
    provenance()
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.freeze()  # children then copy no page of these for the sake of a look at it


def copy_store(old: str, new: str) -> None:
    """Everything below one root to another, which is empty."""
    if not old.startswith("s3://"):
        shutil.copytree(old, new)
        return
    source, target = ObjectStore(old), ObjectStore(new)
    for found in source.files():
        target.write(found.path, source.read(found.path))


def sweep(file: Path, place: Path, n_tries: int, stores: str) -> None:
    """Try ``n_tries`` chances, evenly spread; 0 tries them all."""
    run = RunConfig.model_validate(yaml.safe_load(file.read_text()))
    report, base, whole_store = place / "report.json", f"{stores}/base", f"{stores}/whole"

    def report_of(store: str, work: Callable[[], object]) -> Any:
        if code := in_fork(store, work, report):
            sys.exit(f"a run that nobody killed ended with {code}")
        return json.loads(report.read_text())

    # The model is there from the start: its import needs torch, and is no part of the sweep.
    report_of(base, lambda: import_model(run.model, lock_model(run.model)).digest)
    copy_store(base, whole_store)
    whole = report_of(whole_store, lambda: count_chances(run))
    names = whole["names"]
    expected = report_of(whole_store, lambda: go_on(run))["digests"]
    import_all(whole["modules"])
    step = max(1, len(names) // n_tries) if n_tries else 1
    for fatal in range(1, len(names) + 1, step):
        store = f"{stores}/tried"
        copy_store(base, store)
        code = in_fork(store, lambda fatal=fatal: run_and_die(run, fatal), report)
        found = report_of(store, lambda: go_on(run))
        wrong = list(found["wrong"])
        if code != KILLED:
            wrong.append(f"was not killed but ended with {code}")
        if found["digests"] != expected:
            wrong.append(f"{found['digests']} are not {expected}")
        line = {"chance": fatal, "of": len(names), "name": names[fatal - 1], "wrong": wrong}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        ObjectStore(store).delete("")


if __name__ == "__main__":
    sweep(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
