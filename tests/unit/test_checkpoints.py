"""A checkpoint that does not give back what was trained loses the run."""

import json
from pathlib import Path

import pytest
import torch

from infra.checkpoint_reading import CheckpointMismatchError
from infra.checkpoints import Checkpoints
from infra.errors import CorruptFileError
from infra.object_store import ObjectStore


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path / "store"))


def tensors() -> dict[str, torch.Tensor]:
    return {
        "a": torch.arange(12.0).reshape(4, 3),
        "b": torch.tensor(7.5),
        "c": torch.arange(5, dtype=torch.uint8),
    }


def write(store: ObjectStore, step: int, world_size: int = 1, keep: int = 2) -> None:
    checkpoints = Checkpoints(store, "run")
    for rank in range(world_size):
        own = {f"own/{rank}": torch.full((2,), float(rank))}
        checkpoints.write_part(step, tensors(), own, rank, world_size)
    checkpoints.complete(step, world_size, {"note": step}, keep)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_whatever_number_wrote_one_reads_it_all(store: ObjectStore, world_size: int):
    write(store, 5, world_size)
    checkpoint = Checkpoints(store, "run").newest()
    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.record) == (5, {"note": 5})
    assert checkpoint.names("own/") == [f"own/{rank}" for rank in range(world_size)]
    with checkpoint.open() as reader:
        for name, tensor in tensors().items():
            assert torch.equal(reader.read(name), tensor)
            target = torch.zeros_like(tensor)
            reader.read_into(name, target)
            assert torch.equal(target, tensor)


def test_a_replicated_tensor_is_written_once(store: ObjectStore):
    write(store, 1, world_size=2)
    manifest = json.loads(store.read("run/step-00000001/manifest.json"))
    names = [name for index in manifest["files"].values() for name in index["parts"]]
    assert sorted(names) == ["a", "b", "c", "own/0", "own/1"]


def test_only_the_newest_are_kept(store: ObjectStore):
    for step in (1, 2, 10):
        write(store, step)
    assert Checkpoints(store, "run").steps() == [2, 10]
    assert store.children("run") == ["step-00000002", "step-00000010"]


def test_a_step_without_manifest_does_not_exist(store: ObjectStore):
    write(store, 1)
    Checkpoints(store, "run").write_part(2, tensors(), {}, 0, 1)
    checkpoint = Checkpoints(store, "run").newest()
    assert checkpoint is not None
    assert checkpoint.step == 1


def test_parts_of_two_runs_do_not_make_a_whole(store: ObjectStore):
    mine = Checkpoints(store, "run")
    mine.write_part(1, tensors(), {}, 0, 1)
    Checkpoints(store, "run").write_part(1, tensors(), {}, 0, 2)
    with pytest.raises(CheckpointMismatchError, match="two runs train the same key"):
        mine.complete(1, 1, {}, 2)
    assert mine.newest() is None


def test_no_checkpoint_at_all(store: ObjectStore):
    assert Checkpoints(store, "run").newest() is None


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def remove(path: Path) -> None:
    path.unlink()


def test_a_flipped_byte_is_named(store: ObjectStore):
    write(store, 1)
    flip_last_byte(store.local_path("run/step-00000001/rank-00000.safetensors"))
    checkpoints = Checkpoints(store, "run")
    damaged = pytest.raises(CorruptFileError, match=r"step-00000001/rank-00000.safetensors")
    for _ in range(2):  # no older one stands: it is not thrown away by itself
        with damaged, checkpoints.open_newest():
            pass


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (flip_last_byte, "rank-00001.safetensors"),
        (remove, "rank-00001.safetensors"),
        (flip_last_byte, "manifest.json"),
    ],
)
def test_a_damaged_step_gives_way_to_the_one_before_it(
    store: ObjectStore, damage, file: str, caplog: pytest.LogCaptureFixture
):
    for step in (10, 20, 30):
        write(store, step, world_size=2, keep=3)
    for step in (20, 30):
        damage(store.local_path(f"run/step-{step:08d}/{file}"))
    with Checkpoints(store, "run").open_newest() as opened:
        assert opened is not None
        checkpoint, reader = opened
        assert checkpoint.step == 10
        assert torch.equal(reader.read("a"), tensors()["a"])
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(
        "the checkpoint of step 30 is damaged (1 so far); going on from step 20"
    )
    assert second.startswith(
        "the checkpoint of step 20 is damaged (2 so far); going on from step 10"
    )
    newest = Checkpoints(store, "run").newest()
    assert newest is not None
    assert newest.step == 10  # all workers agree


def test_a_file_that_another_run_wrote_over_is_noticed(store: ObjectStore):
    write(store, 1)
    write(store, 2)
    other = {name: tensor + 1 for name, tensor in tensors().items()}
    Checkpoints(store, "run").write_part(2, other, {}, 0, 1)
    with Checkpoints(store, "run").open_newest() as opened:
        assert opened is not None
        assert opened[0].step == 1


def test_another_model_is_refused(store: ObjectStore):
    write(store, 1)
    checkpoint = Checkpoints(store, "run").newest()
    assert checkpoint is not None
    with checkpoint.open() as reader:
        with pytest.raises(CheckpointMismatchError, match=r"\(4, 3\) where a of shape \(9, 3\)"):
            reader.read_into("a", torch.zeros(9, 3))
        with pytest.raises(CheckpointMismatchError, match="nothing of that name"):
            reader.read_into("z", torch.zeros(1))
