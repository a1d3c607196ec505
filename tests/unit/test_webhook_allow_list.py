"""What may be asked for, and what is said of anything else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.run_config import RunConfigError, load_config
from flows.webhook_check import check_parameters
from infra.settings import get_settings
from infra.webhook.allow_list import AllowList
from infra.webhook.payload import Delivery
from infra.webhook.refusal import RefusedError
from infra.webhook.runs import BadParametersError

EXAMPLE = Path(__file__).parents[2] / "configs" / "webhook" / "allow_list.yaml"
TYPES = ("string", "integer", "number", "boolean", "array", "object")


def asks(deployment: str, **parameters: Any) -> Delivery:
    return Delivery(id="nightly-0001", deployment=deployment, parameters=parameters)


@pytest.fixture
def allow_list() -> AllowList:
    return AllowList.model_validate(
        {
            "deployments": {
                "adapt/adapt": {
                    "parameters": {
                        **{name: name for name in TYPES},
                        "config": {"type": "string", "choices": ["german", "legal"]},
                    }
                },
                "nightly/plain": {},
            }
        }
    )


def test_what_is_on_the_list_passes(allow_list: AllowList):
    allow_list.check(asks("nightly/plain"))
    allow_list.check(asks("adapt/adapt", config="legal", integer=3, boolean=True))


VALUES = {
    "string": "x", "integer": 1, "number": 0.5, "boolean": False, "array": [1], "object": {"a": 1}
}  # fmt: skip


@pytest.mark.parametrize("wanted", TYPES)
@pytest.mark.parametrize("given", [*TYPES, "null"])
def test_json_types(allow_list: AllowList, wanted: str, given: str):
    delivery = asks("adapt/adapt", **{wanted: VALUES.get(given)})
    if given == wanted or (given, wanted) == ("integer", "number"):
        allow_list.check(delivery)
    else:
        with pytest.raises(RefusedError, match=f"must be of type {wanted}"):
            allow_list.check(delivery)


@pytest.mark.parametrize(
    ("delivery", "status", "said"),
    [
        (asks("other/other"), 403, "'other/other' may not be run from here; there are adapt/adapt"),
        (asks("adapt"), 403, "may not be run"),
        (asks("nightly/plain", x=1), 422, "takes no 'x' from here; it takes no parameters"),
        (asks("adapt/adapt", steps=1), 422, "takes no 'steps' from here; it takes string"),
        (asks("adapt/adapt", config="x"), 422, "config is 'x'; choose one of german, legal"),
        (asks("adapt/adapt", config=["german"]), 422, "config is of type array"),
    ],
)
def test_what_is_not_is_refused(allow_list: AllowList, delivery: Delivery, status: int, said: str):
    with pytest.raises(RefusedError) as caught:
        allow_list.check(delivery)
    assert caught.value.problem.status == status
    assert said in caught.value.problem.detail
    assert "\n" not in caught.value.problem.detail


def configuration(name: str) -> Any:
    return yaml.safe_load((EXAMPLE.parents[1] / f"{name}.yaml").read_text())


def test_a_whole_run_is_checked_as_its_file_is():
    check_parameters("adapt/tokgraft", {"run": configuration("german")})
    check_parameters("compare/tokgraft", {"run": configuration("compare_initialisers")})
    check_parameters("nightly/plain", {"run": {"anything": 1}})
    measured = {k: v for k, v in configuration("german").items() if k != "tokenizer"}
    check_parameters("evaluate/tokgraft", {"run": measured, "model": "/models/one"})


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The receiver has the examples as its run files."""
    monkeypatch.setenv("TOKGRAFT_CONFIGS", str(EXAMPLE.parents[1]))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.usefixtures("offered")
def test_a_file_with_changes_is_checked_as_the_flow_does():
    asked = {"config": "german.yaml", "run": None, "vocabulary_size": 100, "refresh": True}
    check_parameters("adapt/tokgraft", asked)
    check_parameters("compare/tokgraft", {"config": "compare_initialisers.yaml"})
    check_parameters("evaluate/tokgraft", {"config": "german.yaml", "model": "/models/one"})
    check_parameters("adapt/tokgraft", {"config": "of_the_workers_machine.yaml"})


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("deployment", "parameters", "said"),
    [
        ("adapt/tokgraft", {"config": "german.yaml", "vocabulary_size": 0}, "greater than 0"),
        ("adapt/tokgraft", {"config": "german.yaml", "initialiser": "magic"}, "magic"),
        ("adapt/tokgraft", {"config": ["german.yaml"]}, "config: Input should be a valid string"),
        ("adapt/tokgraft", {"config": "german.yaml", "refresh": 1}, "refresh: Input should be a"),
        ("adapt/tokgraft", {"config": "german.yaml", "run": {}}, "choose a file as config, or"),
        ("adapt/tokgraft", {"config": "german.yaml", "model": "x"}, "model: Unexpected keyword"),
        ("adapt/tokgraft", {"config": "compare_initialisers.yaml"}, "no run named compare_init"),
        ("adapt/tokgraft", {"config": "x" * 300}, "300 characters; it is the name of a run file"),
        ("adapt/tokgraft", {"config": "ä" * 200}, "200 characters; it is the name of a run file"),
        ("adapt/tokgraft", {"config": "../german.yaml"}, "without a folder"),
        ("adapt/tokgraft", {}, "choose a file as config, or give a whole run"),
        ("evaluate/tokgraft", {"run": {"model": {}}}, "run: model.source: Field required"),
    ],
)
def test_a_file_with_changes_that_cannot_be_is_refused_in_one_line(
    deployment: str, parameters: dict[str, Any], said: str
):
    with pytest.raises(BadParametersError, match=said) as caught:
        check_parameters(deployment, parameters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("deployment", "run", "said"),
    [
        ("adapt/tokgraft", {}, "run: model: Field required"),
        ("adapt/tokgraft", {"modle": 1}, "modle: Extra inputs are not permitted"),
        ("adapt/tokgraft", configuration("compare_initialisers"), "tokenizers: Extra inputs"),
        ("compare/tokgraft", configuration("german"), "tokenizer: Extra inputs"),
    ],
)
def test_a_run_that_is_none_is_told_so_in_one_line(deployment: str, run: Any, said: str):
    with pytest.raises(BadParametersError, match=said) as caught:
        check_parameters(deployment, {"run": run})
    assert "\n" not in str(caught.value)


def test_the_example_names_run_files_that_there_are():
    allow_list = load_config(EXAMPLE, AllowList)
    for deployment in allow_list.deployments.values():
        for name in deployment.parameters["config"].choices:
            assert (EXAMPLE.parents[1] / name).is_file()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deployments: {}", "at least 1 item"),
        ("deployments: {a/b: {parameters: {x: text}}}", "Input should be 'string', 'integer'"),
        ("deployments: {a/b: {parameters: {x: {type: integer, choices: ['1']}}}}", "are for str"),
        ("deployments: {a/b: {}}\npublic_url: https://x/", "public_url: String should match"),
        ("deployments: {adapt: {}}", "'adapt' names no deployment; write FLOW/DEPLOYMENT"),
        ("deployments: {a/b/c: {}}", "'a/b/c' names no deployment"),
        ("deployments: {/b: {}}", "'/b' names no deployment"),
        ("deployments: {a/b: {}, a/b: {}}", "a/b stands twice"),
        ("deployments: {a/b: {}}\nburst: 0", "burst: Input should be greater"),
    ],
)
def test_a_list_that_is_wrong_is_refused(tmp_path: Path, text: str, said: str):
    file = tmp_path / "allow.yaml"
    file.write_text(text)
    with pytest.raises(RunConfigError, match=said):
        load_config(file, AllowList)
