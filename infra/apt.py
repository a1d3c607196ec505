"""APT without root and without touching the system: its own lists, cache and state.

It reads the machine's repositories and keys, and writes below one private folder only.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.credentials import without_credentials
from infra.errors import InfraError

_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>\w+)$")
_UNKNOWN = re.compile(
    r"(?:Unable to locate package|No packages found|Can't find.*?) '?([\w.+-]+)'?"
)
_HELPER = Path("/usr/lib/apt/apt-helper")


class AptMissingError(InfraError):
    """This machine has no APT."""


class PackageNotFoundError(InfraError, LookupError):
    """No repository of this machine has the package or translation."""


class DownloadFailedError(InfraError, RuntimeError):
    """A package list or package could not be fetched."""


@dataclass(frozen=True)
class AvailablePackage:
    """A package as the repositories offer it now."""

    name: str
    version: str
    sha256: str
    n_bytes: int
    uri: str


class PrivateApt:
    """APT's commands on a private state folder."""

    def __init__(self, folder: Path, languages: Sequence[str]) -> None:
        for program in ("apt-get", "dpkg-deb"):
            if shutil.which(program) is None:
                raise AptMissingError(
                    f"{program} is not on this machine; what is read from Debian packages needs "
                    "Debian or Ubuntu. Use a files source, or files on disk, instead."
                )
        self._folder = folder.absolute()
        for name in ("lists/partial", "cache/archives/partial", "state"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._folder / "state" / "status").touch()
        self._config = self._folder / "apt.conf"
        self._config.write_text(_configuration(self._folder, languages))

    def update(self) -> None:
        """Fetch the lists of packages.

        Raises:
            DownloadFailedError: no repository could be reached.
        """
        result = self._run("apt-get", "update")
        if not any((self._folder / "lists").glob("*Packages*")):
            raise DownloadFailedError(
                f"apt-get update got no package list: {_last_line(result)}. Check the network and "
                "/etc/apt/sources.list; with a lock and the cached packages no network is needed."
            )

    def available(self, packages: Sequence[str]) -> list[AvailablePackage]:
        """What the repositories offer under these names, in their order.

        Raises:
            PackageNotFoundError: a name that no repository knows.
        """
        result = self._run("apt-get", "download", "--print-uris", *packages)
        if unknown := _UNKNOWN.findall(result.stderr):
            raise PackageNotFoundError(
                f"no package {', '.join(sorted(set(unknown)))} in the repositories of this "
                "machine; check the spelling with `apt-cache policy NAME`, or take it out of the "
                "source's packages."
            )
        if result.returncode != 0:
            raise DownloadFailedError(f"apt-get download failed: {_last_line(result)}.")
        found: dict[str, AvailablePackage] = {}
        for line in result.stdout.splitlines():
            if match := _URI_LINE.match(line):
                name, version, _ = match["file"].rsplit("_", 2)
                version = version.replace("%3a", ":")
                size = int(match["size"])
                uri = without_credentials(match["uri"])
                package = AvailablePackage(name, version, match["sha256"], size, uri)
                found[name] = package
        if missing := sorted(set(packages) - set(found)):
            raise PackageNotFoundError(
                f"no repository offers {', '.join(missing)} with a sha256; take it out of the "
                "source's packages."
            )
        return [found[name] for name in packages]

    def download(self, names: Sequence[str], target: Path) -> None:
        """Fetch packages (``name`` or ``name=version``) into a folder, signatures checked.

        Raises:
            DownloadFailedError: one could not be fetched.
        """
        result = self._run("apt-get", "download", *names, cwd=target)
        if result.returncode != 0:
            raise DownloadFailedError(
                f"apt-get download of {' '.join(names)} failed: {_last_line(result)}. Check the "
                "network; a version that left the mirrors needs refresh: always."
            )

    def translations(self, language: str) -> dict[str, bytes]:
        """Descriptions in a language: content by repository part such as ``bookworm/main``.

        Raises:
            PackageNotFoundError: no repository has that language.
        """
        found: dict[str, bytes] = {}
        for path in sorted((self._folder / "lists").glob(f"*_i18n_Translation-{language}*")):
            content = subprocess.run([_HELPER, "cat-file", path], capture_output=True, check=True)
            part = path.name.partition("_dists_")[2].partition("_i18n_")[0].replace("_", "/")
            found[part] = content.stdout
        if not found:
            raise PackageNotFoundError(
                f"no repository of this machine has descriptions in language {language!r}; "
                "check the code, or set translated_descriptions: false."
            )
        return found

    def _run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        return subprocess.run(
            [command[0], "-c", str(self._config), "-q", *command[1:]],
            cwd=cwd or self._folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


def _configuration(folder: Path, languages: Sequence[str]) -> str:
    """Read after the machine's own: clears its hooks, which would write outside the folder."""
    listed = "".join(f'"{language}"; ' for language in languages or ["none"])
    sandbox = 'APT::Sandbox::User "root";\n' if os.geteuid() == 0 else ""
    return (
        "#clear APT::Update::Pre-Invoke;\n"
        "#clear APT::Update::Post-Invoke;\n"
        "#clear APT::Update::Post-Invoke-Success;\n"
        "#clear Acquire::Languages;\n"
        f"Acquire::Languages {{ {listed} }};\n"
        'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";\n'
        'Acquire::Retries "3";\n'
        'Acquire::http::Timeout "30";\n'
        f'Dir::State "{folder}/state";\n'
        f'Dir::State::status "{folder}/state/status";\n'
        f'Dir::State::lists "{folder}/lists";\n'
        f'Dir::Cache "{folder}/cache";\n'
        f"{sandbox}"
    )


def _last_line(result: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (result.stderr or result.stdout).splitlines() if line.strip()]
    return (
        without_credentials(lines[-1].rstrip("."))
        if lines
        else f"it ended with code {result.returncode}"
    )
