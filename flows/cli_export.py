"""The adapted model as a folder of its own, for ``run --export``."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.artifacts import Artifact


def check_export(folder: Path) -> None:
    """Before any work: nothing is overwritten, and the place can be written."""
    from tasks.shared.errors import InputError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"--export {folder} exists and is not an empty folder; nothing is overwritten, "
            "name another one."
        )
    with _written_whole(folder):
        pass


def export_model(model: Artifact, folder: Path) -> None:
    """Copy whole or not at all: a folder that exists is a model that loads."""
    from infra.artifacts import open_artifact

    source = open_artifact(model)
    with _written_whole(folder) as partial:
        # Hidden files of a cached copy are remains of downloads that were killed.
        ignored = shutil.ignore_patterns("manifest.json", ".*")
        shutil.copytree(source, partial, ignore=ignored, dirs_exist_ok=True)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)


@contextmanager
def _written_whole(folder: Path) -> Generator[Path]:
    """A folder beside the one to export to, for the block to fill; it is gone afterwards."""
    from tasks.shared.errors import InputError

    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
    except OSError as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(
            f"--export {folder} cannot be written ({said}); name a folder with room that can."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
