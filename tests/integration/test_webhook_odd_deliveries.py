"""Deliveries as nobody should send them, under several allow-lists.

None is answered with a 5xx; what is answered with 202 is in the outbox as it was sent, and becomes
a run with these parameters; nothing else is there.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from odd_json import NUMBERS, TEXTS, altered, odd, written
from webhook_service import (
    NO_RATE,
    Prefect,
    Webhook,
    canonical,
    check_shape,
    delivery,
    running,
    wait_for,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CONFIGS = Path(__file__).parents[2] / "configs"
ANY = {
    "text": "string", "flag": "boolean", "size": "number", "count": "integer", "list": "array",
    "map": "object",
}  # fmt: skip
OURS = {"config": "string", "refresh": "boolean", "run": "object"}
CHANGES = {
    "target_bytes": "integer", "tokenizer": "string", "vocabulary_size": "integer",
    "initialiser": "string",
}  # fmt: skip
ALLOW_LISTS: dict[str, dict[str, Any]] = {
    "anything": {"nightly/any": {"parameters": ANY}, "nightly/none": {}},
    "whole runs": {
        "adapt/tokgraft": {"parameters": OURS | CHANGES},
        "compare/tokgraft": {"parameters": OURS | {"target_bytes": "integer"}},
        "evaluate/tokgraft": {"parameters": OURS | {"model": "string"}},
    },
    "odd names": {
        "nächtlich/größe 🙂": {
            "parameters": {
                "größe": {"type": "string", "choices": ["groß", "klein", "ﬀ", "e\u0301"]},
                "": "string", "a b\n": "integer", "__class__": "object", "self": "array",
            }
        }
    },
}  # fmt: skip
FITTING: dict[str, Callable[[random.Random], Any]] = {
    "string": lambda draw: draw.choice(TEXTS),
    "boolean": lambda draw: draw.random() < 0.5,
    "number": lambda draw: draw.choice(NUMBERS),
    "integer": lambda draw: draw.choice([n for n in NUMBERS if isinstance(n, int)]),
    "array": lambda draw: [odd(draw) for _ in range(draw.randint(0, 3))],
    "object": lambda draw: {draw.choice(TEXTS): odd(draw) for _ in range(draw.randint(0, 3))},
}


def odd_delivery(
    draw: random.Random, number: int, deployments: dict[str, Any], runs: dict[str, list[Any]]
) -> str:
    """A delivery, which may be as it should be."""
    name = draw.choice(list(deployments))
    parameters: dict[str, Any] = {}
    for parameter, kind in deployments[name].get("parameters", {}).items():
        if draw.random() < (0.8 if parameter == "run" else 0.3):
            fitting = FITTING[kind if isinstance(kind, str) else kind["type"]]
            parameters[parameter] = fitting(draw) if draw.random() < 0.8 else odd(draw)
            if parameter == "run" and draw.random() < 0.9:
                run = draw.choice(runs["compare" if name.startswith("compare") else "run"])
                parameters[parameter] = altered(draw, run) if draw.random() < 0.5 else run
            if isinstance(kind, dict) and draw.random() < 0.8:
                parameters[parameter] = draw.choice(kind["choices"])
    if "run" in parameters and draw.random() < 0.9:
        parameters.pop("config", None)
    if draw.random() < 0.05:
        parameters[draw.choice(TEXTS)] = odd(draw)
    id_ = f"odd-{number:05d}" if draw.random() < 0.9 else f"odd-{draw.randint(0, number):05d}"
    values = {"id": id_, "deployment": name, "parameters": parameters}
    if draw.random() < 0.1:
        values = altered(draw, values)
    return written(draw, values)


@pytest.fixture(scope="module")
def whole_runs() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"run": [], "compare": []}
    for file in sorted(CONFIGS.glob("*.yaml")):
        found["compare" if file.name.startswith("compare") else "run"].append(
            yaml.safe_load(file.read_text())
        )
    return found


@pytest.mark.parametrize("name", ALLOW_LISTS)
def test_odd_deliveries(name: str, tmp_path: Path, whole_runs: dict[str, list[Any]]):
    deployments = ALLOW_LISTS[name]
    draw = random.Random(0)
    counts: Counter[int] = Counter()
    taken: dict[str, tuple[str, str]] = {}
    limits = NO_RATE | {"deployments": deployments}
    with (
        running(Webhook(tmp_path / "webhook", limits=limits)) as webhook,
        httpx.Client(base_url=webhook.url, timeout=60) as client,
    ):
        for number in range(1500):
            text = odd_delivery(draw, number, deployments, whole_runs)
            request = delivery(body=text.encode("utf-8", "surrogatepass"))
            answer = client.post("/deliveries", content=request.body, headers=request.headers)
            counts[answer.status_code] += 1
            assert answer.status_code < 500, text[:2000]
            said = check_shape(answer.status_code, answer.headers["content-type"], answer.content)
            if answer.status_code == 202:
                sent = json.loads(text)
                assert said["id"] == sent["id"]
                assert said["id"] not in taken
                taken[said["id"]] = (sent["deployment"], canonical(sent.get("parameters", {})))
            elif answer.status_code == 409:
                assert said["id"] in taken
        assert webhook.stored() == taken
        assert "Traceback" not in webhook.log()
    assert set(counts) >= {202, 400, 403, 409, 422}
    assert min(counts[status] for status in (202, 400, 422)) > 100


@pytest.mark.long
def test_what_was_taken_becomes_runs_as_it_was_sent(tmp_path: Path):
    deployments = {"nightly/any": ALLOW_LISTS["anything"]["nightly/any"]}
    draw = random.Random(1)
    taken: dict[str, str] = {}
    (tmp_path / "prefect").mkdir()
    prefect = Prefect(tmp_path / "prefect")
    try:
        prefect.start()
        prefect.deploy("nightly/any", additionalProperties=True)
        limits = NO_RATE | {"deployments": deployments}
        with running(Webhook(tmp_path / "webhook", prefect.url, limits=limits)) as webhook:
            for number in range(150):
                text = odd_delivery(draw, number, deployments, {})
                request = delivery(body=text.encode("utf-8", "surrogatepass"))
                answer = httpx.post(
                    f"{webhook.url}/deliveries", content=request.body, headers=request.headers
                )
                if answer.status_code == 202:
                    taken[answer.json()["id"]] = canonical(json.loads(text).get("parameters", {}))
            wait_for(lambda: webhook.queued() == 0, 900)
        runs = {run["idempotency_key"]: canonical(run["parameters"]) for run in prefect.runs()}
    finally:
        prefect.stop()
    assert len(taken) > 50
    assert runs == taken
