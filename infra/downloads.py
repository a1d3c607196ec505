"""A local cache of downloaded files under their sha256: ``{cache_dir}/downloads/{ab}/{sha256}``."""

import secrets
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from infra.cache import room_for, use
from infra.keys import file_sha256
from infra.object_store import explain, store_at
from infra.settings import get_settings


class DownloadFolder:
    """Files by content; safe to delete at any time.

    A path from here is good to the end of the stage, or of the process outside of one: after that
    the file may be let go, and whoever needs it again fetches it again.
    """

    def __init__(self) -> None:
        self.folder = get_settings().cache_dir / "downloads"

    def put(self, path: Path) -> str:
        """Keep a copy of a local file; return its sha256."""
        sha256 = file_sha256(path)
        if not self._is_kept(sha256):
            self.keep(lambda copy: shutil.copyfile(path, copy), path.stat().st_size)
        return sha256

    def keep(self, fetch: Callable[[Path], object], n_bytes: int) -> str:
        """Keep what ``fetch`` writes to the path that it is given; return its sha256.

        Args:
            fetch: writes one file.
            n_bytes: about how long that will be, for which room is made.
        """
        # A name of its own: two runs may keep the same file at the same time.
        arriving = self.folder / "arriving" / secrets.token_hex(8)
        with explain(str(self.folder), "TOKGRAFT_CACHE_DIR"), _room_to_arrive(arriving, n_bytes):
            fetch(arriving / "file")
            sha256 = file_sha256(arriving / "file")
            target = self._place(sha256)
            use(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            (arriving / "file").replace(target)
        return sha256

    def path_of(self, sha256: str) -> Path | None:
        """Where the file with this content lies; None when absent. A damaged copy is dropped."""
        if not self._is_kept(sha256):
            return None
        place = self._place(sha256)
        if file_sha256(place) != sha256:
            place.unlink()
            return None
        return place

    def _is_kept(self, sha256: str) -> bool:
        """Whether the file is there, and stays."""
        place = self._place(sha256)
        with explain(str(self.folder), "TOKGRAFT_CACHE_DIR"):
            if place.exists():
                use(place)
        return place.exists()

    def _place(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256


@contextmanager
def _room_to_arrive(arriving: Path, n_bytes: int) -> Generator[None]:
    """A folder, gone after the block, with room for so much; what is moved out of it is kept."""
    use(arriving)
    with room_for(arriving, n_bytes):
        arriving.mkdir(parents=True)
        try:
            yield
        finally:
            shutil.rmtree(arriving, ignore_errors=True)


def download_folder() -> DownloadFolder:
    """The cache of this user."""
    return DownloadFolder()


def keep_remote(uri: str, n_bytes: int | None = None) -> str:
    """Copy a file of a store into the cache; return its sha256.

    Args:
        uri: its address.
        n_bytes: its length where that is known: saves asking.
    """
    root, _, name = uri.rpartition("/")
    store = store_at(root)
    if n_bytes is None:
        n_bytes = sum(file.n_bytes for file in store.files(name) if file.path == name)
    return download_folder().keep(lambda path: store.download(name, path, n_bytes), n_bytes)
