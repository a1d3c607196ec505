"""What may be asked for: deployments, and for each the parameters with their JSON types."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from infra.credentials import without_credentials
from infra.webhook.payload import Delivery
from infra.webhook.refusal import RefusedError

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Parameter(_Record):
    """Values that one parameter may have."""

    type: Literal["string", "integer", "number", "boolean", "array", "object"]
    """JSON type."""
    choices: tuple[str, ...] = ()
    """Of a string: the values allowed; none allows all."""

    @model_validator(mode="after")
    def _fits_its_type(self) -> "Parameter":
        if self.choices and self.type != "string":
            raise ValueError(f"choices are for strings, and this is of type {self.type}")
        return self


def _written_out(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


class AllowedDeployment(_Record):
    """Parameters that a delivery may give; the deployment's own values stand for the others."""

    parameters: dict[str, Annotated[Parameter, BeforeValidator(_written_out)]] = Field(
        default_factory=dict
    )
    """By name: a JSON type, or a type with choices."""


class AllowList(_Record):
    """Everything a webhook receiver does not refuse, read from one YAML file."""

    deployments: dict[str, AllowedDeployment] = Field(min_length=1)
    """By FLOW/DEPLOYMENT."""
    max_body_bytes: int = Field(default=262_144, ge=1, le=16 * 2**20)
    """Longest body that is read."""
    requests_per_second: float = Field(default=10.0, gt=0)
    """Requests of one client address that are answered in the long run."""
    burst: int = Field(default=300, ge=1)
    """Requests of one client address that are answered at once."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s/]+(/[^\s]*[^\s/])?$")
    """Address that senders use, where it is not the one bound, as behind a proxy."""

    @field_validator("deployments")
    @classmethod
    def _are_flow_and_deployment(
        cls, deployments: dict[str, AllowedDeployment]
    ) -> dict[str, AllowedDeployment]:
        for name in deployments:
            flow, slash, deployment = name.partition("/")
            if not (flow and slash and deployment) or "/" in deployment:
                raise ValueError(
                    f"{name!r} names no deployment; write FLOW/DEPLOYMENT, as adapt/tokgraft"
                )
        return deployments

    def check(self, delivery: Delivery) -> None:
        """Accept a delivery that asks for what is allowed.

        Raises:
            RefusedError: deployment or parameter is not on the list, or a value is wrong.
        """
        allowed = self.deployments.get(delivery.deployment)
        if allowed is None:
            raise RefusedError(
                403, "deployment not allowed",
                f"{delivery.deployment[:80]!r} may not be run from here; there are "
                f"{', '.join(self.deployments)}.",
            )  # fmt: skip
        for name, value in delivery.parameters.items():
            if name not in allowed.parameters:
                raise RefusedError(
                    422, "parameter not allowed",
                    f"{delivery.deployment} takes no {name[:80]!r} from here; it takes "
                    f"{', '.join(allowed.parameters) or 'no parameters'}.",
                )  # fmt: skip
            _check_value(name, value, allowed.parameters[name])


def _check_value(name: str, value: Any, parameter: Parameter) -> None:
    fits = isinstance(value, _PYTHON_TYPES[parameter.type])
    if not fits or (isinstance(value, bool) and parameter.type != "boolean"):
        raise _bad_value(f"{name} is {_json_type(value)}, and must be of type {parameter.type}.")
    if parameter.choices and value not in parameter.choices:
        choices = ", ".join(parameter.choices)
        came = without_credentials(str(value))[:80]
        raise _bad_value(f"{name} is {came!r}; choose one of {choices}.")


def _bad_value(detail: str) -> RefusedError:
    return RefusedError(422, "bad parameter", detail)


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    # bool is an int for Python, and not for JSON
    order = ("boolean", "string", "integer", "number", "array", "object")
    name = next(name for name in order if isinstance(value, _PYTHON_TYPES[name]))
    return f"of type {name}"
