"""Each check against the real thing: a disk, a port, an HTTP server, an installed distribution."""

import http.server
import importlib.metadata
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from flows.cli import app
from flows.doctor import check_server
from infra.doctor import storage
from infra.doctor.finding import Finding
from infra.doctor.machine import check_machine, check_versions
from infra.doctor.ray import check_ray
from infra.doctor.storage import check_room, check_storage
from infra.settings import Settings, get_settings


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.about: finding for finding in findings}


def test_a_local_store_is_written_and_left_empty():
    findings = by_name(check_storage(get_settings()))
    assert findings["store"].level == findings["cache"].level == "ok"
    assert "honours conditional writes" in findings["store"].said
    assert [p for p in Path(get_settings().store_root).rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(("name", "about"), [("STORE", "store"), ("CACHE_DIR", "cache")])
def test_a_place_that_cannot_be_written_fails(tmp_path: Path, monkeypatch, name: str, about: str):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(f"TOKGRAFT_{name}", str(tmp_path / "file" / "below"))
    get_settings.cache_clear()
    finding = by_name(check_storage(get_settings()))[about]
    assert finding.level == "fail"
    assert f"TOKGRAFT_{name}" in finding.said + finding.remedy


def test_an_address_of_no_known_kind_fails(monkeypatch):
    monkeypatch.setenv("TOKGRAFT_STORE", "swift9://bucket")
    get_settings.cache_clear()
    assert by_name(check_storage(get_settings()))["store"].level == "fail"


@pytest.mark.parametrize(("least", "level"), [((0, 0), "ok"), ((1e30, 0), "warn")])
def test_room_is_judged_at_the_nearest_folder_there_is(monkeypatch, tmp_path, least, level):
    monkeypatch.setattr(storage, "WARN_FREE_BYTES", least[0])
    monkeypatch.setattr(storage, "FAIL_FREE_BYTES", least[1])
    assert check_room("disk", tmp_path / "not" / "yet", "TMPDIR").level == level


def test_this_machine_is_within_the_bounds_of_the_package():
    findings = by_name(check_machine(get_settings()))
    assert findings["versions"].level == "ok", findings["versions"].said
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert findings["device"].said.startswith(f"{device} (")
    assert "float32" in findings["device"].said


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_was_asked_for_and_is_not_there_fails(monkeypatch):
    monkeypatch.setenv("TOKGRAFT_DEVICE", "cuda")
    get_settings.cache_clear()
    assert by_name(check_machine(get_settings()))["device"].level == "fail"


def test_more_workers_than_cores_are_told(monkeypatch):
    settings = Settings(world_size=100_000)  # pyright: ignore[reportCallIssue]
    assert by_name(check_machine(settings))["cores"].level == "warn"


def test_versions_outside_their_bounds_are_named(tmp_path: Path):
    folder = tmp_path / "made_up-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\nRequires-Python: <3\n"
        "Requires-Dist: numpy<1\nRequires-Dist: not-there-at-all\nRequires-Dist: pydantic>=2\n"
        "Requires-Dist: nor-this; extra == 'more'\n"
    )
    (distribution,) = importlib.metadata.distributions(path=[str(tmp_path)])
    found = [(f.about, f.said.partition(",")[0]) for f in check_versions(distribution)]
    numpy = importlib.metadata.version("numpy")
    assert found[0][0] == "python"
    assert found[1:] == [
        ("versions", f"numpy is {numpy}"), ("versions", "not-there-at-all is not installed"),
    ]  # fmt: skip


@pytest.fixture
def prefect_api(monkeypatch) -> Iterator[dict]:
    """An HTTP server that answers as a Prefect API of some version, with or without a password."""
    state: dict = {"version": importlib.metadata.version("prefect"), "password": None}

    class Api(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            is_open = self.path == "/api/health" or not state["password"]
            self.send_response(200 if is_open or given == state["password"] else 401)
            self.end_headers()
            self.wfile.write(json.dumps(state["version"]).encode())

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        yield state
        server.shutdown()


def test_a_server_that_answers_is_fine(prefect_api: dict):
    assert check_server().level == "ok"


def test_a_server_of_another_version_is_a_warning(prefect_api: dict):
    prefect_api["version"] = "2.20.1"
    assert (check_server().level, check_server().about) == ("warn", "prefect")


def test_a_server_with_a_password_asks_for_it(prefect_api: dict, monkeypatch):
    prefect_api["password"] = "Basic YWRtaW46cHc="  # admin:pw
    assert "set PREFECT_API_AUTH_STRING" in check_server().remedy
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:pw")
    assert check_server().level == "ok"


def test_a_server_that_is_away_fails(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    finding = check_server()
    assert finding.level == "fail"
    assert "correct PREFECT_API_URL" in finding.remedy


def test_a_port_that_speaks_no_http_fails(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:

        def speak() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                connection.recv(1000)

        threading.Thread(target=speak, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{other.getsockname()[1]}/api")
        finding = check_server()
    assert finding.level == "fail"
    assert "(SSH-2.0-OpenSSH_9.2)" in finding.said
    assert "correct PREFECT_API_URL" in finding.remedy


def test_without_one_the_run_starts_its_own(monkeypatch, tmp_path: Path):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert check_server().level == "ok"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOKGRAFT_DATA_FOLDER", str(tmp_path / "file"))
    get_settings.cache_clear()
    assert check_server().level == "fail"


def test_a_cluster_that_is_away_fails():
    settings = Settings(ray_address="127.0.0.1:9")  # pyright: ignore[reportCallIssue]
    finding = check_ray(settings)
    assert finding.level == "fail"
    assert "leads to no Ray cluster" in finding.said


@pytest.mark.slow
def test_the_command_prints_a_line_a_check_and_says_by_its_code_whether_a_run_would_work(
    monkeypatch, tmp_path: Path
):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    fine = CliRunner().invoke(app, ["doctor"])
    assert fine.exit_code == 0, fine.stdout
    named = [line.split()[1] for line in fine.stdout.splitlines()]
    assert {"store", "prefect", "memory", "device", "versions", "ray"} <= set(named)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOKGRAFT_STORE", str(tmp_path / "file" / "store"))
    get_settings.cache_clear()
    broken = CliRunner().invoke(app, ["doctor"])
    assert broken.exit_code == 2
    assert broken.stdout.split()[:2] == ["fail", "store"]
