"""Where `tokgraft up` puts a server, and what its processes are told about that."""

import ipaddress
import os
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from flows.prefect_api import CLIENT_AUTH, SERVER_AUTH
from flows.prefect_process import url_of
from flows.run_config import load_config
from flows.run_files import SCHEDULES
from infra.credentials import without_credentials
from infra.errors import InfraError
from infra.settings import WEBHOOK_OLD_SECRET, WEBHOOK_SECRET, get_settings
from infra.webhook.allow_list import AllowList
from infra.webhook.signing_keys import signing_keys

LEASES_ON_DISK = "prefect.server.concurrency.lease_storage.filesystem"


class UpError(InfraError, RuntimeError):
    """A part did not start, or ended by itself."""


class OpenServerError(InfraError, ValueError):
    """Others could reach a server that asks for no password."""


@dataclass(frozen=True)
class Place:
    """Where a server is to be, and what it keeps its records in."""

    host: str
    port: int
    database_url: str | None
    configs: Path
    webhook: tuple[Path, int] | None = None
    """Allow-list and port of the webhook receiver; none: there is no such."""

    @property
    def url(self) -> str:
        """How this machine reaches the server."""
        return url_of(self.host, self.port)

    @property
    def receiver(self) -> "Place | None":
        """Where the webhook receiver is, if there is one."""
        return None if self.webhook is None else replace(self, port=self.webhook[1], webhook=None)

    @property
    def records(self) -> str | None:
        """The database as a person may see it; none: a file in the data folder."""
        return _without_password(self.database_url) if self.database_url else None


def allow_list_of(configs: Path) -> Path | None:
    """The allow-list beside run files, where there is a secret to sign deliveries with."""
    path = configs / "webhook" / "allow_list.yaml"
    return path if os.environ.get(WEBHOOK_SECRET) and path.exists() else None


def check_place(place: Place) -> None:
    """See that its run files can be used, and that nobody else can.

    Raises:
        UpError: there is no such folder.
        RunConfigError: its file of schedules, or the allow-list, is wrong.
        ScheduleError: likewise.
        SigningKeyError: webhooks have no secret.
        OpenServerError: others could reach it without a password.
    """
    if not place.configs.is_dir():
        raise UpError(f"no folder {place.configs}; --configs names the one that holds run files.")
    if (place.configs / SCHEDULES).exists():  # a look at it takes a second or two
        from flows.schedules import read_schedules

        read_schedules(place.configs)
    if place.webhook is not None:
        load_config(place.webhook[0], AllowList)
        signing_keys(os.environ)
        if place.webhook[1] == place.port:
            raise UpError(
                f"--port and --webhook-port are both {place.port}; two servers need two ports."
            )
    if not _is_loopback(place.host) and not os.environ.get(SERVER_AUTH):
        raise OpenServerError(
            f"--host {place.host} can be reached by others, who could start runs here; set "
            f"{SERVER_AUTH}=NAME:PASSWORD, which the server then asks for, or leave --host out."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def make_home() -> Path:
    """The folder of records and logs.

    Not the embedded server's: two servers on one SQLite file would schedule everything twice.

    Raises:
        UpError: it cannot be written.
    """
    home = get_settings().data_folder / "server"
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / "server.log").touch()
    except OSError as error:
        raise UpError(
            f"{home} cannot be written ({error.strerror}); the server keeps its records there: "
            "set TOKGRAFT_DATA_FOLDER to a folder that can."
        ) from error
    return home


def taken_webhook_secrets() -> dict[str, str]:
    """The receiver's secrets, which no other process that this one starts is to inherit."""
    names = (WEBHOOK_SECRET, WEBHOOK_OLD_SECRET)
    return {name: os.environ.pop(name) for name in names if name in os.environ}


def server_environment(place: Place, home: Path) -> dict[str, str]:
    """Variables of the server."""
    environment = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_HOST": place.host,
        "PREFECT_SERVER_API_PORT": str(place.port),
        "PREFECT_SERVER_UI_API_URL": "/api",  # of the host that the browser reached it by
        # A run at work holds its turn by a lease, and ends where a server that was restarted has
        # forgotten it: this keeps leases in the server's home.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES_ON_DISK,
        # Runs wait for the one before them, which takes hours at times; to mark hundreds of them
        # as late keeps SQLite locked for a minute.
        "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "3600",
        "DO_NOT_TRACK": "1",
    }
    if place.database_url is not None:
        # Prefect wants the name of an asynchronous driver in it.
        driver = place.database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = driver
    return environment


def client_environment(place: Place, home: Path) -> dict[str, str]:
    """Variables of what speaks to it."""
    environment = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{place.url}/api",
        "PREFECT_RUNNER_POLL_FREQUENCY": "5",
        "TOKGRAFT_CONFIGS": str(place.configs),
        "DO_NOT_TRACK": "1",
    }
    if auth := os.environ.get(SERVER_AUTH):
        environment[CLIENT_AUTH] = auth
    return environment


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return without_credentials(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
