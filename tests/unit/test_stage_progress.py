"""Progress is shown where there is somebody to show it to, and ends no work where there is not."""

import logging

import pytest
from one_answer import answering
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from infra.stages import StageCall
from tasks.shared.run_options import Display, RunOptions
from tasks.shared.task import _Reporter


class Seen(Display):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def progress(self, stage: str, done: int | float, total: int | float, text: str) -> None:
        self.texts.append(f"{stage} {done}/{total} {text}")


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow")
def test_a_prefect_server_that_went_away_ends_no_stage(caplog: pytest.LogCaptureFixture):
    seen = Seen()
    call = StageCall("numbers", 1, 0, ())
    report = _Reporter(call.stage, RunOptions(display=seen), in_flow=True)
    nobody = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(nobody), caplog.at_level(logging.WARNING):
        report(1, 2, "half done")
    assert seen.texts == ["numbers 1/2 half done"]
    assert "does not take the progress of numbers" in caplog.text


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow")
def test_a_stage_does_not_wait_for_a_server_that_is_busy(caplog: pytest.LogCaptureFixture):
    asked = list[str]()
    report = _Reporter("numbers", RunOptions(), in_flow=True)
    with answering(503, b"{}", asked=asked) as url, temporary_settings({PREFECT_API_URL: url}):
        report(1, 2, "half done")
        report(2, 2, "done")  # too soon to be told again
    assert [question.split()[0] for question in asked].count("POST") <= 1
    assert len(asked) <= 2  # Prefect's client asks for a token before it sends
    assert caplog.text.count("does not take the progress of numbers") == 1
