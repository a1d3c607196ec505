"""Where and on what a run works: never part of a key, recorded as provenance.

Every field is read from an environment variable ``TOKGRAFT_<NAME>``.
"""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from infra.credentials import REMEDY, has_credentials
from infra.errors import InfraError

WEBHOOK_SECRET = "TOKGRAFT_WEBHOOK_SECRET"
WEBHOOK_OLD_SECRET = "TOKGRAFT_WEBHOOK_OLD_SECRET"
# Read where they are used: what prints settings, or hands them to workers, never has them.
_SECRETS = {WEBHOOK_SECRET, WEBHOOK_OLD_SECRET}


class Settings(BaseSettings):
    """Place and hardware of this machine."""

    model_config = SettingsConfigDict(
        env_prefix="TOKGRAFT_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    data_folder: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("tokgraft"),
        description="Folder for the default store and the embedded Prefect home.",
    )
    store: str = Field("", description="Artifact store: a folder or s3://bucket/prefix.")
    store_attempts: int = Field(
        8, ge=1, description="Tries of each request to an s3:// store; waits grow from 1 to 20 s."
    )
    store_timeout_seconds: float = Field(
        60.0, gt=0, description="How long an s3:// store may leave a request without an answer."
    )
    cache_dir: Path = Field(
        default_factory=lambda: platformdirs.user_cache_path("tokgraft"),
        description="Downloads and local copies of remote artifacts; may be deleted at any time.",
    )
    cache_bytes: int = Field(
        50_000_000_000,
        ge=0,
        description="Downloads and copies of remote artifacts are kept up to this, together; what "
        "is in use stays.",
    )
    configs: Path = Field(
        Path("configs"), description="Folder of the run files that Prefect's form offers."
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    n_processes: int = Field(0, ge=0, description="Processes for work over shards; 0: all cores.")
    n_threads: int = Field(0, ge=0, description="Torch threads a worker; 0: cores / world_size.")
    world_size: int = Field(1, ge=1, description="Training workers.")
    micro_batch_tokens: int = Field(2048, ge=1, description="Tokens of one forward pass.")
    sharding: Literal["ddp", "fsdp"] = "ddp"
    ray_address: str | None = Field(None, description="Cluster to attach to; none: a local Ray.")
    max_worker_failures: int = Field(2, ge=0, description="Restarts of lost training workers.")
    keep_checkpoints: int = Field(2, ge=1, description="Training checkpoints kept a key.")
    gc_grace_hours: float = Field(24.0, ge=0, description="gc spares everything younger.")

    log_format: Literal["text", "json"] = Field(
        "text", description="What a run says: lines for people, or JSON records on stderr."
    )
    metrics_folder: Path | None = Field(
        None, description="Where node_exporter's textfile collector looks; none: no file."
    )
    pushgateway: str | None = Field(None, description="host:port of a Prometheus Pushgateway.")

    @field_validator("store", "ray_address", "pushgateway")
    @classmethod
    def _without_credentials(cls, address: str | None) -> str | None:
        if address is not None and has_credentials(address):
            raise ValueError(f"the address carries a user, a password or a signature; {REMEDY}")
        return address

    @field_validator("pushgateway")
    @classmethod
    def _is_host_and_port(cls, address: str | None) -> str | None:
        if address is not None and not _leads_to_a_server(address):
            raise ValueError(
                f"{address!r} is no address of a server; give host:port, as localhost:9091, or "
                "http(s)://host:port"
            )
        return address

    @property
    def store_root(self) -> str:
        """The store's root, by default below the user's data folder."""
        return self.store or str(self.data_folder / "store")


def _leads_to_a_server(address: str) -> bool:
    url = address if re.match("https?://", address) else f"http://{address}"
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and not re.search(r"[\s\0]|://.*://", url)
    except ValueError:  # a port that is no number, or too large a one
        return False


class UnknownSettingError(InfraError, ValueError):
    """The environment has a ``TOKGRAFT_`` variable that no setting has."""


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Settings of this process, read once.

    Raises:
        UnknownSettingError: a variable with our prefix means nothing; it names those that do.
    """
    known = {f"TOKGRAFT_{name.upper()}" for name in Settings.model_fields}
    given = {name for name in os.environ if name.upper().startswith("TOKGRAFT_")}
    if unknown := sorted(name for name in given if name.upper() not in known | _SECRETS):
        raise UnknownSettingError(
            f"{', '.join(unknown)} in the environment is no setting; there are "
            f"{', '.join(sorted(known | _SECRETS))}."
        )
    return Settings()  # pyright: ignore[reportCallIssue]
