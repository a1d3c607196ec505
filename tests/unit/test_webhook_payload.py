"""What a delivery may say, before anybody looks up what it asks for."""

import json

import pytest

from infra.webhook.payload import read_delivery
from infra.webhook.refusal import RefusedError

GOOD = {"id": "nightly-0001", "deployment": "adapt/adapt", "parameters": {"config": "german"}}


def test_a_delivery_is_read():
    delivery = read_delivery(json.dumps(GOOD).encode())
    assert (delivery.id, delivery.deployment) == ("nightly-0001", "adapt/adapt")
    assert delivery.parameters == {"config": "german"}
    short = {name: GOOD[name] for name in ("id", "deployment")}
    assert read_delivery(json.dumps(short).encode()).parameters == {}


def with_value(text: str) -> bytes:
    """A delivery whose parameter x is this JSON."""
    return b'{"id":"nightly-0001","deployment":"a/b","parameters":{"x":%s}}' % text.encode()


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "-9223372036854775807",
        "1.5e300",
        '"\\ud83d\\ude00"',
        '"\u00e4\u202e"',
        "[[[]]]",
        "null",
    ],
)
def test_values_that_json_can_carry(text):
    assert read_delivery(with_value(text)).parameters == {"x": json.loads(text)}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b'{"id":"a"} x', "Extra data"),
        (b"\xff\xfe{}", "byte 0 is no UTF-8"),
        (b"[]", "a JSON list, not an object"),
        (b"null", "a JSON NoneType, not an object"),
        (b'{"id":"a","id":"b"}', "a name stands twice"),
        (with_value("NaN"), "NaN is no JSON"),
        (with_value("-Infinity"), "-Infinity is no JSON"),
        (with_value("1e999"), "1e999 is too large"),
        (with_value("9223372036854775808"), "beyond 64 bits"),
        (with_value("1" * 5000), "beyond 64 bits"),
        (with_value('"\\u0000"'), r"U\+0000"),
        (with_value('"\\ud800"'), "half of a surrogate pair"),
        (with_value('{"\\udfff": 1}'), "half of a surrogate pair"),
        (with_value("[" * 60 + "]" * 60), "nested deeper than 50"),
        (with_value("[" * 100_000 + "]" * 100_000), "nested deeper than 50"),
        (with_value('[{"__prefect_kind":"workspace_variable"}]'), "is Prefect's own"),
    ],
)
def test_values_that_it_cannot(body, said):
    with pytest.raises(RefusedError, match=said) as caught:
        read_delivery(body)
    assert caught.value.problem.status == 400


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": None}, "id: Input should be a valid string"),
        ({"id": "short"}, "id: String should match"),
        ({"id": "x" * 129}, "id: String should match"),
        ({"id": "nightly-0001\n"}, "id: String should match"),
        ({"id": "../../../etc"}, "id: String should match"),
        ({"deployment": 7}, "deployment: Input should be a valid string"),
        ({"deployment": "d" * 301}, "deployment: String should have at most 300"),
        ({"parameters": []}, "parameters: Input should be a valid dictionary"),
        ({"idempotency_key": "x"}, "idempotency_key: Extra inputs"),
        ({"line\nend": "x"}, "line end: Extra inputs"),
    ],
)
def test_fields_that_are_wrong(change, said):
    with pytest.raises(RefusedError) as caught:
        read_delivery(json.dumps(GOOD | change).encode())
    assert caught.value.problem.status == 422
    assert said in caught.value.problem.detail
