"""Image, Compose file and manifests say nothing that the programs in them would not understand.

None of this starts a container: what can be checked without an engine is checked here.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from deployment_files import (
    DOCKER,
    IN_IMAGE,
    ROOT,
    VALUES,
    Container,
    compose_containers,
    composition,
    known_variables,
    kubernetes_containers,
    manifests,
    parse,
    pods,
    resolve,
)

from flows.up_place import LEASES_ON_DISK

SECRET_NAME = re.compile(r"(PASSWORD|SECRET|AUTH_STRING|SECRET_ACCESS_KEY|ACCESS_KEY_ID|_TOKEN)$")
CONTAINERS = [
    *(pytest.param(one, id=f"compose-{one.name}") for one in compose_containers()),
    *(pytest.param(one, id=f"kubernetes-{one.name}") for one in kubernetes_containers()),
]
OURS = [one for one in CONTAINERS if one.values[0].is_ours]


def services() -> dict[str, Container]:
    return {one.name: one for one in compose_containers()}


@pytest.mark.parametrize("container", OURS)
def test_every_command_line_is_understood_by_its_program(container: Container):
    parse(container.arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["tokgraft", "serv"],
        ["tokgraft", "webhook", "allow_list.yaml", "--prt", "1"],
        ["prefect", "server", "start", "--prt", "1"],
        ["ray", "start", "--hed"],
    ],
)
def test_a_wrong_command_line_would_be_found(arguments: list[str]):
    with pytest.raises(Exception, match=r"No such (command|option)|Unknown option"):
        parse(arguments)


@pytest.mark.parametrize("container", OURS)
def test_every_variable_is_a_setting_of_something_in_the_image(container: Container):
    assert set(container.environment) - known_variables() == set()


@pytest.mark.parametrize("container", CONTAINERS)
def test_images_have_a_version(container: Container):
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", container.image)


def test_versions_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {one.values[0].image for one in OURS}
    assert ours == {f"tokgraft:{project['version']}"}
    assert f"tokgraft:{project['version']} " in (DOCKER / "Dockerfile").read_text()
    run = yaml.safe_load((DOCKER / "kubernetes" / "run.yaml").read_text())
    ray = f"ray=={run['spec']['rayClusterSpec']['rayVersion']} "
    assert ray in (ROOT / "requirements.lock").read_text()


@pytest.mark.parametrize("container", OURS)
def test_files_that_are_named_are_in_the_image(container: Container):
    named = [part for part in [*container.arguments, *container.environment.values()]
             if isinstance(part, str) and part.startswith("/opt/")]  # fmt: skip
    for path in named:
        folder = next(folder for folder in IN_IMAGE if path.startswith(folder))
        assert (IN_IMAGE[folder] / Path(path).relative_to(folder)).exists()
    for folder, source in IN_IMAGE.items():
        assert f"COPY {source.name} {folder}\n" in (DOCKER / "Dockerfile").read_text()
        assert f"!{source.name}" in (ROOT / ".dockerignore").read_text().splitlines()


@pytest.mark.parametrize("missing", VALUES)
def test_without_a_secret_nothing_starts_and_its_name_is_said(missing: str):
    given = {name: value for name, value in VALUES.items() if name != missing}
    done = resolve(given)
    assert done.returncode != 0
    assert f"required variable {missing} is missing a value: set " in done.stderr


def test_the_example_of_the_environment_asks_for_all_and_holds_none():
    lines = (DOCKER / "env.example").read_text().splitlines()
    assert {line for line in lines if line and not line.startswith("#")} == {
        f"{n}=" for n in VALUES
    }
    offered = {line[1:].partition("=")[0] for line in lines if re.match(r"#[A-Z_]+=", line)}
    text = (DOCKER / "compose.yaml").read_text()
    assert offered == set(re.findall(r"\$\{([A-Z_]+):-", text))


def test_no_secret_is_written_in_a_file():
    raw = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"].values()
    given = [entry for one in raw for entry in one.get("environment", {}).items()]
    secret = [(name, value) for name, value in given if SECRET_NAME.search(name)]
    assert len(secret) >= 5
    assert [name for name, value in secret if not value.startswith("${")] == []
    referred = 0
    for container in kubernetes_containers():
        for name, value in container.environment.items():
            if SECRET_NAME.search(name):
                assert value["secretKeyRef"]["name"] in ("tokgraft", "tokgraft-ray")
                referred += 1
    assert referred >= 8


def test_ports_are_published_on_loopback_and_listened_on():
    published = [(n, p) for n, s in composition()["services"].items() for p in s.get("ports", [])]
    assert {(name, port["host_ip"]) for name, port in published} == {
        ("prefect", "127.0.0.1"),
        ("webhook", "127.0.0.1"),
    }
    for name, port in published:
        arguments = services()[name].arguments
        assert arguments[arguments.index("--port") + 1] == str(port["target"]) == port["published"]


def test_health_checks_ask_the_port_that_the_service_listens_on():
    checked = dict[str, str]()
    for name, one in services().items():
        test = one.given.get("healthcheck", {}).get("test", [""])
        if urlsplit(test[-1]).scheme:
            checked[name] = str(urlsplit(test[-1]).port)
            assert re.search(rf"[=\s]{checked[name]}(\s|$)", " ".join(["", *one.arguments]))
    assert set(checked) == {"prefect", "ray-head", "ray-worker", "s3", "webhook"}


def test_addresses_lead_to_services_on_a_shared_network():
    for name, one in services().items():
        for variable in ("PREFECT_API_URL", "TOKGRAFT_RAY_ADDRESS", "AWS_ENDPOINT_URL"):
            if (address := one.environment.get(variable)) is not None:
                to = urlsplit(address)
                assert to.hostname is not None
                there = services()[to.hostname]
                assert str(to.port) in re.split(r"[=\s]", " ".join(there.arguments))
                assert one.given["networks"].keys() & there.given["networks"].keys(), (
                    name,
                    variable,
                )


def test_what_waits_for_another_waits_until_that_one_is_healthy():
    for one in services().values():
        for other, how in one.given.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert services()[other].given["healthcheck"]["test"]


@pytest.mark.parametrize("name", ["ray-head", "ray-worker", "worker"])
def test_what_speaks_to_ray_has_the_token_from_a_file(name: str):
    one = services()[name]
    assert one.environment["RAY_AUTH_MODE"] == "token"
    (secret,) = one.given["secrets"]
    assert one.environment["RAY_AUTH_TOKEN_PATH"] == secret["target"]


@pytest.mark.parametrize("name", sorted(composition()["services"]))
def test_services_have_no_rights_that_they_do_not_need(name: str):
    given = services()[name].given
    assert given["cap_drop"] == ["ALL"]
    assert given["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in given
    if services()[name].is_ours:
        assert given["read_only"] is True
        assert "cap_add" not in given


def test_the_image_is_written_as_a_linter_wants_it():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--failure-threshold", "warning", DOCKER / "Dockerfile"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_image_has_what_its_stages_start():
    """A stage that fetches a model's wheel runs pip, of the environment that it works in."""
    text = (DOCKER / "Dockerfile").read_text()
    assert re.search(r"^pip==\S+ --hash=sha256:", (ROOT / "requirements.lock").read_text(), re.M)
    assert "--require-hashes -r requirements.lock" in text
    # The one that is removed is the base image's, outside of this environment.
    removed = [line for line in text.splitlines() if "pip uninstall" in line]
    assert [line.split()[1:4] for line in removed] == [["python3", "-m", "pip"]]
    assert "/opt/tokgraft/venv/bin:$PATH" in text[text.index("pip uninstall") :]


def test_what_is_large_is_written_to_a_disk():
    """/tmp is memory in some places, and what goes to S3 is written below TMPDIR first."""
    final = (DOCKER / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"\bTMPDIR=/data\b", final)
    for name, one in services().items():
        if one.is_ours:
            mounted = {volume["target"]: volume["type"] for volume in one.given["volumes"]}
            assert mounted["/data"] == "volume", name
    for pod in (pod for one in manifests().values() for pod in pods(one)):
        assert {"name": "data", "emptyDir": {}} in pod["volumes"]


def test_a_restarted_server_knows_whose_turn_it_is():
    prefect = services()["prefect"]
    variable = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
    assert prefect.environment[variable] == LEASES_ON_DISK
    (volume,) = prefect.given["volumes"]
    assert (volume["target"], volume.get("source")) == ("/data", "prefect")  # by name: it is kept
    home = re.search(r"PREFECT_HOME=(\S+)", (DOCKER / "Dockerfile").read_text())
    assert home is not None
    assert home[1].startswith("/data/")


def test_the_image_runs_as_a_numbered_user_from_the_locked_files():
    text = (DOCKER / "Dockerfile").read_text()
    final = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER (\d+):\1$", final, re.M)
    assert not re.search(r"pip install|build-essential|gcc", final)
    assert "pip install --no-deps --require-hashes -r requirements.lock" in text
    for source in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.M):
        for one in source.split():
            assert (ROOT / one).exists()
