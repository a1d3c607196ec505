"""What the receiver answers when all is well."""

from datetime import UTC, datetime

from pydantic import BaseModel, Field

from infra.webhook.outbox import Entry, State


class Accepted(BaseModel):
    """A delivery is stored and will become a run."""

    id: str = Field(description="Id of the delivery, as it was sent.")
    status_url: str = Field(description="What became of it; whoever has this address may look.")


class FlowRun(BaseModel):
    """The run that a delivery became."""

    id: str = Field(description="Its id in Prefect.")
    state: str | None = Field(
        description="Its state there, such as Scheduled, Running, Completed, Failed or Cancelled; "
        "null where Prefect does not answer."
    )


class DeliveryStatus(BaseModel):
    """What became of a delivery."""

    id: str = Field(description="Id of the delivery.")
    deployment: str = Field(description="What it asked for.")
    state: State = Field(
        description="queued: the run will be made; dispatched: it is made; failed: never will be."
    )
    received: str = Field(description="When it came, ISO 8601, UTC.")
    attempts: int = Field(description="Times that Prefect was asked for the run in vain.")
    problem: str | None = Field(description="What stands in the way, or why it failed.")
    flow_run: FlowRun | None = Field(description="Its run.")


class Health(BaseModel):
    """How the receiver is."""

    queued: int = Field(description="Deliveries whose run is not made yet.")
    problem: str | None = Field(description="Why runs cannot be made now.")


def delivery_status(entry: Entry, run_state: str | None, problem: str | None) -> DeliveryStatus:
    """The status of an entry.

    Args:
        entry: of the outbox.
        run_state: of its run, where that is known.
        problem: that keeps all deliveries waiting.
    """
    run = None
    if entry.flow_run_id is not None:
        run = FlowRun(id=entry.flow_run_id, state=run_state)
    return DeliveryStatus(
        id=entry.id,
        deployment=entry.deployment,
        state=entry.state,
        received=datetime.fromtimestamp(entry.received, UTC).isoformat(timespec="milliseconds"),
        attempts=entry.attempts,
        problem=entry.problem or (problem if entry.state == "queued" else None),
        flow_run=run,
    )
