"""Who may reach the server of `tokgraft up`."""

from dataclasses import replace
from pathlib import Path

import pytest

from flows.prefect_api import CLIENT_AUTH, SERVER_AUTH
from flows.up_place import (
    OpenServerError,
    Place,
    check_place,
    client_environment,
    server_environment,
)


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
