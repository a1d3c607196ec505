"""The base of every stage config, and what of it enters a key."""

from pathlib import PurePath
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, model_validator

from infra.credentials import REMEDY, has_credentials


class _Place:
    """Marks a field that says where something lies, not what it is."""


PLACE: Final = _Place()
"""``Annotated[str, PLACE]`` keeps a field out of the keys of all stages but locks.

What lies there enters keys by its sha256, so moving a file or a bucket keeps the cache.
"""


class StageConfig(BaseModel):
    """Choices that change a stage's output: immutable, and a typo is an error.

    Place, hardware and retries are no choices of this kind; they live in ``infra.settings`` and
    never enter a key.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    @model_validator(mode="after")
    def _addresses_without_credentials(self) -> "StageConfig":
        for name in type(self).model_fields:
            value = getattr(self, name)
            for text in value if isinstance(value, tuple) else (value,):
                if isinstance(text, str) and has_credentials(text):
                    raise ValueError(
                        f"the address in {name} carries a user, a password or a signature; {REMEDY}"
                    )
        return self


def key_view(value: Any, *, keep_places: bool = False) -> Any:
    """JSON values of a config as they enter a key.

    Args:
        value: a config, or anything inside one.
        keep_places: also fields marked ``PLACE``; a lock is found by where it looks.

    Returns:
        The same with plain mappings and lists; what has no exact form in JSON is left as it is,
        for the key to refuse.
    """
    if isinstance(value, BaseModel):
        return {
            name: key_view(getattr(value, name), keep_places=keep_places)
            for name, field in type(value).model_fields.items()
            if keep_places or PLACE not in field.metadata
        }
    if isinstance(value, dict):
        return {str(k): key_view(v, keep_places=keep_places) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [key_view(item, keep_places=keep_places) for item in value]
    return str(value) if isinstance(value, PurePath) else value
