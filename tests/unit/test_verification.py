"""A whole store is checked: pointers, manifests, names, sizes and, when asked, every byte."""

import json

import pytest
from typer.testing import CliRunner

from flows.cli import app
from infra.artifacts import Artifact, open_artifact, read_artifact
from infra.errors import CorruptFileError, StoreError
from infra.object_store import ObjectStore
from infra.stages import StageCall, run_call, settings_store
from infra.verification import verify_store


def write(text: str):
    def body(attempt):
        (attempt.folder / "a.txt").write_text(text)
        (attempt.folder / "b.txt").write_text(text * 2)
        return {}

    return body


@pytest.fixture
def artifact() -> Artifact:
    other = run_call(StageCall("first", 1, 0, ()), 1, write("x"), lambda *_: None)
    return run_call(StageCall("second", 1, 0, (other,)), 1, write("hello"), lambda *_: None)


def change_manifest(artifact: Artifact, **changed: object) -> None:
    store = settings_store()
    path = f"{store.relative(artifact.uri)}/manifest.json"
    store.write(path, json.dumps({**json.loads(store.read(path)), **changed}).encode())


@pytest.mark.parametrize("fast", [True, False])
def test_a_sound_store_has_no_problems(artifact: Artifact, fast: bool):
    found = verify_store(settings_store(), fast=fast)
    assert (found.n_artifacts, found.n_files, found.problems) == (2, 4, ())


def test_a_byte_that_changed_is_seen_by_the_thorough_way_alone(artifact: Artifact):
    (open_artifact(artifact) / "a.txt").write_text("hellO")
    assert verify_store(settings_store(), fast=True).problems == ()
    (problem,) = verify_store(settings_store(), fast=False).problems
    assert f"{artifact.uri}/a.txt is not what was written" in problem


def test_every_kind_of_damage_is_named_once(artifact: Artifact):
    folder = open_artifact(artifact)
    (folder / "a.txt").write_text("longer than it was")
    (folder / "b.txt").unlink()
    store = settings_store()
    (key,) = store.children("first")
    store.write(f"first/{key}/current-2.json", b'{"attempt": "gone"}')
    store.write(f"first/{key}/current-3.json", b"{")
    problems = "\n".join(verify_store(store, fast=True).problems)
    assert problems.count("\n") == 3
    assert f"first/{key}/current-2.json names attempt gone, which is gone" in problems
    assert f"first/{key}/current-3.json is damaged" in problems
    assert f"{artifact.uri}/a.txt has 18 bytes, but 5 were written" in problems
    assert f"{artifact.uri}/b.txt is gone, but 10 were written" in problems


@pytest.mark.parametrize("name", ["../../../outside", "/etc/passwd", "a/../../b"])
def test_a_manifest_that_leads_outside_its_artifact_is_refused(artifact: Artifact, name: str):
    change_manifest(artifact, files=[{"path": name, "n_bytes": 1, "sha256": "", "volatile": True}])
    with pytest.raises(CorruptFileError, match="leaves the artifact"):
        read_artifact(artifact.uri)


@pytest.mark.parametrize("field", ["stage", "key", "attempt"])
def test_a_manifest_of_another_artifact_is_refused(artifact: Artifact, field: str):
    change_manifest(artifact, **{field: "../../home"})
    with pytest.raises(CorruptFileError, match=r"damaged \(it says that it is"):
        read_artifact(artifact.uri)


def test_a_manifest_without_its_fields_is_damaged(artifact: Artifact):
    change_manifest(artifact, files=[{"path": "a.txt"}])
    with pytest.raises(CorruptFileError, match="it lacks or mistypes 'volatile'"):
        read_artifact(artifact.uri)


@pytest.mark.parametrize("uri", ["../other/x", "first/../../outside", "/etc"])
def test_an_address_cannot_leave_the_store(uri: str):
    store = settings_store()
    with pytest.raises(StoreError, match="leaves the store"):
        read_artifact(store.uri(uri))
    with pytest.raises(StoreError, match="is not in the store"):
        read_artifact(f"/elsewhere/{uri}")


def test_the_command_lists_what_is_wrong_and_fails(artifact: Artifact):
    sound = CliRunner().invoke(app, ["artifacts", "verify", "--fast"])
    assert sound.stdout == "2 artifacts, 4 files: names and sizes are what was written.\n"
    (open_artifact(artifact) / "b.txt").unlink()
    damaged = CliRunner().invoke(app, ["artifacts", "verify"])
    assert "b.txt is gone" in damaged.stdout
    assert isinstance(damaged.exception, CorruptFileError)


def test_reading_many_gives_them_in_the_order_asked():
    store = ObjectStore(settings_store().root)
    for name in "abc":
        store.write(name, name.encode())
    assert store.read_all(["c", "a"]) == [b"c", b"a"]
