"""Single files out of Debian packages, by addresses ``deb:package/path``.

A file is kept in the download cache under its own sha256, so that it is read like any other; the
address in a lock is ``deb:package==version/path``.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from infra.debian_packages import fetch_again, members, resolve
from infra.downloads import download_folder

SCHEME = "deb:"


@dataclass(frozen=True)
class PackedFile:
    """A file of a package, and where the cache holds it."""

    package: str
    version: str
    path: str
    """Inside the package, such as ``usr/share/dictd/a.index``."""
    sha256: str
    n_bytes: int

    @property
    def uri(self) -> str:
        """Address with the version, for a lock."""
        return f"{SCHEME}{self.package}=={self.version}/{self.path}"


def packed_files(address: str, *, again: bool) -> list[PackedFile]:
    """Files of a package's current version whose path matches, sorted; none if none does.

    Args:
        address: ``deb:package/glob``, where ``*`` crosses folders.
        again: ask the repositories even if this machine knows an earlier answer.

    Raises:
        PackageNotFoundError: no repository has the package.
    """
    package, _, pattern = address.removeprefix(SCHEME).partition("/")
    found = next(file for file in resolve([package], [], again=again) if file.name == package)
    archive = fetch_again(package, found.version, found.sha256)
    return sorted(_kept(archive, package, found.version, pattern), key=lambda file: file.path)


def keep_again(uri: str) -> None:
    """Put a locked file into the download cache once more, if its version is still offered."""
    package, _, rest = uri.removeprefix(SCHEME).partition("==")
    version, _, path = rest.partition("/")
    for again in (False, True):
        for file in resolve([package], [], again=again):
            if file.version == version:
                archive = fetch_again(package, version, file.sha256)
                list(_kept(archive, package, version, path))
                return


def _kept(archive: Path, package: str, version: str, pattern: str) -> Iterator[PackedFile]:
    for path, content in members(archive, package):
        if fnmatchcase(path, pattern):
            with tempfile.NamedTemporaryFile(prefix="tokgraft-") as file:
                file.write(content)
                file.flush()
                sha256 = download_folder().put(Path(file.name))
            yield PackedFile(package, version, path, sha256, len(content))
