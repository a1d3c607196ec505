"""What the receiver asks of whoever runs deployments, and how that may fail."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from infra.errors import InfraError


class ServerAwayError(InfraError, ConnectionError):
    """The server does not answer, or is too busy; anything asked of it now would fail so."""


class NotYetError(InfraError, RuntimeError):
    """This run cannot be made now, and might be later; others may be."""


class RunRefusedError(InfraError, ValueError):
    """This run will never be made as asked for."""


class BadParametersError(InfraError, ValueError):
    """A deployment would not take these parameters; the message says why in one line."""


Check: TypeAlias = Callable[[str, Mapping[str, Any]], None]
"""Takes FLOW/DEPLOYMENT and parameters; raises ``BadParametersError``."""


class Runs(Protocol):
    """Runs of deployments."""

    async def create(self, deployment: str, parameters: dict[str, Any], key: str) -> str:
        """Make the run that stands for ``key``, once, however often this is called.

        Args:
            deployment: FLOW/DEPLOYMENT.
            parameters: over the deployment's own.
            key: idempotency key.

        Returns:
            Id of the run.

        Raises:
            ServerAwayError, NotYetError, RunRefusedError: as they say.
        """
        ...

    async def state(self, run_id: str) -> str:
        """Name of a run's state.

        Raises:
            ServerAwayError, NotYetError, RunRefusedError: as they say.
        """
        ...
