"""The store, the disks below it and the cache."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from infra.doctor.finding import Finding
from infra.errors import StoreError
from infra.object_store import ObjectStore, store_at
from infra.settings import Settings

WARN_FREE_BYTES = 20e9
"""A 1-billion-parameter model in bfloat16 with two checkpoints takes about this much."""
FAIL_FREE_BYTES = 1e9


def check_storage(settings: Settings) -> Iterator[Finding]:
    """Whether artifacts can be written, how, and where there is room."""
    try:
        store = store_at(settings.store_root)
        store.check_writable()
        yield _conditional_writes(store)
    except StoreError as error:
        yield Finding("fail", "store", str(error))
    except (ImportError, ValueError) as error:
        yield Finding("fail", "store", str(error), "set TOKGRAFT_STORE to a folder or s3://...")
    else:
        if store.is_local:
            yield check_room("store disk", store.local_path(""), "TOKGRAFT_STORE")
    yield check_room("scratch disk", Path(tempfile.gettempdir()), "TMPDIR")
    yield _cache(settings.cache_dir)


def _conditional_writes(store: ObjectStore) -> Finding:
    """Whether the second of two writers is told so."""
    probe = f".tmp-probe-{secrets.token_hex(8)}"
    try:
        both = [store.create(probe, content) for content in (b"first", b"second")]
    finally:
        store.delete_file(probe)
    if both == [True, False] and not store.refuses_conditions:
        return Finding("ok", "store", f"{store.root} is writable and honours conditional writes")
    return Finding(
        "warn",
        "store",
        f"{store.root} is writable but has no conditional writes",
        "no artifact can be lost by that, but two runs of one key may do its work twice: let one "
        "run at a time, or take a server that honours If-None-Match",
    )


def check_room(about: str, folder: Path, variable: str) -> Finding:
    """How much a disk has left.

    Args:
        about: what lies there.
        folder: on that disk; it need not exist yet.
        variable: what moves it to another disk.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    said = f"{free / 1e9:,.0f} GB free at {folder}"
    if free >= WARN_FREE_BYTES:
        return Finding("ok", about, said)
    remedy = f"free some, or point {variable} to a larger disk"
    if free >= FAIL_FREE_BYTES:
        return Finding("warn", about, said, f"enough for small models only: {remedy}")
    return Finding("fail", about, said, remedy)


def _cache(folder: Path) -> Finding:
    n_bytes = sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file()) if folder else 0
    said = f"{n_bytes / 1e9:,.1f} GB in {folder}, which may be deleted at any time"
    probe = folder / f".probe-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        remedy = "set TOKGRAFT_CACHE_DIR to a folder that can be written"
        return Finding("fail", "cache", f"{folder} cannot be written ({error.strerror})", remedy)
    if n_bytes > shutil.disk_usage(folder).free:
        return Finding("warn", "cache", said, "it has more than the disk has left: delete it")
    return Finding("ok", "cache", said)
