"""Debian packages as files of known content: resolved, downloaded once, read without installing."""

import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.apt import DownloadFailedError, PrivateApt
from infra.downloads import download_folder
from infra.errors import CorruptFileError
from infra.keys import canonical_json
from infra.settings import get_settings

TRANSLATION = "Translation-"
"""Names of description files begin so; no package's name does."""
MAX_MEMBER_BYTES = 256 << 20
"""Of one file of a package, held in memory whole; a page of documentation has far fewer."""


@dataclass(frozen=True)
class DebianFile:
    """One downloaded file and where it came from."""

    name: str
    """Of the package, or ``Translation-de``."""
    version: str
    """Of the package, or the part of the repository."""
    sha256: str
    n_bytes: int
    uri: str


def resolve(
    packages: Sequence[str], translations: Sequence[str], *, again: bool
) -> list[DebianFile]:
    """The packages' current versions and description files, downloaded.

    Args:
        packages: names.
        translations: languages whose descriptions are wanted too.
        again: ask the repositories even if this machine knows an earlier answer.
    """
    request = canonical_json([sorted(packages), sorted(translations)])
    name = hashlib.sha256(request).hexdigest()
    record = get_settings().cache_dir / "debian" / f"{name}.json"
    if not again and record.exists():
        known = [DebianFile(**entry) for entry in json.loads(record.read_text())]
        if all(download_folder().path_of(file.sha256) for file in known):
            return known
    files = _download(packages, translations)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps([asdict(file) for file in files], indent=1))
    return files


def fetch_again(name: str, version: str, sha256: str) -> Path:
    """A file of a lock, from the cache or downloaded once more.

    Raises:
        DownloadFailedError: it is in neither place any more.
    """
    folder = download_folder()
    if (kept := folder.path_of(sha256)) is not None:
        return kept
    if name.startswith(TRANSLATION):
        _download([], [name.removeprefix(TRANSLATION)])
    else:
        with _apt([]) as apt:
            apt.update()
            _fetch_into_cache(apt, [f"{name}={version}"])
    if (kept := folder.path_of(sha256)) is None:
        raise DownloadFailedError(
            f"{name} {version} with sha256 {sha256[:16]} is neither in the cache nor in the "
            "repositories; look at the sources again with refresh: always, or with --force "
            "corpus_lock or embedding_lock, whichever holds it."
        )
    return kept


def members(
    package: Path, name: str, wanted: Callable[[str], bool] = lambda path: True
) -> Iterator[tuple[str, bytes]]:
    """Yield (path inside the package, content) of its regular files; links are left out.

    Nothing is written to disk, so that no path inside the package matters.

    Args:
        package: local file.
        name: for messages.
        wanted: whether to read a path; others are passed over.

    Raises:
        CorruptFileError: the file is no whole Debian package, or a wanted file is too large.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for entry in archive:
                    path = entry.name.removeprefix("./")
                    if not entry.isreg() or not wanted(path):
                        continue
                    if entry.size > MAX_MEMBER_BYTES:
                        raise tarfile.TarError(
                            f"{path} says that it has {entry.size:,} bytes, and at most "
                            f"{MAX_MEMBER_BYTES:,} are read"
                        )
                    if (file := archive.extractfile(entry)) is not None:
                        yield path, file.read()
        except tarfile.TarError as error:
            raise CorruptFileError(
                f"{name} ({package}) cannot be unpacked ({error}); delete the file, it is "
                "downloaded again, or leave the package out."
            ) from error


@contextmanager
def _apt(languages: Sequence[str]) -> Generator[PrivateApt]:
    """APT on a fresh folder: a stale list of yesterday would answer for today."""
    with tempfile.TemporaryDirectory(prefix="tokgraft-apt-") as folder:
        yield PrivateApt(Path(folder), languages)


def _download(packages: Sequence[str], translations: Sequence[str]) -> list[DebianFile]:
    files: list[DebianFile] = []
    with _apt(translations) as apt:
        apt.update()
        if packages:
            offered = apt.available(packages)
            folder = download_folder()
            missing = [p for p in offered if folder.path_of(p.sha256) is None]
            _fetch_into_cache(apt, [f"{p.name}={p.version}" for p in missing])
            files += [DebianFile(p.name, p.version, p.sha256, p.n_bytes, p.uri) for p in offered]
        for language in translations:
            for part, content in apt.translations(language).items():
                files.append(_keep(content, f"{TRANSLATION}{language}", part))
    return files


def _fetch_into_cache(apt: PrivateApt, names: Sequence[str]) -> None:
    if not names:
        return
    with tempfile.TemporaryDirectory(prefix="tokgraft-") as target:
        apt.download(names, Path(target))
        for path in sorted(Path(target).glob("*.deb")):
            download_folder().put(path)


def _keep(content: bytes, name: str, part: str) -> DebianFile:
    with tempfile.NamedTemporaryFile(prefix="tokgraft-") as file:
        file.write(content)
        file.flush()
        sha256 = download_folder().put(Path(file.name))
    return DebianFile(name, part, sha256, len(content), f"apt:{part}/i18n/{name}")
