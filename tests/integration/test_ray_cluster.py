"""Training on a Ray cluster that this process does not own: by its token alone, and killed.

The head takes no work and one node does it, as in docker/compose.yaml; both ask for a token.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from pretraining_run import CONFIG

from infra.process_tree import descendants, die_with_parent, end

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(1800)]

SCRIPT = Path(__file__).with_name("pretraining_run.py")
RAY = Path(sys.executable).with_name("ray")


TRAINS = ("ray::RayTrainWorker", "ray::TrainController")
_PATIENCE = 400.0


@dataclass
class Cluster:
    """A head and a node on this machine, and how drivers come to them."""

    folder: Path
    ports: list[int]
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def addresses(self) -> dict[str, str]:
        return {
            "attached": f"127.0.0.1:{self.ports[0]}",
            "client": f"ray://127.0.0.1:{self.ports[1]}",
        }

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.ports[2]}"

    @property
    def key(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "token")}

    def start(self, name: str, *options: str, hide: Path | None = None, **variables: str) -> None:
        """Start `ray start` and wait for it.

        Args:
            name: of its log.
            options: of its command line.
            hide: a folder that it is not to see.
            variables: of its environment.
        """
        command = [str(RAY), "start", "--block", "--disable-usage-stats", *options]
        command.append(f"--temp-dir={self.folder / name}")
        if hide is not None:
            script = 'mount -t tmpfs none "$0" && exec "$@"'
            command = ["unshare", "--mount", "sh", "-c", script, str(hide), *command]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.started[name] = subprocess.Popen(
                command, env=without_token() | self.key | variables, stdout=log, stderr=log,
                preexec_fn=die_with_parent,
            )  # fmt: skip
        wait_for(lambda: "Ray runtime started" in self.says(name), 200, lambda: self.says(name))

    def start_node(self, name: str, hide: Path | None = None, **variables: str) -> None:
        address = f"--address={self.addresses['attached']}"
        self.start(name, address, "--num-cpus=2", hide=hide, **variables)

    def end(self, name: str) -> None:
        process = self.started.pop(name)
        below = descendants(process.pid)
        end(process, 20)
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def says(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def workers(self) -> list[int]:
        """Processes that train."""
        return [pid for pid in descendants(os.getpid()) if _command(pid).startswith(TRAINS)]


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def without_token() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def free_ports(n: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def wait_for(condition, seconds: float, what) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="tg-"))  # short: sockets lie in it
    cluster = Cluster(folder, free_ports(3))
    (folder / "token").write_text(secrets.token_hex(32))
    try:
        head, client, dashboard = map(str, cluster.ports)
        cluster.start(
            "head", "--head", f"--port={head}", f"--ray-client-server-port={client}",
            "--num-cpus=0", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
        )  # fmt: skip
        cluster.start_node("node")
        yield cluster
    finally:
        for name in reversed(list(cluster.started)):
            cluster.end(name)
        shutil.rmtree(folder, ignore_errors=True)


def start(model: Path, store: Path | str, variables: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(model), json.dumps(CONFIG)],
        env=without_token() | {"TOKGRAFT_STORE": str(store)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,
    )


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a driver wrote to either stream; it is not left behind where it takes too long."""
    try:
        return process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def digest_of(process: subprocess.Popen[str]) -> str:
    out, err = ended(process)
    assert process.returncode == 0, err
    return dict(line.split(" ", 1) for line in out.splitlines())["digest"]


def checkpoints(store: Path) -> list[Path]:
    return sorted(store.glob("pretraining/*/checkpoints/*/step-*/manifest.json"))


@pytest.fixture(scope="module")
def digest_of_one_machine(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the same training makes on a Ray of its own."""
    return digest_of(start(tiny_model_folder, tmp_path_factory.mktemp("alone") / "store", {}))


@pytest.mark.parametrize("how", ["attached", "client"])
def test_a_killed_driver_leaves_no_training_behind_and_the_next_one_resumes(
    how: str, cluster: Cluster, tiny_model_folder: Path, tmp_path: Path, digest_of_one_machine: str
):
    store = tmp_path / "store"
    place = cluster.key | {"TOKGRAFT_RAY_ADDRESS": cluster.addresses[how]}
    driver = start(tiny_model_folder, store, place)
    wait_for(
        lambda: checkpoints(store) or driver.poll() is not None, _PATIENCE, lambda: "no checkpoint"
    )
    assert driver.poll() is None, driver.communicate()[1]
    at_work = cluster.workers()
    assert len(at_work) == 2
    driver.kill()
    ended(driver)
    wait_for(lambda: not set(at_work) & set(cluster.workers()), 60, lambda: "it still trains")
    saved = [path.parent.name for path in checkpoints(store)]
    assert saved
    again = start(tiny_model_folder, store, place)
    assert digest_of(again) == digest_of_one_machine


@pytest.mark.parametrize("how", ["attached", "client"])
@pytest.mark.parametrize("token", [None, "f" * 64], ids=["without", "another"])
def test_who_has_not_the_token_is_refused(
    how: str, token: str | None, cluster: Cluster, tiny_model_folder: Path, tmp_path: Path
):
    address = cluster.addresses[how]
    given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {}
    driver = start(
        tiny_model_folder,
        tmp_path / "store",
        {**given, "HOME": str(tmp_path), "TOKGRAFT_RAY_ADDRESS": address},
    )
    _, err = ended(driver)
    assert driver.returncode != 0
    assert f"the Ray cluster of TOKGRAFT_RAY_ADDRESS={address} does not let this process in" in err
    assert "RAY_AUTH_MODE=token" in err
    assert (token or "?") not in err
    assert cluster.workers() == []


def test_jobs_are_for_those_who_have_the_token(cluster: Cluster):
    token = (cluster.folder / "token").read_text()
    jobs = f"{cluster.dashboard}/api/jobs/"
    assert httpx.get(jobs, trust_env=False).status_code == 401
    wrong = {"Authorization": f"Bearer {'f' * 64}"}
    assert httpx.get(jobs, headers=wrong, trust_env=False).status_code in (401, 403)
    right = {"Authorization": f"Bearer {token}"}
    assert httpx.get(jobs, headers=right, trust_env=False).status_code == 200
    # What container health checks ask is open.
    assert httpx.get(f"{cluster.dashboard}/api/gcs_healthz", trust_env=False).status_code == 200


def test_an_address_where_nobody_listens_is_one_error(tiny_model_folder: Path, tmp_path: Path):
    address = f"127.0.0.1:{free_ports(1)[0]}"
    driver = start(tiny_model_folder, tmp_path / "store", {"TOKGRAFT_RAY_ADDRESS": address})
    _, err = ended(driver)
    assert f"TOKGRAFT_RAY_ADDRESS={address} leads to no Ray cluster" in err


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """A store that every node reaches, as variables of whoever reads it."""
    import boto3
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="grafts")
    yield variables
    moto.stop()


@pytest.fixture(scope="module")
def strange_cluster(
    cluster: Cluster, s3: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Cluster:
    """The same cluster with a node that has none of this process's files, as on another machine."""
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("hiding files from a node takes root and unshare")
    cluster.end("node")
    cluster.start_node("strange", hide=tmp_path_factory.getbasetemp(), **s3)
    return cluster


def test_nodes_without_this_machines_files_train_from_the_store(
    strange_cluster: Cluster, s3: dict[str, str], tiny_model_folder: Path, tmp_path: Path,
    digest_of_one_machine: str,
):  # fmt: skip
    address = strange_cluster.addresses["client"]
    place = s3 | strange_cluster.key | {"TOKGRAFT_RAY_ADDRESS": address, "TMPDIR": str(tmp_path)}
    driver = start(tiny_model_folder, "s3://grafts/store", place)
    assert digest_of(driver) == digest_of_one_machine


def test_a_store_that_a_node_does_not_see_is_one_clear_error(
    strange_cluster: Cluster, tiny_model_folder: Path, tmp_path: Path
):
    address = strange_cluster.addresses["client"]
    place = strange_cluster.key | {"TOKGRAFT_RAY_ADDRESS": address, "TMPDIR": str(tmp_path)}
    driver = start(tiny_model_folder, tmp_path / "store", place)
    _, err = ended(driver)
    assert f"the store {tmp_path / 'store'} is a folder of this machine" in err
    assert "set TOKGRAFT_STORE to s3://" in err
