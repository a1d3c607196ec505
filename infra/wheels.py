"""Python wheels of the package index, for sites that mirror nothing else."""

import subprocess
import sys
import tempfile
import zipfile
from email.parser import BytesHeaderParser
from pathlib import Path

from infra.credentials import without_credentials
from infra.downloads import download_folder
from infra.errors import InfraError

MAX_EXPANSION = 50
"""How many times larger than itself a wheel may unpack."""


class WheelError(InfraError):
    """A wheel cannot be fetched, is not the one that was asked for, or lacks a file."""


def fetch_wheel(package: str, version: str, sha256: str | None = None) -> str:
    """Download a wheel without its dependencies and keep it in the download cache.

    Args:
        package: distribution name.
        version: exact version.
        sha256: what the file must hash to; None takes what the index gives.

    Returns:
        The wheel's sha256, under which the cache holds it.

    Raises:
        WheelError: the index cannot be reached, has no such wheel, or sends another file.
    """
    if sha256 is not None and download_folder().path_of(sha256) is not None:
        return sha256
    with tempfile.TemporaryDirectory(prefix="tokgraft-wheel-") as scratch:
        wheel = _pip_download(package, version, Path(scratch))
        _refuse_bomb(wheel)
        found = download_folder().put(wheel)
    if sha256 is not None and found != sha256:
        raise WheelError(
            f"{package}=={version}: the package index sent a wheel with sha256 {found}, but "
            f"{sha256} was asked for; correct the config or distrust the index."
        )
    return found


def _refuse_bomb(wheel: Path) -> None:
    """Files are read up to the sizes that the archive declares, so that these are what counts."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            n_bytes = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile as error:
        raise WheelError(f"{wheel.name} is no wheel ({error}); distrust the index.") from error
    n_packed = wheel.stat().st_size
    if n_bytes > MAX_EXPANSION * n_packed:
        raise WheelError(
            f"{wheel.name} has {n_packed:,} bytes and unpacks to {n_bytes:,}, more than "
            f"{MAX_EXPANSION} times as many; weights do not pack so well: distrust the index."
        )


def _pip_download(package: str, version: str, folder: Path) -> Path:
    requirement = f"{package}=={version}"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    options = ["--no-deps", "--only-binary=:all:", "--progress-bar=off", "--dest", str(folder)]
    done = subprocess.run(
        [*command, *options, requirement], capture_output=True, text=True, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        said = without_credentials((errors or done.stderr.splitlines() or ["no message"])[-1])
        raise WheelError(
            f"pip could not download {requirement}: {said.strip()}; check the name, the "
            "version, the network and PIP_INDEX_URL."
        )
    return wheels[0]


def wheel_licence(wheel: Path) -> str | None:
    """The licence that the wheel's METADATA states."""
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        if not names:
            return None
        headers = BytesHeaderParser().parsebytes(archive.read(names[0]))
    return headers.get("License-Expression") or headers.get("License")
