"""The receiver's interface as an OpenAPI 3.1 document."""

from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from infra.webhook.answers import Accepted, DeliveryStatus, Health
from infra.webhook.dispatcher import KEPT_DAYS
from infra.webhook.payload import Delivery
from infra.webhook.refusal import Problem
from infra.webhook.signature import SIGNATURE_HEADER, TIMESTAMP_HEADER, WINDOW_SECONDS

_INTRODUCTION = (
    f"A delivery is signed: {TIMESTAMP_HEADER} holds whole seconds since 1970, and "
    f"{SIGNATURE_HEADER} holds sha256=HEX, the HMAC-SHA256 of TIMESTAMP.BODY under the shared "
    f"secret. It is accepted within {WINDOW_SECONDS} s, once: its id stands for one run, and "
    "sending it again is safe. Every error is JSON (RFC 9457) that says what to do."
)
_SIGNED = [
    {
        "name": TIMESTAMP_HEADER, "in": "header", "required": True,
        "description": "Whole seconds since 1970, UTC.",
        "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,11}$"},
    },
    {
        "name": SIGNATURE_HEADER, "in": "header", "required": True,
        "description": "HMAC-SHA256 over TIMESTAMP.BODY.",
        "schema": {"type": "string", "pattern": "^sha256=[0-9a-f]{64}$"},
    },
]  # fmt: skip
_TOKEN = {
    "name": "token", "in": "path", "required": True, "description": "As in status_url.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
}  # fmt: skip
_PROBLEMS = {
    400: "The body cannot be read as JSON.",
    401: "The signature does not fit, or is too old.",
    403: "This deployment may not be run from here.",
    404: "No such delivery.",
    408: "The body came too slowly.",
    409: f"This id came in the last {KEPT_DAYS:.0f} days: its run is made once. The answer has "
    "its status_url.",
    413: "The body is too large.",
    422: "A field, a parameter or the run in it is wrong.",
    429: "Too many requests; Retry-After says for how many seconds.",
    503: "Nothing can be stored now, or too much is answered at once: send it again. Or no runs "
    "are made any more: restart it.",
}


def openapi_document(base_url: str) -> dict[str, Any]:
    """The document.

    Args:
        base_url: where senders reach the receiver.
    """
    models = (Delivery, Accepted, DeliveryStatus, Health, Problem)
    _, schemas = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
    )
    deliver = {
        "operationId": "deliver",
        "summary": "Ask for a run.",
        "parameters": _SIGNED,
        "requestBody": {"required": True, "content": _json("Delivery")},
        "responses": {
            "202": {"description": "Stored; its run will be made.", "content": _json("Accepted")},
            **_problems(400, 401, 403, 408, 409, 413, 422, 429, 503),
        },
    }
    status = {
        "operationId": "status",
        "summary": "What became of a delivery.",
        "parameters": [_TOKEN],
        "responses": {
            "200": {"description": "Its status.", "content": _json("DeliveryStatus")},
            **_problems(404, 429, 503),
        },
    }
    health = {
        "operationId": "health",
        "summary": "Whether deliveries are taken.",
        "responses": {
            "200": {"description": "They are.", "content": _json("Health")},
            **_problems(429, 503),
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tokgraft webhook", "version": version("tokgraft"),
            "description": _INTRODUCTION,
        },
        "servers": [{"url": base_url}],
        "paths": {
            "/deliveries": {"post": deliver},
            "/deliveries/{token}": {"get": status},
            "/health": {"get": health},
        },
        "components": {"schemas": schemas["$defs"]},
    }  # fmt: skip


def _json(schema: str, media_type: str = "application/json") -> dict[str, Any]:
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _problems(*statuses: int) -> dict[str, Any]:
    content = _json("Problem", "application/problem+json")
    return {
        str(status): {"description": _PROBLEMS[status], "content": content} for status in statuses
    }
