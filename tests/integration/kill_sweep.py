"""Kill a pipeline at many chances, and let it go on each time.

The pipeline is a small one (corpus, then token shards), or, for a sweep of one stage, the main path
on a store where all but that stage stands; the stage ``none`` is a run where all stands.
One process imports everything once and forks for each try, so that a try takes its work alone.
The stores are folders, or prefixes of a bucket.
Prints one line of JSON a try: the chance, and what is wrong after going on ([] where all is well).
"""

import contextlib
import gc
import importlib
import json
import os
import random
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
NONE = "none"
Pipeline = Callable[[RunConfig], object]


def pipeline(run: RunConfig) -> Artifact:
    """The last of its artifacts."""
    source = import_model(run.model, lock_model(run.model))
    return tokenize_corpus(run.tokens, source, sample_corpus(run.corpus, lock_corpus(run.corpus)))


def main_path(run: RunConfig) -> None:
    """All stages of a run, without Prefect."""
    from flows.adapt import adapt

    adapt.fn(run)


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


def count_chances(run: RunConfig, through: Pipeline = pipeline) -> dict[str, list[str]]:
    """Run to the end with nothing fatal; all chances and their stages, and what was imported."""
    chances = Chances(get_settings().store_root, fatal=0)
    chances.install()
    through(run)
    return {"names": chances.names, "stages": chances.stages, "modules": list(sys.modules)}


def run_and_die(run: RunConfig, fatal: int, through: Pipeline = pipeline) -> None:
    Chances(get_settings().store_root, fatal).install()
    through(run)


def go_on(run: RunConfig, through: Pipeline = pipeline) -> dict[str, Any]:
    """Run again after a kill; the digests in the end, and what is wrong."""
    through(run)
    attempts = Counter(whole_attempts())
    again = [
        f"{stage} finished {n} times"
        for (stage, _), n in attempts.items()
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


@dataclass
class Sweep:
    """One pipeline, its stores, and what it ends with when nobody kills it."""

    run: RunConfig
    through: Pipeline
    report: Path
    stores: str

    def store(self, name: str) -> str:
        return f"{self.stores}/{name}"

    def report_of(self, store: str, work: Callable[[], object]) -> Any:
        """What the work returns, done by a child that nobody kills."""
        if code := in_fork(self.store(store), work, self.report):
            sys.exit(f"a run that nobody killed ended with {code}")
        return json.loads(self.report.read_text())

    def copy(self, old: str, new: str) -> None:
        copy_store(self.store(old), self.store(new))

    def delete(self, store: str) -> None:
        ObjectStore(self.store(store)).delete("")

    def try_all(
        self, base: str, chances: Sequence[tuple[int, str]], n_all: int, expected: Sequence[str]
    ) -> None:
        """Kill a run on a copy of the base at each of the chances, and let it go on.

        Args:
            base: where each begins.
            chances: number and name of each.
            n_all: how many there are beside those that are left out.
            expected: digests in the end.
        """
        for fatal, name in chances:
            self.copy(base, "tried")
            code = in_fork(
                self.store("tried"),
                lambda fatal=fatal: run_and_die(self.run, fatal, self.through),
                self.report,
            )
            found = self.report_of("tried", lambda: go_on(self.run, self.through))
            wrong = list(found["wrong"])
            if code != KILLED:
                wrong.append(f"was not killed but ended with {code}")
            if found["digests"] != list(expected):
                wrong.append(f"{found['digests']} are not {expected}")
            line = {"chance": fatal, "of": n_all, "name": name, "wrong": wrong}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            self.delete("tried")


def sweep_small(sweep: Sweep, n_tries: int) -> None:
    """Try ``n_tries`` chances of the small pipeline, evenly spread; 0 tries them all."""
    run = sweep.run
    # The model is there from the start: its import needs torch, and is no part of the sweep.
    sweep.report_of("base", lambda: import_model(run.model, lock_model(run.model)).digest)
    sweep.copy("base", "whole")
    counted = sweep.report_of("whole", lambda: count_chances(run))
    expected = sweep.report_of("whole", lambda: go_on(run))["digests"]
    import_all(counted["modules"])
    chances = list(enumerate(counted["names"], start=1))
    step = max(1, len(chances) // n_tries) if n_tries else 1
    sweep.try_all("base", chances[::step], len(chances), expected)


def sweep_stage(sweep: Sweep, n_tries: int, stage: str) -> None:
    """Try ``n_tries`` chances of one stage of the main path, drawn; 0 tries them all.

    The chances of a stage reach from its call to the call of the next one. Later stages stand
    already: they are found again where this one's outcome is the same as ever.
    """
    run, through = sweep.run, sweep.through
    expected = sweep.report_of("whole", lambda: go_on(run, through))["digests"]
    sweep.copy("whole", "base")
    if stage != NONE:
        ObjectStore(sweep.store("base")).delete(stage)
    sweep.copy("base", "counted")
    counted = sweep.report_of("counted", lambda: count_chances(run, through))
    sweep.delete("counted")
    import_all(counted["modules"])
    first = next(name for name in counted["stages"] if name)
    chances = [
        (number, name)
        for number, (name, at) in enumerate(
            zip(counted["names"], counted["stages"], strict=True), start=1
        )
        if stage in (at or first, NONE)
    ]
    if not chances:
        sys.exit(f"the run never calls {stage}")
    tried = sorted(random.Random(0).sample(chances, n_tries)) if n_tries else chances
    sweep.try_all("base", tried, len(chances), expected)
    sweep.delete("base")


def main(file: Path, place: Path, n_tries: int, stores: str, stage: str = "") -> None:
    """A sweep over the small pipeline, or over one stage of the main path."""
    run = RunConfig.model_validate(yaml.safe_load(file.read_text()))
    through = main_path if stage else pipeline
    sweep = Sweep(run, through, place / "report.json", stores)
    if stage:
        sweep_stage(sweep, n_tries, stage)
    else:
        sweep_small(sweep, n_tries)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
