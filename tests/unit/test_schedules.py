"""When runs begin by themselves: what the file may say."""

import json
from pathlib import Path

import pytest
import yaml
from one_answer import answering

from flows.prefect_api import PrefectApiError, api_at
from flows.run_config import RunConfigError
from flows.schedules import ScheduleError, checked, read_schedules, set_by_command, set_from_file


@pytest.fixture
def write(tmp_path: Path):
    (tmp_path / "german.yaml").write_text("tokenizer: {}\n")
    (tmp_path / "grid.yaml").write_text("tokenizers: {}\n")

    def write(*schedules: dict[str, str]) -> Path:
        (tmp_path / "schedules.yaml").write_text(yaml.safe_dump({"schedules": list(schedules)}))
        return tmp_path

    return write


def test_no_file_means_no_schedules(tmp_path: Path):
    assert read_schedules(tmp_path) == ()


def test_a_schedule_of_each_kind(write):
    first, second = read_schedules(
        write(
            {"config": "german.yaml", "cron": "0 3 * * 1", "timezone": "Europe/Berlin"},
            {"flow": "compare", "config": "grid.yaml", "cron": "30 2 1 * *"},
        )
    )
    assert (first.flow, first.timezone, first.slug("file")) == (
        "adapt", "Europe/Berlin", "file-german",
    )  # fmt: skip
    assert (second.flow, second.timezone) == ("compare", "UTC")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cron": "at three"}, "cron 'at three'"),
        ({"timezone": "Europe/Atlantis"}, "Europe/Atlantis"),
        ({"hour": "3"}, "hour: Extra inputs are not permitted"),
        ({"flow": "train"}, "flow: Input should be 'adapt', 'compare' or 'evaluate'"),
    ],
)
def test_what_is_wrong_with_one_is_named(write, wrong: dict[str, str], said: str):
    folder = write({"config": "german.yaml", "cron": "0 3 * * 1", **wrong})
    with pytest.raises(RunConfigError, match=said) as error:
        read_schedules(folder)
    assert "schedules.yaml" in str(error.value)


def test_a_file_that_is_not_there(write):
    folder = write({"config": "grid.yaml", "cron": "0 3 * * 1"})
    with pytest.raises(ScheduleError, match=r"names grid\.yaml for adapt; .* but german\.yaml"):
        read_schedules(folder)


def test_the_same_file_twice(write):
    daily = {"config": "german.yaml", "cron": "0 3 * * *"}
    with pytest.raises(RunConfigError, match=r"adapt german\.yaml stands twice"):
        read_schedules(write(daily, daily))


def deployed(origin: str) -> bytes:
    standing = {
        "id": "1f7c6a10-0000-4000-8000-000000000001",
        "slug": f"{origin}-german",
        "schedule": {"cron": "0 3 * * 1", "timezone": "UTC"},
    }
    offers = {"properties": {"config": {"enum": ["(none)", "german.yaml"]}}}
    found = {"id": "one", "schedules": [standing], "parameter_openapi_schema": offers}
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    ("origin", "set_anew"), [("command", set_by_command), ("file", set_from_file)]
)
def test_a_change_that_the_server_refuses_leaves_the_schedule_there(origin: str, set_anew):
    """One request that changes it, and not one that deletes and one that may then be refused."""
    asked: list[str] = []
    wanted = checked(flow="adapt", config="german.yaml", cron="0 4 * * 1")
    with (
        answering(200, deployed(origin), writes=422, asked=asked) as url,
        api_at(url) as api,
        pytest.raises(PrefectApiError, match="answers 422"),
    ):
        set_anew(api, "adapt/tokgraft", wanted if origin == "command" else (wanted,))
    changes = [question for question in asked if not question.startswith("GET")]
    assert changes == ["PATCH /api/deployments/one/schedules/1f7c6a10-0000-4000-8000-000000000001"]
