"""Who may reach the server of `tokgraft up`."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from flows.prefect_api import CLIENT_AUTH, SERVER_AUTH
from flows.run_config import RunConfigError
from flows.up import up
from flows.up_place import (
    OpenServerError,
    Place,
    UpError,
    allow_list_of,
    check_place,
    client_environment,
    server_environment,
)
from flows.up_state import PortTakenError, bound
from infra.settings import WEBHOOK_SECRET
from infra.webhook.signing_keys import SigningKeyError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv(SERVER_AUTH, raising=False)
    return Place("127.0.0.1", 4200, None, tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_alone_needs_no_password(place: Place, host: str):
    check_place(replace(place, host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "server.example"])
def test_what_others_reach_is_refused_without_a_password(
    place: Place, host: str, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(OpenServerError, match=f"set {SERVER_AUTH}=NAME:PASSWORD"):
        check_place(replace(place, host=host))
    monkeypatch.setenv(SERVER_AUTH, "")
    with pytest.raises(OpenServerError):
        check_place(replace(place, host=host))
    monkeypatch.setenv(SERVER_AUTH, "somebody:something")
    check_place(replace(place, host=host))


@pytest.fixture
def hook(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv(WEBHOOK_SECRET, "It is a secret of 32 characters.")
    (tmp_path / "allow.yaml").write_text("deployments: {adapt/tokgraft: {}}")
    return replace(place, webhook=(tmp_path / "allow.yaml", 4280))


def test_a_webhook_that_could_not_start_is_refused_before_the_server_starts(
    hook: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    check_place(hook)
    with pytest.raises(UpError, match="--port and --webhook-port are both 4280"):
        check_place(replace(hook, port=4280))
    (tmp_path / "allow.yaml").write_text("deployments: {adapt: {}}")
    with pytest.raises(RunConfigError, match="names no deployment"):
        check_place(hook)
    (tmp_path / "allow.yaml").write_text("deployments: {adapt/tokgraft: {}}")
    monkeypatch.delenv(WEBHOOK_SECRET)
    with pytest.raises(SigningKeyError, match=f"{WEBHOOK_SECRET} is not set"):
        check_place(hook)


def test_a_webhook_port_that_is_taken_is_said_before_the_server_starts(hook: Place):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert hook.webhook is not None
        place = replace(hook, port=port, webhook=(hook.webhook[0], taken))
        with pytest.raises(PortTakenError, match=f"127.0.0.1:{taken} .* with --webhook-port"):
            up(place, lambda *_: None)


def test_webhooks_are_received_where_there_are_a_secret_and_an_allow_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TOKGRAFT_WEBHOOK_SECRET", raising=False)
    path = tmp_path / "webhook" / "allow_list.yaml"
    path.parent.mkdir()
    path.write_text("deployments: {}")
    assert allow_list_of(tmp_path) is None
    monkeypatch.setenv("TOKGRAFT_WEBHOOK_SECRET", "s" * 40)
    assert allow_list_of(tmp_path) == path
    path.unlink()
    assert allow_list_of(tmp_path) is None


def test_its_own_worker_has_the_password(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert CLIENT_AUTH not in client_environment(place, tmp_path)
    monkeypatch.setenv(SERVER_AUTH, "somebody:something")
    assert client_environment(place, tmp_path)[CLIENT_AUTH] == "somebody:something"


def test_the_password_of_the_database_is_shown_to_nobody(place: Place, tmp_path: Path):
    on_postgres = replace(place, database_url="postgresql://prefect:s3cret@db:5432/prefect")
    assert on_postgres.records == "postgresql://db:5432/prefect"
    told = server_environment(on_postgres, tmp_path)["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert told == "postgresql+asyncpg://prefect:s3cret@db:5432/prefect"
    assert "s3cret" not in str(client_environment(on_postgres, tmp_path))
    in_query = replace(place, database_url="postgresql://db/prefect?user=a&password=s3cret")
    assert in_query.records == "postgresql://db/prefect?user=a&password=..."


def test_an_answer_over_a_connection_that_is_kept_goes_out_at_once():
    async def sends_at_once() -> bool:
        taken: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

        def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            taken.set_result(writer)

        listening = bound("127.0.0.1", 0, "http://127.0.0.1:9")
        async with await asyncio.start_server(take, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            theirs = await taken
            accepted = theirs.get_extra_info("socket")
            is_set = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for end in (theirs, writer):
                end.close()
                await end.wait_closed()
            return bool(is_set)

    assert asyncio.run(sends_at_once())
