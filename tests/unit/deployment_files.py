"""What the files below docker/ would start, as Docker Compose and Kubernetes read them.

No engine is needed: Compose's own program resolves its file, and the rest is YAML.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import compose
import typer
import yaml

from flows.cli import app
from infra.settings import _SECRETS, Settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE = Path(compose.__file__).with_name("docker-compose")
ENTRYPOINT = ["tini", "--", "tokgraft"]
IN_IMAGE = {"/opt/tokgraft/configs": ROOT / "configs"}
"""Folders of the image, and where the build takes them from."""
VALUES = {
    "PREFECT_AUTH": "someone:something",
    "POSTGRES_PASSWORD": "something",
    "S3_ACCESS_KEY": "someone",
    "S3_SECRET_KEY": "something",
    "WEBHOOK_SECRET": "something",
    "RAY_TOKEN_FILE": "/run/token",
}
"""What the Compose file asks for, filled in."""


@dataclass(frozen=True)
class Container:
    """One container: what it runs, with what around it."""

    name: str
    image: str
    arguments: Sequence[str]
    """The whole command line, tini left out."""
    environment: Mapping[str, Any]
    """Values by name; for Kubernetes also references to secrets and settings."""
    given: Mapping[str, Any] = field(hash=False)
    """The rest as the file has it."""

    @property
    def is_ours(self) -> bool:
        return self.image.startswith("tokgraft:")


def resolve(values: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The Compose file with these values in the environment, and nothing else."""
    command = [str(COMPOSE), "--file", str(DOCKER / "compose.yaml"), "config", "--format", "json"]
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        command, env={**clean, **values}, cwd=DOCKER, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


@cache
def composition() -> dict[str, Any]:
    """The resolved Compose file."""
    done = resolve(VALUES)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def compose_containers() -> list[Container]:
    return [
        Container(
            name,
            service["image"],
            _without_tini([*(service["entrypoint"] or ENTRYPOINT), *(service["command"] or [])])
            if service["image"].startswith("tokgraft:")
            else service["command"] or [],
            service.get("environment", {}),
            service,
        )
        for name, service in composition()["services"].items()
    ]


@cache
def manifests() -> dict[str, dict[str, Any]]:
    """Kubernetes objects by kind and name."""
    found = dict[str, dict[str, Any]]()
    for path in sorted((DOCKER / "kubernetes").glob("*.yaml")):
        for one in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            name = one["metadata"].get("name") or one["metadata"]["generateName"]
            found[f"{one['kind']} {name}"] = one
    return found


def pods(of: Any) -> Iterator[dict[str, Any]]:
    """Every pod's spec in an object, however deep."""
    if isinstance(of, dict):
        if "containers" in of:
            yield of
        for below in of.values():
            yield from pods(below)
    elif isinstance(of, list):
        for below in of:
            yield from pods(below)


def kubernetes_containers() -> list[Container]:
    return [
        Container(
            one["name"],
            one["image"],
            _without_tini([*ENTRYPOINT, *one["args"]]) if "args" in one else _ray(one["name"]),
            {each["name"]: each.get("value", each.get("valueFrom")) for each in one.get("env", [])},
            one,
        )
        for manifest in manifests().values()
        for pod in pods(manifest)
        for one in pod["containers"]
    ]  # fmt: skip


def _ray(name: str) -> list[str]:
    """What KubeRay makes of a run's file: the operator writes these command lines."""
    spec = manifests()["RayJob tokgraft-run-"]["spec"]
    cluster = spec["rayClusterSpec"]
    groups = {"ray-head": cluster["headGroupSpec"], "ray-worker": cluster["workerGroupSpecs"][0]}
    if name not in groups:
        return shlex.split(spec["entrypoint"])
    role = "--head" if name == "ray-head" else "--address=head:6379"
    given = groups[name]["rayStartParams"]
    return ["ray", "start", role, *(f"--{option}={value}" for option, value in given.items())]


def _without_tini(command: list[str]) -> list[str]:
    assert command[:2] == ENTRYPOINT[:2]
    return command[2:]


def parse(arguments: Sequence[str]) -> None:
    """Let the program itself read its command line, and do nothing about it."""
    program, *rest = arguments
    if program == "prefect":
        from prefect.cli._app import _app

        _app.parse_args(rest, exit_on_error=False, print_error=False)
        return
    if program == "ray":
        from ray.scripts.scripts import cli as group
    else:
        assert program == "tokgraft", program
        group = typer.main.get_command(app)
    context = group.make_context(program, rest)
    name, command, rest = group.resolve_command(context, rest)
    command.make_context(name, rest, parent=context)


def known_variables() -> set[str]:
    """Names of settings that tokgraft, Prefect, Ray and AWS's library read."""
    from prefect.settings import Settings as PrefectSettings
    from prefect.settings.legacy import _get_settings_fields

    ours = {f"TOKGRAFT_{name.upper()}" for name in Settings.model_fields} | _SECRETS
    aws = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"}
    ray = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_USAGE_STATS_ENABLED"}
    return ours | aws | ray | set(_get_settings_fields(PrefectSettings))
