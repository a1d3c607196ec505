"""The download cache: files by content."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra.downloads import DownloadFolder
from infra.keys import file_sha256


def test_what_is_put_is_found_under_its_hash(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"content")
    cache = DownloadFolder(tmp_path / "cache")
    sha256 = cache.put(tmp_path / "a")
    place = cache.path_of(sha256)
    assert sha256 == file_sha256(tmp_path / "a")
    assert place is not None
    assert place.read_bytes() == b"content"


def test_a_damaged_copy_is_dropped(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"content")
    cache = DownloadFolder(tmp_path / "cache")
    sha256 = cache.put(tmp_path / "a")
    place = cache.path_of(sha256)
    assert place is not None
    place.write_bytes(b"other")
    assert cache.path_of(sha256) is None
    assert not place.exists()


def test_many_may_put_the_same_file_at_once(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"x" * 4_000_000)
    cache = DownloadFolder(tmp_path / "cache")
    with ThreadPoolExecutor(8) as pool:
        hashes = set(pool.map(cache.put, [tmp_path / "a"] * 8))
    (sha256,) = hashes
    assert cache.path_of(sha256) is not None
    assert [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()] == [sha256]
