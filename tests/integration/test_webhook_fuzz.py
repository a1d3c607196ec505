"""Whatever is sent, the receiver answers as its OpenAPI document says, and never with a 5xx.

What it took with 202 is in its outbox, and nothing else is.
"""

import http.client
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
from webhook_service import DEPLOYMENT, DESCRIBED, NO_RATE, Webhook, check_shape, delivery, running

from infra.webhook.refusal import Problem
from infra.webhook.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DELIVER = "POST /deliveries"
answered: Counter[int] = Counter()
"""Statuses of what was delivered by the process that runs this."""


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """Prefect is away: all that is taken stays in the outbox."""
    limits = NO_RATE | {"max_body_bytes": 4096}
    webhook = Webhook(tmp_path_factory.mktemp("webhook"), limits=limits)
    with running(webhook):
        yield webhook
        assert "Traceback" not in webhook.log()
        # Another process may have sent them; where they were sent, many came past the signature.
        assert not answered or (answered[401] > 5 and answered[422] > 5), answered


schema = schemathesis.openapi.from_dict(DESCRIBED)


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


@pytest.mark.long
def test_mutated_deliveries(webhook: Webhook):
    """Bytes flipped, cut out and put in; signed, so that they are read."""
    draw = random.Random(0)
    counts: Counter[int] = Counter()
    taken = set(webhook.stored())
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
            assert answer.status_code in (202, 400, 403, 409, 422), answer.text
            said = check_shape(answer.status_code, answer.headers["content-type"], answer.content)
            counts[answer.status_code] += 1
            if answer.status_code == 202:
                taken.add(said["id"])
    assert min(counts[status] for status in (202, 400, 403, 422)) > 20
    assert set(webhook.stored()) == taken


def exchange(port: int, message: bytes) -> tuple[int, str, bytes]:
    """Send bytes as they are; status, content type and body of what comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(message)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.headers["content-type"], answer.read()


def odd_headers(draw: random.Random, good: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers of a delivery of which one is wrong."""
    timestamp, signature = good[TIMESTAMP_HEADER], good[SIGNATURE_HEADER]
    at = draw.randrange(7, len(signature))
    flipped = draw.choice([c for c in "0123456789abcdef" if c != signature[at]])
    garbage = bytes(draw.randrange(256) for _ in range(draw.randint(0, 80)))
    wrong_times = (
        b"", b"0", b"-1", f"+{timestamp}".encode(), f"0{timestamp}".encode(),
        f"{timestamp}.0".encode(), f"{int(timestamp) - 301}".encode(), b"9" * 12, b"9" * 13,
        f"{int(timestamp) + 400}".encode(), hex(int(timestamp)).encode(), b"1e9", b"NaN",
        "".join(chr(0xFF10 + int(digit)) for digit in timestamp).encode(), b"9" * 5000,
        f"{timestamp},{timestamp}".encode(), f"{int(timestamp) + 1}".encode(), garbage,
    )  # fmt: skip
    wrong_signatures = (
        b"", b"sha256=", signature[7:].encode(), signature[:-1].encode(), f"{signature}0".encode(),
        f"sha256={signature[7:].upper()}".encode(), signature.replace("sha256", "sha1").encode(),
        signature.replace("sha256", "none").encode(), f"{signature}, {signature}".encode(),
        (signature[:at] + flipped + signature[at + 1 :]).encode(), b"\xff" * 71, b"0" * 60_000,
        f'"{signature}"'.encode(), signature.replace("=", "\xa0=").encode(), garbage,
    )  # fmt: skip
    if draw.random() < 0.5:
        timestamp, signature = draw.choice(wrong_times), signature.encode()
    else:
        timestamp, signature = timestamp.encode(), draw.choice(wrong_signatures)
    headers = [(TIMESTAMP_HEADER.encode(), timestamp), (SIGNATURE_HEADER.encode(), signature)]
    if draw.random() < 0.1:
        del headers[draw.randrange(2)]
    return headers


def test_odd_headers(webhook: Webhook):
    draw = random.Random(0)
    counts: Counter[int] = Counter()
    before = webhook.stored()
    for number in range(600):
        request = delivery(id=f"header-{number:05d}")
        headers = odd_headers(draw, request.headers)
        if draw.random() < 0.1:
            name = bytes(draw.randrange(33, 127) for _ in range(draw.randint(1, 9)))
            headers.append((name, bytes(draw.randrange(256) for _ in range(20))))
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        length = f"Content-Length: {len(request.body)}\r\n\r\n".encode()
        start = b"POST /deliveries HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        status, kind, content = exchange(webhook.port, start + lines + length + request.body)
        assert status in (400, 401), (lines, content)
        check_shape(status, kind, content)
        counts[status] += 1
    assert min(counts.values()) > 50
    assert webhook.stored() == before


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
        if answer:
            head, _, body = answer.partition(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            assert status in (400, 404, 405), answer
            assert b"content-type: application/problem+json" in head
            Problem.model_validate_json(body)
    assert webhook.deliver(id="after-garbage").status_code == 202
