"""Finished shards come back whole or not at all."""

from pathlib import Path

from infra.object_store import store_at
from infra.parts import Parts


def stored(tmp_path: Path) -> tuple[Parts, Path]:
    parts = Parts(store_at(str(tmp_path / "store")), "stage/key/checkpoints/1")
    (tmp_path / "made").mkdir()
    file = tmp_path / "made" / "counts.parquet"
    file.write_bytes(b"rows")
    parts.keep("shard-0", [file], {"n_bytes": 4})
    (tmp_path / "next").mkdir()
    return parts, tmp_path / "next"


def test_a_finished_shard_is_taken_with_its_record(tmp_path: Path):
    parts, folder = stored(tmp_path)
    assert parts.take("shard-0", folder) == {"n_bytes": 4}
    assert (folder / "counts.parquet").read_bytes() == b"rows"
    assert parts.take("shard-1", folder) is None


def test_a_changed_or_missing_file_makes_the_shard_unfinished(tmp_path: Path):
    parts, folder = stored(tmp_path)
    file = tmp_path / "store/stage/key/checkpoints/1/shard-0/counts.parquet"
    file.write_bytes(b"rowz")
    assert parts.take("shard-0", folder) is None
    file.unlink()
    assert parts.take("shard-0", folder) is None
