"""The download cache: files by content."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.downloads import download_folder
from infra.errors import StoreError
from infra.keys import file_sha256
from infra.settings import get_settings


def test_what_is_put_is_found_under_its_hash(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"content")
    sha256 = download_folder().put(tmp_path / "a")
    place = download_folder().path_of(sha256)
    assert sha256 == file_sha256(tmp_path / "a")
    assert place is not None
    assert place.read_bytes() == b"content"


def test_a_damaged_copy_is_dropped(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"content")
    sha256 = download_folder().put(tmp_path / "a")
    place = download_folder().path_of(sha256)
    assert place is not None
    place.write_bytes(b"other")
    assert download_folder().path_of(sha256) is None
    assert not place.exists()


def test_many_may_put_the_same_file_at_once(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"x" * 4_000_000)
    with ThreadPoolExecutor(8) as pool:
        hashes = set(pool.map(download_folder().put, [tmp_path / "a"] * 8))
    (sha256,) = hashes
    assert download_folder().path_of(sha256) is not None
    assert [p.name for p in download_folder().folder.rglob("*") if p.is_file()] == [sha256]


def test_what_fails_on_its_way_leaves_nothing():
    def half(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StoreError, match=r"No space left on device.*TOKGRAFT_CACHE_DIR"):
        download_folder().keep(half, 8)
    assert [p for p in download_folder().folder.rglob("*") if p.is_file()] == []


def test_a_cache_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOKGRAFT_CACHE_DIR", str(tmp_path / "file"))
    get_settings.cache_clear()
    with pytest.raises(StoreError, match="TOKGRAFT_CACHE_DIR") as caught:
        download_folder().put(tmp_path / "file")
    assert "\n" not in str(caught.value)
