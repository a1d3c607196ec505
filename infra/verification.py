"""Check a whole store: what stands in it is what was written.

The fast way reads every pointer and manifest and compares names and sizes with one listing; the
thorough way also reads every file and compares its sha256.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.artifacts import read_artifact, verify_artifact
from infra.errors import CorruptFileError, StoreError
from infra.layout import is_manifest, is_pointer
from infra.manifests import MANIFEST, parse_manifest
from infra.object_store import ObjectStore
from infra.records import parse_record


@dataclass(frozen=True)
class Verified:
    """What was looked at, and a line for each thing that is wrong."""

    n_artifacts: int
    n_files: int
    problems: tuple[str, ...]


def verify_store(store: ObjectStore, *, fast: bool) -> Verified:
    """Check every pointer and every whole attempt of a store.

    Args:
        store: which.
        fast: names and sizes only; a changed byte in a file of the same size goes unseen.

    Raises:
        StoreError: the store cannot be read.
    """
    n_bytes_of = {file.path: file.n_bytes for file in store.files()}
    pointers = [path for path in n_bytes_of if is_pointer(path)]
    manifests = [path for path in n_bytes_of if is_manifest(path)]
    problems: list[str] = []
    for path, text in zip(pointers, store.read_all(pointers), strict=True):
        problems += _wrong_with_pointer(store, path, text, n_bytes_of)
    n_files = 0
    for path, text in zip(manifests, store.read_all(manifests), strict=True):
        attempt = path.removesuffix(f"/{MANIFEST}")
        try:
            manifest = parse_manifest(store, attempt, text)
            n_files += len(manifest["files"])
            problems += _wrong_with_sizes(store, attempt, manifest, n_bytes_of)
            if not fast:
                verify_artifact(read_artifact(store.uri(attempt)))
        except (CorruptFileError, StoreError) as error:
            problems.append(str(error))
    return Verified(len(manifests), n_files, tuple(dict.fromkeys(problems)))


def _wrong_with_pointer(
    store: ObjectStore, path: str, text: bytes, n_bytes_of: Mapping[str, int]
) -> Iterator[str]:
    try:
        attempt = parse_record(store, path, text).get("attempt")
    except CorruptFileError as error:
        yield str(error)
        return
    if f"{path.rpartition('/')[0]}/{attempt}/{MANIFEST}" not in n_bytes_of:
        yield (
            f"{store.uri(path)} names attempt {attempt}, which is gone; the next run makes it anew."
        )


def _wrong_with_sizes(
    store: ObjectStore, attempt: str, manifest: dict[str, Any], n_bytes_of: Mapping[str, int]
) -> Iterator[str]:
    for file in manifest["files"]:
        n_bytes = n_bytes_of.get(f"{attempt}/{file['path']}")
        if n_bytes != file["n_bytes"]:
            found = "is gone" if n_bytes is None else f"has {n_bytes} bytes"
            yield (
                f"{store.uri(attempt)}/{file['path']} {found}, but {file['n_bytes']} were "
                f"written; run its stage again with --force {manifest['stage']}."
            )
