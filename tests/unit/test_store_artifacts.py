"""Attempts, pointers, digests, verification, generations."""

import errno
import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from infra.artifacts import (
    find_current,
    make_current,
    open_artifact,
    read_artifact,
    read_manifest,
    verify_artifact,
)
from infra.errors import ArtifactNotFoundError, CorruptFileError, StoreError, UnserialisableError
from infra.garbage import find_garbage, remove_garbage
from infra.keys import canonical_json, content_digest, stage_key
from infra.object_store import ObjectStore, explain
from infra.parquet import read_table, write_table
from infra.stages import StageCall, run_call, settings_store
from infra.verification import verify_store


def silent(done: float, total: float, text: str) -> None:
    """Hear progress and say nothing."""


def call(config: object = 1, inputs: tuple = (), volatile: tuple[str, ...] = ()) -> StageCall:
    return StageCall("numbers", 1, config, inputs, volatile)


def key_of(artifact) -> str:
    return artifact.uri.split("/")[-2]


def write(text: str, clock: str = ""):
    def body(attempt):
        (attempt.folder / "part").mkdir()
        (attempt.folder / "part" / "a.txt").write_text(text)
        (attempt.folder / "timings.parquet").write_text(clock)
        return {"n": len(text)}

    return body


def test_canonical_json_by_hand():
    assert canonical_json({"b": [1, None], "a": "ä"}) == '{"a":"ä","b":[1,null]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, Path("x"), b"x"])
def test_a_key_refuses_what_has_no_exact_form(value):
    with pytest.raises(UnserialisableError, match="cannot make a key"):
        stage_key("s", 1, value, [])


def test_the_key_follows_stage_version_config_and_inputs_alone():
    keys = {
        stage_key("s", 1, {"a": 1}, ["x"]),
        stage_key("t", 1, {"a": 1}, ["x"]),
        stage_key("s", 2, {"a": 1}, ["x"]),
        stage_key("s", 1, {"a": 2}, ["x"]),
        stage_key("s", 1, {"a": 1}, ["y"]),
        stage_key("s", 1, {"a": 1}, ["x", "x"]),
    }
    assert len(keys) == 6


def test_a_digest_does_not_depend_on_order_or_place():
    assert content_digest({"a": "1", "b": "2"}) == content_digest({"b": "2", "a": "1"})


def test_what_was_published_is_found_and_opened():
    artifact = run_call(call(), 1, write("hello"), silent)
    found, generation = find_current(settings_store(), "numbers", call().key)
    assert (found, generation) == (artifact, 1)
    assert (open_artifact(artifact) / "part" / "a.txt").read_text() == "hello"
    assert artifact.summary == {"n": 5}


def test_volatile_files_are_hashed_but_leave_the_digest_alone():
    first = run_call(call(volatile=("timings.parquet",)), 1, write("x", clock="1 s"), silent)
    second = run_call(call(volatile=("timings.parquet",)), 2, write("x", clock="2 s"), silent)
    assert first.digest == second.digest
    listed = [f["path"] for f in read_manifest(second)["files"] if f["volatile"]]
    assert listed == ["timings.parquet"]


def test_a_flipped_byte_is_an_error_that_names_the_file():
    artifact = run_call(call(), 1, write("hello"), silent)
    path = settings_store().local_path(f"{artifact.uri.split('/store/')[1]}/part/a.txt")
    path.write_text("hellO")
    with pytest.raises(CorruptFileError, match=r"part/a\.txt is not what was written"):
        open_artifact(artifact)


def test_an_attempt_without_manifest_does_not_exist():
    artifact = run_call(call(), 1, write("hello"), silent)
    store = settings_store()
    store.delete(f"{store.relative(artifact.uri)}/manifest.json")
    assert find_current(store, "numbers", call().key) == (None, 1)
    with pytest.raises(ArtifactNotFoundError, match="no artifact at"):
        read_artifact(artifact.uri)


def test_a_whole_attempt_that_nothing_points_to_stands():
    artifact = run_call(call(), 1, write("hello"), silent)
    store = settings_store()
    store.delete(f"numbers/{key_of(artifact)}/current-1.json")
    half = store.local_path(f"numbers/{key_of(artifact)}/99991231T235959-00000000")
    half.mkdir()
    (half / "x").write_text("half")
    assert find_current(store, "numbers", call().key) == (artifact, 1)
    assert store.exists(f"numbers/{key_of(artifact)}/current-1.json")


def test_a_body_that_fails_leaves_nothing_behind():
    def body(attempt):
        (attempt.folder / "half.txt").write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_call(call(), 1, body, silent)
    assert list(settings_store().files()) == []


def test_the_loser_of_a_race_gets_the_winner_and_keeps_its_own_attempt():
    winner = run_call(call(), 1, write("same"), silent)
    loser_sees = run_call(call(), 1, write("same"), silent)
    assert loser_sees == winner
    assert len({f.path.split("/")[2] for f in settings_store().files() if "part" in f.path}) == 2


def test_a_pointer_is_written_once():
    first = run_call(call(), 1, write("a"), silent)
    second = run_call(call(), 2, write("b"), silent)
    assert make_current(second, 1) == first


def test_an_equal_refresh_keeps_the_standing_artifact():
    first = run_call(call(), 1, write("a"), silent)
    assert run_call(call(), 2, write("a"), silent, keep_equal=first) == first
    assert find_current(settings_store(), "numbers", call().key)[1] == 1


def test_an_equal_refresh_that_is_cut_short_leaves_no_half_artifact(
    monkeypatch: pytest.MonkeyPatch,
):
    first = run_call(call(), 1, write("a"), silent)

    def cut_short(store: ObjectStore, path: str) -> None:
        (store.local_path(path) / "part" / "a.txt").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(ObjectStore, "delete", cut_short)
    with pytest.raises(KeyboardInterrupt):
        run_call(call(), 2, write("a"), silent, keep_equal=first)
    assert verify_store(settings_store(), fast=False).problems == ()
    assert find_current(settings_store(), "numbers", call().key) == (first, 1)


def test_a_refresh_that_differs_in_volatile_files_alone_keeps_the_digest_and_takes_the_new_ones():
    clock = call(volatile=("timings.parquet",))
    first = run_call(clock, 1, write("a", "old place"), silent)
    second = run_call(clock, 2, write("a", "new place"), silent, keep_equal=first)
    assert second.digest == first.digest
    assert (open_artifact(second) / "timings.parquet").read_text() == "new place"
    assert find_current(settings_store(), "numbers", clock.key) == (second, 2)


@pytest.mark.parametrize("content", ["{", "[]", None])
def test_a_damaged_manifest_or_pointer_is_named(content):
    artifact = run_call(call(), 1, write("a"), silent)
    store = settings_store()
    manifest = f"{store.relative(artifact.uri)}/manifest.json"
    changed = store.read(manifest).decode().replace('"sha256": "', '"sha256": "0')
    store.write(manifest, (content or changed).encode())
    with pytest.raises(CorruptFileError, match=r"manifest\.json is damaged"):
        read_artifact(artifact.uri)
    pointer = f"numbers/{key_of(artifact)}/current-1.json"
    store.write(pointer, b"{")
    with pytest.raises(CorruptFileError, match=r"current-1\.json is damaged"):
        find_current(store, "numbers", call().key)


def test_verify_reads_every_file():
    artifact = run_call(call(), 1, write("a"), silent)
    assert verify_artifact(artifact) == 2
    (open_artifact(artifact) / "timings.parquet").write_text("other")
    with pytest.raises(CorruptFileError, match=r"timings\.parquet is not what was written"):
        verify_artifact(artifact)


def test_moving_the_store_keeps_keys_and_digests(tmp_path, monkeypatch):
    artifact = run_call(call(), 1, write("a"), silent)
    os.rename(settings_store().root, tmp_path / "moved")
    moved = ObjectStore(str(tmp_path / "moved"))
    manifest = json.loads(moved.read(f"{artifact.uri.split('/store/')[1]}/manifest.json"))
    assert manifest["digest"] == artifact.digest


def test_paths_cannot_leave_the_store():
    with pytest.raises(StoreError, match="leaves the store"):
        settings_store().read("../outside")


def test_gc_keeps_what_pointers_and_kept_inputs_reach():
    old_input = run_call(StageCall("first", 1, 0, ()), 1, write("i"), silent)
    user = run_call(call(inputs=(old_input,)), 1, write("u"), silent)
    store = settings_store()
    store.delete(f"first/{key_of(old_input)}/current-1.json")
    lost = run_call(call(config=5), 1, write("l"), silent)
    store.delete(f"numbers/{key_of(lost)}/current-1.json")
    (store.local_path(f"numbers/{key_of(user)}/20200101T000000-00000000")).mkdir()
    (store.local_path(f"numbers/{key_of(user)}/20200101T000000-00000000/x")).write_text("half")

    assert find_garbage(store, grace_hours=1) == []
    garbage = find_garbage(store, grace_hours=0)
    assert {(g.path, g.why) for g in garbage} == {
        (store.relative(lost.uri), "superseded"),
        (f"numbers/{key_of(user)}/20200101T000000-00000000", "never finished"),
    }
    remove_garbage(store, garbage)
    assert (open_artifact(old_input) / "part" / "a.txt").read_text() == "i"
    with pytest.raises(ArtifactNotFoundError):
        read_artifact(lost.uri)


def test_gc_takes_checkpoints_once_their_training_is_finished():
    store = settings_store()
    trained = run_call(call(), 1, write("weights"), silent)
    folder = f"numbers/{key_of(trained)}/checkpoints"
    for generation in (1, 2):
        store.write(f"{folder}/{generation}/step-00000004/manifest.json", b"{}")
    assert {(g.path, g.why) for g in find_garbage(store, grace_hours=0)} == {
        (f"{folder}/1", "training finished")
    }


def test_equal_tables_have_equal_bytes(tmp_path):
    table = pa.table({"id": list(range(40_000)), "text": ["a"] * 40_000})
    write_table(tmp_path / "a.parquet", table)
    from infra.parquet import TableWriter

    with TableWriter(tmp_path / "b.parquet", table.schema) as writer:
        for start in range(0, 40_000, 7_000):
            writer.write(table.slice(start, 7_000))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_cut_parquet_file_is_named(tmp_path):
    write_table(tmp_path / "a.parquet", pa.table({"id": [1, 2]}))
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptFileError, match=r"a\.parquet cannot be read as Parquet"):
        read_table(tmp_path / "a.parquet")


def test_an_unwritable_store_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="TOKGRAFT_STORE"):
        ObjectStore(str(tmp_path / "file" / "store")).check_writable()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "full"), "no space left below /store, or for scratch files below"),
        (PermissionError(errno.EACCES, "no", "/store/a"), "/store refuses access"),
        (PermissionError(errno.EACCES, "no", "/texts/a"), "/texts/a refuses access"),
    ],
)
def test_an_error_of_the_system_names_the_place_it_is_about(error: OSError, said: str):
    with pytest.raises(StoreError, match=f"^{said}") as caught, explain("/store"):
        raise error
    assert "TOKGRAFT_STORE" in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(errno.ECONNREFUSED, "refused"), OSError("AF_UNIX path too long")],
)
def test_a_socket_that_fails_in_a_stage_is_not_laid_to_the_store(error: OSError):
    failed = pytest.raises(StoreError, match=r"^a connection between processes failed")
    with failed as caught, explain("/store"):
        raise error
    assert "TOKGRAFT_STORE" not in str(caught.value)
