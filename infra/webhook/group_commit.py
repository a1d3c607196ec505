"""Many deliveries, one commit: those that come while the disk is busy share the next write.

A commit waits for the disk (5 ms on a common SSD), which 100 at once would do one after the other.
"""

import asyncio

from infra.webhook.outbox import Entry, Outbox
from infra.webhook.payload import Delivery


class GroupCommit:
    """Inserts into an outbox from many tasks of one event loop."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._waiting: list[tuple[Delivery, asyncio.Future[tuple[Entry, bool]]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def insert(self, delivery: Delivery) -> tuple[Entry, bool]:
        """Store one; on return it is on disk. See ``Outbox.insert``.

        Raises:
            OutboxError: it was not stored.
        """
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((delivery, stored))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        # Shielded: a client that goes away must not cancel what others wait for.
        return await asyncio.shield(stored)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                entries = await asyncio.to_thread(self._outbox.insert, [d for d, _ in batch])
            except Exception as error:
                for _, stored in batch:
                    stored.set_exception(error)
            else:
                for (_, stored), entry in zip(batch, entries, strict=True):
                    stored.set_result(entry)
