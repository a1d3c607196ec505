"""A local cache of downloaded files under their sha256."""

import secrets
import shutil
from pathlib import Path

from infra.keys import file_sha256
from infra.settings import get_settings


class DownloadFolder:
    """Files by content; safe to delete at any time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, path: Path) -> str:
        """Keep a copy of a local file; return its sha256."""
        sha256 = file_sha256(path)
        target = self._place(sha256)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            # A name of its own: two runs may keep the same file at the same time.
            partial = target.with_name(f"{sha256}.{secrets.token_hex(4)}.partial")
            try:
                shutil.copyfile(path, partial)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
        return sha256

    def path_of(self, sha256: str) -> Path | None:
        """Where the file with this content lies; None when absent. A damaged copy is dropped."""
        place = self._place(sha256)
        if not place.exists():
            return None
        if file_sha256(place) != sha256:
            place.unlink()
            return None
        return place

    def _place(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256


def download_folder() -> DownloadFolder:
    """The cache of this user."""
    return DownloadFolder(get_settings().cache_dir / "downloads")
