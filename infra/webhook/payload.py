"""What a delivery says: strict JSON, with nothing in it that a store or server chokes on later."""

import json
import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.webhook.refusal import RefusedError

_MAX_DEPTH = 50
_MAX_INTEGER = 2**63 - 1


class Delivery(BaseModel):
    """Body of a delivery."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{7,127}$",
        description="Unique name of this delivery, chosen by the sender; it stands for one run, "
        "however often it is sent. A UUID, or repository, build and attempt.",
    )
    deployment: str = Field(
        min_length=1, max_length=300, description="Which deployment to run, as FLOW/DEPLOYMENT."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="Parameters of the run, by name."
    )


def read_delivery(body: bytes) -> Delivery:
    """Read a delivery.

    Raises:
        RefusedError: it is no JSON, holds what JSON or Prefect cannot carry, or lacks a field.
    """
    try:
        values = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_each_name_once,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_small_integer,
        )
        _check_carried(values, 1)
    except UnicodeDecodeError as error:
        raise _malformed(f"byte {error.start} is no UTF-8") from None
    except RecursionError:
        raise _malformed(f"it is nested deeper than {_MAX_DEPTH}") from None
    except ValueError as error:  # of json, or of the checks below
        raise _malformed(str(error)) from None
    if not isinstance(values, dict):
        raise _malformed(f"it is a JSON {type(values).__name__}, not an object")
    try:
        return Delivery.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise RefusedError(
            422, "bad delivery",
            f"{problems}. A delivery is an object of id, deployment and parameters; "
            "/openapi.json has its schema.",
        ) from None  # fmt: skip


def _malformed(what: str) -> RefusedError:
    return RefusedError(
        400, "bad JSON", f"the body cannot be read: {what}. Send one JSON object in UTF-8."
    )


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):  # readers differ in which one they take
        raise ValueError("a name stands twice in one object")
    return values


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is too large for a number")
    return value


def _small_integer(text: str) -> int:
    if len(text) > 20 or abs(value := int(text)) > _MAX_INTEGER:
        raise ValueError(f"{text[:40]} is beyond 64 bits")
    return value


def _check_carried(value: Any, depth: int) -> None:
    """Refuse what JSON can write and UTF-8, Postgres or Prefect cannot take as plain data."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text holds the character U+0000")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("a text holds half of a surrogate pair")
    elif isinstance(value, list):
        for item in value:
            _check_carried(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_carried(name, depth + 1)
            # Prefect would look up variables and render templates of the sender's choice.
            if name.startswith("__prefect"):
                raise ValueError(f"the name {name[:40]} is Prefect's own")
            _check_carried(item, depth + 1)
