"""The cache's bound: downloads and copies of artifacts together, never taken from who uses them."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from infra import cache
from infra.cache import entries_in_use, room_for, use
from infra.downloads import download_folder, keep_remote
from infra.errors import CorruptFileError
from infra.fetching import fetch
from infra.settings import get_settings

FILE_BYTES = 10_000
USE = """
import sys
from infra.downloads import download_folder
print(download_folder().path_of(sys.argv[1]), flush=True)
sys.stdin.read()
"""
READ = """
import random, sys
from pathlib import Path
from infra.cache import counts, entries_in_use
from infra.fetching import fetch
from infra.keys import file_sha256
draw, folder = random.Random(int(sys.argv[1])), Path(sys.argv[2])
hashes = [file_sha256(folder / str(number)) for number in range(6)]
for _ in range(200):
    number = draw.randrange(6)
    with entries_in_use():
        path = fetch(f"file://{folder}/{number}", hashes[number])
        assert path.read_bytes() == bytes([number]) * 10000
print(counts.evicted)
"""
KILLED = """
import os, signal
from infra.downloads import download_folder
def fetch(path):
    path.write_bytes(bytes(9000))
    os.kill(os.getpid(), signal.SIGKILL)
download_folder().keep(fetch, 9000)
"""
MANY = """
import resource
from infra.cache import entries_in_use
from infra.downloads import download_folder
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
with entries_in_use():
    kept = [download_folder().keep(lambda path: path.write_text(str(n)), 3) for n in range(100)]
    print(all(download_folder().path_of(sha256) for sha256 in kept))
"""


@pytest.fixture(autouse=True)
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for three files and a bit."""
    monkeypatch.setenv("TOKGRAFT_CACHE_BYTES", str(3 * FILE_BYTES + 500))
    get_settings.cache_clear()


def kept(number: int) -> str:
    """A file of this content, used no more."""
    with entries_in_use():
        return download_folder().keep(
            lambda path: path.write_bytes(bytes([number]) * FILE_BYTES), FILE_BYTES
        )


def entries() -> set[str]:
    root = get_settings().cache_dir
    return {path.name for kind in ("artifacts", "downloads") for path in root.glob(f"{kind}/*/*")}


def own_process(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip


@contextmanager
def another_process_that_uses(sha256: str) -> Iterator[subprocess.Popen[str]]:
    with own_process(USE, sha256) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().strip().endswith(sha256)
            yield process
        finally:
            process.kill()


def test_the_longest_unused_goes_first_whatever_it_is(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "infra.cache")
    copies = get_settings().cache_dir / "artifacts" / "numbers" / "20261127T000000-00000000"
    with entries_in_use():
        use(copies)
        copies.mkdir(parents=True)
        with room_for(copies, FILE_BYTES):
            (copies / "data.bin").write_bytes(bytes(FILE_BYTES))
    files = [kept(number) for number in range(2)]
    with entries_in_use():
        assert download_folder().path_of(files[0])
    files.append(kept(2))  # the copies of the artifact are the oldest
    assert entries() == set(files)
    assert f"cache: evicted {copies}, 10000 bytes" in caplog.text
    files.append(kept(3))
    assert entries() == {files[0], files[2], files[3]}


def test_a_file_that_was_let_go_is_fetched_again(tmp_path: Path):
    uris = [f"file://{tmp_path}/{number}" for number in range(5)]
    hashes = list[str]()
    for number, uri in enumerate(uris):
        (tmp_path / str(number)).write_bytes(bytes([number]) * FILE_BYTES)
        with entries_in_use():
            hashes.append(keep_remote(uri))
    assert entries() == set(hashes[2:])
    for number, (uri, sha256) in enumerate(zip(uris, hashes, strict=True)):
        with entries_in_use():
            assert fetch(uri, sha256).read_bytes() == bytes([number]) * FILE_BYTES
    (tmp_path / "0").write_bytes(b"another content")
    with pytest.raises(CorruptFileError, match="no longer has the content that was locked"):
        fetch(uris[0], hashes[0])


def test_processes_that_let_go_of_what_others_need_read_whole_files(tmp_path: Path):
    """Two processes, each of which needs more than fits, read everything many times."""
    for number in range(6):
        (tmp_path / str(number)).write_bytes(bytes([number]) * FILE_BYTES)
    readers = [own_process(READ, str(seed), str(tmp_path)) for seed in range(2)]
    evicted = [int(reader.communicate(timeout=400)[0]) for reader in readers]
    assert [reader.returncode for reader in readers] == [0, 0]
    assert min(evicted) > 4
    assert len(entries()) <= 4  # each had one in use when the other made room last


def test_what_is_in_use_stays_and_an_excess_is_told(caplog: pytest.LogCaptureFixture):
    with entries_in_use():
        for number in range(5):
            download_folder().keep(
                lambda path, number=number: path.write_bytes(bytes([number]) * FILE_BYTES),
                FILE_BYTES,
            )
        assert len(entries()) == 5
    assert "50000 bytes" in caplog.text
    assert "are in use at once, more than TOKGRAFT_CACHE_BYTES=30500" in caplog.text
    kept(5)
    assert len(entries()) == 3


def test_what_is_still_to_come_counts_for_who_makes_room_meanwhile(
    caplog: pytest.LogCaptureFixture,
):
    copies = [get_settings().cache_dir / "artifacts" / "numbers" / str(n) for n in range(4)]
    for number in range(3):
        kept(number)
    with entries_in_use(), ExitStack() as promises:
        for n_promised, copy in enumerate(copies, start=1):
            use(copy)
            promises.enter_context(room_for(copy, FILE_BYTES))
            assert len(entries()) == max(3 - n_promised, 0)
    assert "40000 bytes" in caplog.text
    assert list((get_settings().cache_dir / ".promised").iterdir()) == []


def test_a_block_in_a_block_lets_go_of_nothing_of_the_outer_one():
    with entries_in_use():
        first = download_folder().keep(
            lambda path: path.write_bytes(bytes([9]) * FILE_BYTES), FILE_BYTES
        )
        with entries_in_use():
            assert download_folder().path_of(first)
        for number in range(4):
            kept(number)
        assert first in entries()


def test_another_process_keeps_its_file_until_it_ends_even_by_kill():
    first = kept(0)
    with another_process_that_uses(first) as process:
        for number in range(1, 5):
            kept(number)
        assert first in entries()
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept(5)
        assert first not in entries()
    assert len(list((get_settings().cache_dir / ".in_use").iterdir())) == 0


def test_a_forked_child_takes_nothing_from_its_parent():
    with entries_in_use():
        first = download_folder().keep(lambda path: path.write_bytes(bytes(FILE_BYTES)), FILE_BYTES)
        if not (pid := os.fork()):
            held = cache._holders.get()[get_settings().cache_dir]
            download_folder().path_of(first)
            held.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        for number in range(1, 5):
            kept(number)
        assert first in entries()


def test_what_a_killed_process_had_half_goes_like_all_else():
    with own_process(KILLED) as process:
        process.wait(timeout=60)
    assert len(entries()) == 1
    files = [kept(number) for number in range(3)]
    assert entries() == set(files)


def test_many_files_in_use_need_few_descriptors():
    with own_process(MANY) as process:
        out, _ = process.communicate(timeout=60)
    assert out == "True\n"


def test_what_somebody_deleted_makes_room_at_the_next_look():
    for number in range(3):
        kept(number)
    for path in download_folder().folder.glob("*/*"):
        path.unlink()
    files = [kept(number) for number in range(3, 6)]
    assert entries() == set(files)
