"""What ``gc`` takes is only ever tokgraft's own, and never what some run has taken up."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from infra.artifacts import Artifact, find_current, open_artifact
from infra.garbage import contents_of, find_garbage, remove_garbage
from infra.live_runs import live_run
from infra.object_store import ObjectStore
from infra.settings import get_settings
from infra.stages import StageCall, run_call, settings_store
from infra.verification import verify_store

FOREIGN = [
    "photos/2019/summer/beach/a.jpg",
    "photos/2019/current-affairs.json",
    "photos/2019/20190101T000000-00000000/a.jpg",  # no key
    f"numbers/{'0' * 64}/notes/of/mine.txt",
    f"numbers/{'0' * 64}/checkpoints/best/weights.bin",
    f"numbers/{'0' * 64}/current-1.json.bak",
    f"backup/numbers/{'0' * 64}/20190101T000000-00000000/manifest.json",
    f"Numbers/{'0' * 64}/20190101T000000-00000000/manifest.json",
    "live/concert.json",
    "a/b/c/manifest.json",
    "readme.txt",
]


def call(config: object = 1, inputs: tuple = ()) -> StageCall:
    return StageCall("numbers", 1, config, inputs)


def make(text: str, generation: int = 1, of: StageCall | None = None) -> Artifact:
    def body(attempt):
        (attempt.folder / "a.txt").write_text(text)
        return {}

    return run_call(of or call(), generation, body, lambda *_: None)


def age(folder: Path) -> None:
    """Make all its files a day and more old."""
    long_ago = time.time() - 100_000
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (long_ago, long_ago))


def gc(*options: str):
    return CliRunner().invoke(app, ["artifacts", "gc", *options], env={"COLUMNS": "200"})


def superseded() -> tuple[ObjectStore, str]:
    """A whole attempt that no pointer names, as a run leaves it that was killed before it could."""
    store = settings_store()
    path = store.relative(make("a").uri)
    store.delete_file(f"{path.rpartition('/')[0]}/current-1.json")
    return store, path


def test_files_of_others_are_neither_listed_nor_removed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOKGRAFT_GC_GRACE_HOURS", "0")
    get_settings.cache_clear()
    store, path = superseded()
    for foreign in FOREIGN:
        store.write(foreign, b"not json")
    assert [item.path for item in find_garbage(store, 0)] == [path]
    done = gc("--delete")
    assert done.exit_code == 0, done.output
    assert f"{len(FOREIGN)} files here are not tokgraft's and stay\nremoved 1\n" in done.stdout
    assert [file.path for file in store.files()] == sorted(FOREIGN)
    assert verify_store(store, fast=False).problems == ()
    assert CliRunner().invoke(app, ["artifacts", "ls"]).stdout == ""


def test_every_place_that_a_run_writes_to_is_known_as_its_own():
    store = settings_store()
    with live_run() as run:
        attempt = store.relative(make("a").uri)
        run.hold([attempt])
        home = attempt.rpartition("/")[0]
        store.write(f"{home}/checkpoints/1/step-00000004/manifest.json", b"{}")
        store.write(f"{home}/checkpoints/1/lease.json", b"{}")
        contents = contents_of(store)
        assert store.children("live") != []
    assert contents.n_foreign_files == 0
    assert contents.folders.keys() == {attempt, f"{home}/checkpoints/1"}


def test_what_a_run_has_adopted_since_the_look_stays_whole():
    store, path = superseded()
    garbage = find_garbage(store, 0)
    assert [item.path for item in garbage] == [path]
    adopted, generation = find_current(store, "numbers", call().key)
    assert adopted is not None
    assert remove_garbage(store, garbage) == []
    assert (open_artifact(adopted) / "a.txt").read_text() == "a"
    assert find_current(store, "numbers", call().key) == (adopted, generation)


def test_what_a_run_has_begun_to_read_since_the_look_stays():
    store, path = superseded()
    garbage = find_garbage(store, 0)
    with live_run() as run:
        run.hold([path])
        assert remove_garbage(store, garbage) == []
    assert [item.path for item in remove_garbage(store, garbage)] == [path]


class AdoptedMeanwhile(ObjectStore):
    """A store where a run points to an attempt just as its manifest is about to be deleted."""

    def delete_file(self, path: str) -> None:
        if path.endswith("/manifest.json"):
            self.adopted = find_current(settings_store(), "numbers", call().key)[0]
        super().delete_file(path)


def test_what_a_run_adopts_during_the_removal_gets_its_manifest_back():
    store, path = superseded()
    slow = AdoptedMeanwhile(store.root)
    assert remove_garbage(slow, find_garbage(store, 0)) == []
    assert slow.adopted is not None
    assert slow.adopted.uri == store.uri(path)
    assert verify_store(store, fast=False).problems == ()
    assert (open_artifact(slow.adopted) / "a.txt").read_text() == "a"


class RemovedMeanwhile(ObjectStore):
    """A store where ``gc`` takes an attempt while a run is about to point to it."""

    def create(self, path: str, data: bytes) -> bool:
        attempt = next(f.path for f in self.files() if f.path.endswith("/manifest.json"))
        self.delete(attempt.rpartition("/")[0])
        return super().create(path, data)


def test_a_run_that_points_to_what_is_removed_does_its_work_again(
    monkeypatch: pytest.MonkeyPatch,
):
    store, _ = superseded()
    racing = RemovedMeanwhile(store.root)
    monkeypatch.setattr("infra.artifacts.store_at", lambda _: racing)
    standing, generation = find_current(store, "numbers", call().key)
    monkeypatch.undo()
    assert (standing, generation) == (None, 1)
    again = make("a", generation + 1)
    assert find_current(settings_store(), "numbers", call().key) == (again, 2)


@pytest.fixture
def generations() -> Callable[[], dict[int, str]]:
    """Three artifacts of one key, the first of them read by another stage."""
    store = settings_store()
    first = make("1")
    make("user", of=call("user", (first,)))
    for number in (2, 3):
        make(str(number), number)
    return lambda: {
        number: text
        for number in (1, 2, 3)
        for name in store.children(f"numbers/{call().key}")
        if not name.startswith("current-")
        if (text := store.read(f"numbers/{call().key}/{name}/a.txt").decode()) == str(number)
    }


def test_all_generations_stay_unless_asked(generations):
    assert find_garbage(settings_store(), 0) == []
    assert len(generations()) == 3


@pytest.mark.parametrize(("keep", "left"), [(1, {1, 3}), (2, {1, 2, 3}), (9, {1, 2, 3})])
def test_older_generations_go_but_for_what_is_read(generations, keep: int, left: set[int]):
    store = settings_store()
    garbage = find_garbage(store, 0, keep)
    assert find_garbage(store, 1, keep) == []  # too young
    assert [item.why for item in garbage] == ["older generation"] * (3 - len(left))
    assert len(remove_garbage(store, garbage)) == len(garbage)
    assert generations().keys() == left
    assert verify_store(store, fast=False).problems == ()
    newest, generation = find_current(store, "numbers", call().key)
    assert newest is not None
    assert generation == 3
    assert (open_artifact(newest) / "a.txt").read_text() == "3"
    assert find_garbage(store, 0, keep) == []


def test_a_generation_whose_files_are_lost_pushes_no_other_out(generations):
    store = settings_store()
    newest, _ = find_current(store, "numbers", call().key)
    assert newest is not None
    store.delete(store.relative(newest.uri))
    assert find_garbage(store, 0, 1) == []
    assert generations().keys() == {1, 2}


def test_checkpoints_of_a_generation_that_went_go_too(generations):
    store = settings_store()
    home = f"numbers/{call().key}"
    remove_garbage(store, find_garbage(store, 0, 1))
    for number in (2, 3, 4):
        store.write(f"{home}/checkpoints/{number}/step-00000004/manifest.json", b"{}")
    assert [(item.path, item.why) for item in find_garbage(store, 0, 1)] == [
        (f"{home}/checkpoints/2", "training finished"),
        (f"{home}/checkpoints/3", "training finished"),
    ]


def test_the_command_lists_by_default_and_removes_on_demand(
    generations, monkeypatch: pytest.MonkeyPatch
):
    age(settings_store().local_path(""))
    for listing in (("--keep-generations", "1"), ("--keep-generations", "1", "--dry-run")):
        done = gc(*listing)
        assert done.exit_code == 0, done.output
        assert "older generation" in done.stdout
        assert "removed" not in done.stdout
    assert len(generations()) == 3
    assert "removed 0" in gc("--delete").stdout
    assert "removed 1" in gc("--keep-generations", "1", "--delete").stdout
    assert generations().keys() == {1, 3}
