"""Whatever is sent, the receiver answers as its OpenAPI document says, and never with a 5xx."""

import json
import random
import socket
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from webhook_service import DEPLOYMENT, Webhook, delivery, running

from infra.webhook.openapi import openapi_document

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DELIVER = "POST /deliveries"
answered: Counter[int] = Counter()
"""Statuses of what was delivered by the process that runs this."""
NO_PREFECT = "http://127.0.0.1:9/api"
NO_RATE = {"requests_per_second": 1e6, "burst": 1_000_000, "max_body_bytes": 4096}


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """Prefect is away: all that is taken stays in the outbox."""
    webhook = Webhook(tmp_path_factory.mktemp("webhook"), NO_PREFECT, limits=NO_RATE)
    with running(webhook):
        yield webhook
        assert "Traceback" not in webhook.log()
        # Another process may have sent them; where they were sent, many came past the signature.
        assert not answered or (answered[401] > 5 and answered[422] > 5), answered


schema = schemathesis.openapi.from_dict(openapi_document("http://127.0.0.1"))


@schema.parametrize()
@settings(
    max_examples=300, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_answers_are_as_described(case: schemathesis.Case, webhook: Webhook):
    if isinstance(case.body, dict) and len(str(case.body)) % 2:
        case.body["deployment"] = DEPLOYMENT  # half get past the allow-list's first question
    prepared = requests.Request(**case.as_transport_kwargs(base_url=webhook.url)).prepare()
    body = prepared.body or b""
    body = body if isinstance(body, bytes) else body.encode()
    if len(body) % 5:  # and a fifth has the signature that was made up for it
        prepared.headers.update(delivery(body=body).headers)
    with requests.Session() as session:
        response = session.send(prepared, timeout=60)
    assert response.status_code < 500, response.text
    if case.operation.label == DELIVER:
        answered[response.status_code] += 1
    case.validate_response(
        response,
        checks=[status_code_conformance, content_type_conformance, response_schema_conformance],
    )


def test_mutated_deliveries(webhook: Webhook):
    """Bytes flipped, cut out and put in; signed, so that they are read."""
    draw = random.Random(0)
    counts: Counter[int] = Counter()
    pieces = [
        b"\\ud800",
        b"\0",
        b"\xff",
        b"\xf0\x9f",
        b'"',
        b"{",
        b"[" * 300,
        b"1e400",
        b"NaN",
        b"-",
    ]
    with httpx.Client(base_url=webhook.url, timeout=60) as client:
        for number in range(1500):
            values = {"id": f"mutated-{number}", "deployment": DEPLOYMENT, "parameters": {"n": 1}}
            body = bytearray(json.dumps(values).encode())
            for _ in range(draw.randint(0, 3)):
                at = draw.randrange(len(body))
                piece = draw.choice([b"", bytes([draw.randrange(256)]), draw.choice(pieces)])
                body[at : at + draw.randint(0, 4)] = piece
            request = delivery(body=bytes(body))
            answer = client.post("/deliveries", content=request.body, headers=request.headers)
            assert answer.status_code in (202, 400, 403, 422), answer.text
            assert isinstance(answer.json(), dict)
            counts[answer.status_code] += 1
    assert min(counts.values()) > 20
    assert webhook.queued() >= counts[202]


def test_what_is_no_http(webhook: Webhook):
    draw = random.Random(0)
    starts = [
        b"",
        b"POST /deliveries HTTP/1.1\r\n",
        b"GET /deliveries/\xff HTTP/1.1\r\nHost: x\r\n",
    ]
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", webhook.port), timeout=60) as connection:
            connection.sendall(
                draw.choice(starts) + draw.randbytes(draw.randint(1, 200)) + b"\r\n\r\n"
            )
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        assert not answer or answer.split(b" ", 2)[1][:1] in (b"2", b"4"), answer
    assert webhook.deliver(id="after-garbage").status_code == 202
