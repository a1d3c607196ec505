"""Make a run of every delivery: none lost, none doubled.

A delivery stays queued until its run is known to exist. If the process ends between the two, the
run is asked for again under the same key, and the server gives the one it has.
"""

import asyncio
import contextlib
import logging
import time

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from infra.webhook.outbox import Entry, Outbox, OutboxError
from infra.webhook.runs import NotYetError, RunRefusedError, Runs, ServerAwayError

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0
KEPT_DAYS = 30.0
"""How long the outbox remembers what ended, and refuses its id.

A recorded delivery is refused by its timestamp after minutes. Who signs an id anew after this time
gets 202 again, and no second run as long as Prefect has the first, whose key the id is.
"""
_FORGET_SECONDS = 3600.0


class Dispatcher:
    """Takes queued deliveries, the longest waiting first, one at a time.

    Args:
        outbox: where they are.
        runs: who makes runs of them.
    """

    def __init__(self, outbox: Outbox, runs: Runs) -> None:
        self._outbox = outbox
        self._runs = runs
        self._wake = asyncio.Event()
        self.problem: str | None = None
        """Why nothing can be dispatched now."""

    def wake(self) -> None:
        """Say that there may be something new."""
        self._wake.set()

    async def work(self) -> None:
        """Dispatch until cancelled."""
        forget_at = 0.0
        while True:
            self._wake.clear()
            try:
                if time.monotonic() >= forget_at:
                    forget_at = time.monotonic() + _FORGET_SECONDS
                    await asyncio.to_thread(self._outbox.forget, KEPT_DAYS)
                while entry := await asyncio.to_thread(self._outbox.next_queued):
                    await self._dispatch(entry)
            except OutboxError as error:  # nothing is lost: what is not noted is asked again
                self.problem = str(error)
                _LOG.error("again in %.0f s: %s", _LONGEST_WAIT_SECONDS, error)
                await asyncio.sleep(_LONGEST_WAIT_SECONDS)
            except Exception as error:  # whatever it is, the next delivery may fare better
                self.problem = _unforeseen(error)
                _LOG.exception("again in %.0f s", _LONGEST_WAIT_SECONDS)
                await asyncio.sleep(_LONGEST_WAIT_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):  # what was postponed comes due unsaid
                    await self._wake.wait()

    async def _dispatch(self, entry: Entry) -> None:
        try:
            run_id = await self._create(entry)
        except RunRefusedError as error:
            self.problem = None
            _LOG.error("delivery %s failed: %s", entry.id, error)
            await asyncio.to_thread(self._outbox.failed, entry, str(error))
        except NotYetError as error:
            self.problem = None
            _LOG.warning("delivery %s waits: %s", entry.id, error)
            await self._postpone(entry, str(error))
        except Exception as error:
            self.problem = _unforeseen(error)
            _LOG.exception("delivery %s waits", entry.id)
            await self._postpone(entry, self.problem)
        else:
            self.problem = None
            _LOG.info("delivery %s is run %s", entry.id, run_id)
            await asyncio.to_thread(self._outbox.dispatched, entry, run_id)

    async def _postpone(self, entry: Entry, problem: str) -> None:
        # The exponent is bounded too: a float ends at 2 ** 1023.
        seconds = min(_LONGEST_WAIT_SECONDS, 2.0 ** min(entry.attempts, 10))
        await asyncio.to_thread(self._outbox.postponed, entry, problem, seconds)

    async def _create(self, entry: Entry) -> str:
        """Ask until the server answers: as long as it is away, no other delivery fares better."""
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(ServerAwayError),
            wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT_SECONDS),
            before_sleep=self._note_problem,
        )
        return await attempts(self._runs.create, entry.deployment, entry.parameters, entry.id)

    def _note_problem(self, call: RetryCallState) -> None:
        assert call.outcome is not None
        assert call.next_action is not None
        self.problem = str(call.outcome.exception())
        _LOG.warning("again in %.1f s: %s", call.next_action.sleep, self.problem)


def _unforeseen(error: Exception) -> str:
    """Its text may hold an address or a parameter: the log has that."""
    return (
        f"the receiver failed at making a run ({type(error).__name__}) and tries again; its log "
        "has the whole error, report it there if it stays."
    )
