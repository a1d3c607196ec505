"""Debian packages from a repository of the test's own: APT is real, the network is not needed."""

import gzip
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from infra.apt import AptMissingError, DownloadFailedError, PackageNotFoundError
from infra.artifacts import open_artifact
from infra.debian_members import packed_files
from infra.debian_packages import members, resolve
from infra.errors import CorruptFileError
from infra.fetching import fetch
from infra.located_files import matching_rows
from infra.settings import get_settings
from tasks.corpus.config import CorpusConfig
from tasks.corpus.task import lock_corpus, sample_corpus
from tasks.shared.run_options import RunOptions, run_options

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs APT")

GERMAN_PAGE = r""".TH LS 1
.SH BESCHREIBUNG
Listet den Inhalt von Verzeichnissen auf, in alphabetischer Reihenfolge.
.PP
This paragraph was never translated and stands in both editions.
"""
ENGLISH_PAGE = r""".TH LS 1
.SH DESCRIPTION
List the content of directories in alphabetical order.
.PP
This paragraph was never translated and stands in both editions.
"""
TRANSLATIONS = """Package: a
Description-md5: 0
Description-de: Ein Programm zum Lesen
 Es liest Dateien und schreibt, was es gelesen hat, auf den Bildschirm.

Package: b
Description-md5: 1
Description-de: Ein Programm zum Schreiben
 Es schreibt Dateien und liest, was es schreiben soll, von der Tastatur.
"""


def build_package(pool: Path, name: str, version: str, files: dict[str, bytes]) -> str:
    """Write a .deb; return its stanza for the list of packages."""
    tree = pool / name
    (tree / "DEBIAN").mkdir(parents=True)
    head = (
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@example.org>\n"
    )
    (tree / "DEBIAN/control").write_text(f"{head}Description: test\n")
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    deb = pool / f"{name}_{version}_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", tree, deb], check=True, capture_output=True
    )
    shutil.rmtree(tree)
    content = deb.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    place = f"Filename: pool/{deb.name}\nSize: {len(content)}\nSHA256: {sha256}\n"
    return f"{head}{place}Description: test\n"


def write_repository(folder: Path, version: str = "1.0") -> None:
    main = folder / "dists/stable/main"
    (folder / "pool").mkdir(parents=True, exist_ok=True)
    german = {"usr/share/man/de/man1/ls.1.gz": gzip.compress(GERMAN_PAGE.encode(), mtime=0)}
    english = {"usr/share/man/man1/ls.1.gz": gzip.compress(ENGLISH_PAGE.encode(), mtime=0)}
    stanzas = [
        build_package(folder / "pool", "manual-de", version, german),
        build_package(folder / "pool", "manual", version, english),
    ]
    for path, text in (
        (main / "binary-amd64/Packages", "\n".join(stanzas)),
        (main / "i18n/Translation-de", TRANSLATIONS),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    listed = "".join(
        f" {hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size}"
        f" {path.relative_to(folder / 'dists/stable')}\n"
        for path in sorted(main.rglob("*"))
        if path.is_file()
    )
    (folder / "dists/stable/Release").write_text(
        f"Suite: stable\nCodename: stable\nComponents: main\nArchitectures: amd64\n"
        f"Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n{listed}"
    )


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "repository"
    write_repository(folder)
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{folder} stable main\n")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources.list";\nDir::Etc::sourceparts "-";\n'
        'APT::Architecture "amd64";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return folder


def german_config(**choices: object) -> CorpusConfig:
    manual = {"packages": ["manual-de"], "english_edition": ["manual"]}
    return CorpusConfig.model_validate(
        {
            "sources": [
                {"kind": "debian_packages", "name": "manuals", "language": "de"} | manual,
                {
                    "kind": "debian_packages",
                    "name": "descriptions",
                    "language": "de",
                    "translated_descriptions": True,
                },
            ],
            "heldout_fraction": 0.0,
            "min_document_bytes": 20,
            **choices,
        }
    )


@needs_apt
def test_packages_become_a_corpus_and_need_no_network_again(repository: Path):
    config = german_config()
    lock = lock_corpus(config)
    rows = pq.read_table(open_artifact(lock) / "lock.parquet").to_pylist()
    assert [(r["source"], r["edition"], r["name"], r["version"]) for r in rows] == [
        ("manuals", "english", "manual", "1.0"),
        ("manuals", "text", "manual-de", "1.0"),
        ("descriptions", "text", "Translation-de", "stable/main"),
    ]
    shutil.rmtree(repository)
    corpus = sample_corpus(config, lock)
    texts = {
        r["text"] for r in pq.read_table(open_artifact(corpus) / "train-00000.parquet").to_pylist()
    }
    assert texts == {
        "BESCHREIBUNG\nListet den Inhalt von Verzeichnissen auf, in alphabetischer Reihenfolge.\n",
        "Ein Programm zum Lesen\n"
        "Es liest Dateien und schreibt, was es gelesen hat, auf den Bildschirm.\n",
        "Ein Programm zum Schreiben\n"
        "Es schreibt Dateien und liest, was es schreiben soll, von der Tastatur.\n",
    }
    assert lock_corpus(config).uri == lock.uri
    assert lock_corpus(german_config(seed=5)).digest == lock.digest


@needs_apt
def test_a_forced_lock_sees_a_new_version(repository: Path):
    config = german_config()
    first = lock_corpus(config)
    write_repository(repository, version="2.0")
    assert lock_corpus(config).uri == first.uri
    token = run_options.set(RunOptions(force=frozenset({"corpus_lock"})))
    try:
        second = lock_corpus(config)
    finally:
        run_options.reset(token)
    versions = pq.read_table(open_artifact(second) / "lock.parquet")["version"].to_pylist()
    assert versions == ["2.0", "2.0", "stable/main"]


@needs_apt
def test_packages_lost_from_the_cache_are_fetched_again(repository: Path, own_place: Path):
    config = german_config()
    lock = lock_corpus(config)
    shutil.rmtree(own_place / "cache" / "downloads")
    first = sample_corpus(config, lock)
    assert first.summary["kept_train_documents"] == 3
    shutil.rmtree(own_place / "cache" / "downloads")
    write_repository(repository, version="2.0")
    other = german_config(seed=3)
    with pytest.raises(DownloadFailedError, match=r"manual=1\.0.*refresh: always"):
        sample_corpus(other, lock)


@needs_apt
def test_one_file_of_a_package_is_locked_by_its_own_content(repository: Path, own_place: Path):
    address = "deb:manual-de/usr/share/man/*/ls.1.gz"
    [row] = matching_rows(address, "page", again=False)
    packed = gzip.compress(GERMAN_PAGE.encode(), mtime=0)
    assert (row["sha256"], row["n_bytes"]) == (hashlib.sha256(packed).hexdigest(), len(packed))
    assert row["uri"] == "deb:manual-de==1.0/usr/share/man/de/man1/ls.1.gz"
    assert matching_rows("deb:manual-de/usr/share/nothing", "page", again=False) == []
    downloads = own_place / "cache" / "downloads"
    shutil.rmtree(downloads)
    assert fetch(row["uri"], row["sha256"]).read_bytes() == packed
    write_repository(repository, version="2.0")
    assert packed_files(address, again=False)[0].version == "1.0"
    assert packed_files(address, again=True)[0].version == "2.0"
    shutil.rmtree(downloads)
    with pytest.raises(CorruptFileError, match=r"manual-de==1\.0.*no longer .*embedding_lock"):
        fetch(row["uri"], row["sha256"])


@needs_apt
@pytest.mark.usefixtures("repository")
def test_unknown_names_are_told():
    with pytest.raises(PackageNotFoundError, match="no package no-such-manual in the repositories"):
        resolve(["manual", "no-such-manual"], [], again=False)
    with pytest.raises(PackageNotFoundError, match=r"no repository .* in language 'xx'"):
        resolve([], ["xx"], again=False)


@needs_apt
def test_no_network_and_no_lock_is_one_clear_error(repository: Path):
    shutil.rmtree(repository)
    with pytest.raises(DownloadFailedError, match=r"got no package list.*Check the network"):
        lock_corpus(german_config())


def test_a_machine_without_apt_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        AptMissingError, match=r"apt-get is not on this machine.*Use a files source"
    ):
        lock_corpus(german_config())


@needs_apt
def test_a_damaged_package_is_named(tmp_path: Path):
    (tmp_path / "x.deb").write_bytes(b"no package")
    with pytest.raises(CorruptFileError, match=r"manual .*x\.deb.* cannot be unpacked"):
        list(members(tmp_path / "x.deb", "manual"))


@needs_apt
@pytest.mark.usefixtures("repository")
def test_nothing_is_written_outside_the_cache(tmp_path: Path, own_place: Path):
    before = os.stat("/var/lib/apt/lists").st_mtime_ns if os.path.isdir("/var/lib/apt/lists") else 0
    resolve(["manual"], ["de"], again=False)
    after = os.stat("/var/lib/apt/lists").st_mtime_ns if os.path.isdir("/var/lib/apt/lists") else 0
    assert before == after
    assert {path.name for path in own_place.iterdir()} == {"cache"}
    assert get_settings().cache_dir == own_place / "cache"
