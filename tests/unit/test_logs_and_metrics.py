"""What a stage tells those who watch, as machines read it."""

import http.server
import io
import json
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from infra.logs import JsonLines, log_place, set_up_logs
from infra.observation import FlowRun, watched_stage
from infra.settings import get_settings


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Records of our loggers as JSON lines, read back."""
    handler = logging.StreamHandler(written := io.StringIO())
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("infra")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_record_says_which_flow_run_stage_and_key(stream: io.StringIO):
    with watched_stage(FlowRun("adapt", "run-1"), "corpus", "abc", cached=False) as watch:
        logging.getLogger("infra.somewhere").warning("line\nbreak %d", 7)
        watch.n_bytes = 5
    logging.getLogger("infra").warning("outside")
    inside, outside = lines(stream)[:-1], lines(stream)[-1]
    assert [record["message"] for record in inside] == [
        "stage started", "line\nbreak 7", "stage finished",
    ]  # fmt: skip
    place = {"flow": "adapt", "run": "run-1", "stage": "corpus", "key": "abc"}
    assert all(place.items() <= record.items() for record in inside)
    assert inside[2]["outcome"] == "ran"
    assert inside[2]["n_bytes"] == 5
    assert {outside[name] for name in place} == {None}
    assert outside["level"] == "WARNING"


def test_a_stage_that_fails_says_how_and_shows_no_secret(stream: io.StringIO):
    with (
        pytest.raises(ValueError, match="no"),
        watched_stage(None, "corpus", "abc", cached=False),
    ):
        raise ValueError("no answer from https://user:S3cret@host/x")
    failed = lines(stream)[-1]
    assert (failed["message"], failed["outcome"]) == ("stage failed", "failed")
    assert "no answer from https://host/x" in failed["error"]
    assert "S3cret" not in stream.getvalue()


def test_nested_places_end_with_their_blocks(stream: io.StringIO):
    with log_place("adapt", "1", "outer", "a"):
        with log_place("adapt", "1", "inner", "b"):
            logging.getLogger("infra").info("deep")
        logging.getLogger("infra").info("back")
    assert [record["stage"] for record in lines(stream)] == ["inner", "outer"]


def test_text_is_the_default_and_sets_nothing_up():
    assert get_settings().log_format == "text"
    assert not set_up_logs()


LABELS = ("flow", "stage", "outcome")


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Every sample of a Prometheus text by its name and label values."""
    return {
        (sample.name, *(sample.labels[n] for n in LABELS if n in sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def metrics_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOKGRAFT_METRICS_FOLDER", str(tmp_path / "metrics"))
    get_settings.cache_clear()
    return tmp_path / "metrics"


def test_a_run_leaves_its_stages_for_the_textfile_collector(metrics_folder: Path):
    run = FlowRun("adapt", "run-2")
    for cached in (False, True, True):
        with watched_stage(run, "measured", "abc", cached=cached) as watch:
            watch.n_bytes = 0 if cached else 1000
    with pytest.raises(KeyError), watched_stage(run, "report", "def", cached=False):
        raise KeyError
    (file,) = metrics_folder.iterdir()
    assert file.name == "tokgraft_adapt.prom"
    found = samples(file.read_text())
    calls = "tokgraft_stage_calls"
    assert found["tokgraft_stage_written_bytes", "adapt", "measured"] == 1000
    assert found[calls, "adapt", "measured", "ran"] == 1
    assert found[calls, "adapt", "measured", "cached"] == 2
    assert found[calls, "adapt", "measured", "failed"] == 0
    assert found[calls, "adapt", "report", "failed"] == 1
    assert 0 <= found["tokgraft_stage_seconds", "adapt", "measured"] < 60
    assert (
        found["tokgraft_run_started_timestamp_seconds", "adapt"]
        <= found["tokgraft_run_last_stage_timestamp_seconds", "adapt"]
    )


def test_a_new_run_starts_from_nothing(metrics_folder: Path):
    for number in ("3", "4"):
        with watched_stage(FlowRun("adapt", number), "corpus", "abc", cached=True):
            pass
    found = samples((metrics_folder / "tokgraft_adapt.prom").read_text())
    assert found["tokgraft_stage_calls", "adapt", "corpus", "cached"] == 1


def test_metrics_that_cannot_be_written_are_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOKGRAFT_METRICS_FOLDER", str(tmp_path / "file" / "metrics"))
    get_settings.cache_clear()
    with watched_stage(FlowRun("adapt", "5"), "corpus", "abc", cached=True):
        pass
    assert "check TOKGRAFT_METRICS_FOLDER" in caplog.text


def test_a_pushgateway_gets_the_same(monkeypatch: pytest.MonkeyPatch):
    received: list[tuple[str, str]] = []

    class Gateway(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            received.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Gateway) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("TOKGRAFT_PUSHGATEWAY", f"127.0.0.1:{server.server_port}")
        get_settings.cache_clear()
        with watched_stage(FlowRun("compare", "6"), "corpus", "abc", cached=True):
            pass
        server.shutdown()
    ((path, body),) = received
    assert path == "/metrics/job/tokgraft_compare"
    assert samples(body)["tokgraft_stage_calls", "compare", "corpus", "cached"] == 1


GATEWAYS = ["localhost:9091", "http://push.example:9091/base", "https://push.example", "[::1]:9091"]


@pytest.mark.parametrize("address", GATEWAYS)
def test_an_address_of_a_pushgateway_is_taken(monkeypatch: pytest.MonkeyPatch, address: str):
    monkeypatch.setenv("TOKGRAFT_PUSHGATEWAY", address)
    get_settings.cache_clear()
    assert get_settings().pushgateway == address


@pytest.mark.parametrize(
    "address",
    ["localhost:abc", "localhost:99999", ":9091", "", "ftp://push:9091", "http://", "a b:1", "h:0"],
)
def test_an_address_that_leads_nowhere_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, address: str
):
    monkeypatch.setenv("TOKGRAFT_PUSHGATEWAY", address)
    get_settings.cache_clear()
    with pytest.raises(ValidationError, match="is no address of a server; give host:port"):
        get_settings()


def test_a_gateway_that_speaks_no_http_hides_no_error_of_the_stage(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"220 mail.example ESMTP\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        monkeypatch.setenv("TOKGRAFT_PUSHGATEWAY", f"127.0.0.1:{server.getsockname()[1]}")
        get_settings.cache_clear()
        failing = watched_stage(FlowRun("adapt", "7"), "corpus", "abc", cached=False)
        with pytest.raises(KeyError, match="the stage's own"), failing:
            raise KeyError("the stage's own")
        thread.join()
    assert "check TOKGRAFT_METRICS_FOLDER and TOKGRAFT_PUSHGATEWAY" in caplog.text
