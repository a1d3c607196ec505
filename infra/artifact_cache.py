"""Local copies of remote artifacts: ``{cache_dir}/artifacts/{stage}/{attempt}/``, each checked."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.cache import counts, fetching, room_for, use
from infra.manifests import is_intact, not_as_written
from infra.object_store import ObjectStore, explain
from infra.parallel import at_once
from infra.settings import get_settings

_LOG = logging.getLogger(__name__)


def cached_copy(store: ObjectStore, path: str, stage: str, files: Sequence[dict[str, Any]]) -> Path:
    """The folder with local copies of these files of one attempt; not evicted while in use.

    Args:
        store: where the attempt lies.
        path: the attempt.
        stage: whose it is.
        files: entries of its manifest; each is checked against its sha256.

    Raises:
        CorruptFileError: what the store holds is not what was written.
    """
    root = get_settings().cache_dir / "artifacts"
    folder = root / stage / path.rpartition("/")[2]
    with explain(str(root), "TOKGRAFT_CACHE_DIR"):
        use(folder)
        missing = [f for f in files if not is_intact(folder / f["path"], f)]
        counts.hits += len(files) - len(missing)
        if missing:
            with fetching(folder):  # once a machine
                missing = [f for f in missing if not is_intact(folder / f["path"], f)]
                _fetch(store, path, stage, folder, missing)
    return folder


def _fetch(
    store: ObjectStore, path: str, stage: str, folder: Path, files: Sequence[dict[str, Any]]
) -> None:
    for remains in folder.rglob(".*"):  # of a download that was killed: this process alone is here
        remains.unlink(missing_ok=True)
    n_bytes = sum(f["n_bytes"] for f in files)

    def fetch(file: dict[str, Any]) -> None:
        local = folder / file["path"]
        store.download(f"{path}/{file['path']}", local, file["n_bytes"])
        if not is_intact(local, file):
            local.unlink(missing_ok=True)
            raise not_as_written(store, path, file, stage)

    with room_for(folder, n_bytes):
        at_once(fetch, files)
    counts.fetched += len(files)
    counts.fetched_bytes += n_bytes
    _LOG.info("cache: fetched %d files of %s, %d bytes", len(files), store.uri(path), n_bytes)
