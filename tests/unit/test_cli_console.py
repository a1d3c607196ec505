"""What a command prints where logs are JSON."""

import logging

import pytest

from flows.cli_console import make_console, make_run_console
from infra.settings import get_settings


@pytest.fixture
def json_logs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TOKGRAFT_LOG_FORMAT", "json")
    get_settings.cache_clear()
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    logging.captureWarnings(False)


@pytest.mark.usefixtures("json_logs")
def test_answers_are_printed_and_the_course_of_a_run_is_left_to_its_records(capsys):
    make_run_console().print("stage 3 of 12")
    make_console().print("Prefect http://127.0.0.1:4200")
    assert capsys.readouterr().out == "Prefect http://127.0.0.1:4200\n"


def test_without_them_both_are_printed(capsys):
    make_run_console().print("stage 3 of 12")
    make_console().print("Prefect http://127.0.0.1:4200")
    assert capsys.readouterr().out == "stage 3 of 12\nPrefect http://127.0.0.1:4200\n"
