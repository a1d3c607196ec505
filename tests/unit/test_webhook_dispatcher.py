"""Every delivery becomes one run, whatever the server does meanwhile."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.webhook.dispatcher import Dispatcher
from infra.webhook.outbox import Entry, Outbox
from infra.webhook.payload import Delivery
from infra.webhook.runs import NotYetError, RunRefusedError, ServerAwayError


class Server:
    """Stands for Prefect: one run a key; fails first as it is told to, by deployment."""

    def __init__(self, **failures: list[Exception]) -> None:
        self.failures = failures
        self.asked: Counter[str] = Counter()
        self.runs: dict[str, dict[str, Any]] = {}

    async def create(self, deployment: str, parameters: dict[str, Any], key: str) -> str:
        self.asked[key] += 1
        if self.failures.get(deployment):
            raise self.failures[deployment].pop(0)
        self.runs.setdefault(key, parameters)
        return f"run of {key}"

    async def state(self, run_id: str) -> str:
        return "Scheduled"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.sqlite3")
    yield outbox
    outbox.close()


def store(outbox: Outbox, *deployments: str) -> list[Entry]:
    inserted = outbox.insert(
        [
            Delivery(id=f"delivery-{number}", deployment=name, parameters={"n": number})
            for number, name in enumerate(deployments)
        ]
    )
    return [entry for entry, _ in inserted]


def work_until(dispatcher: Dispatcher, done: Callable[[], bool]) -> None:
    async def work() -> None:
        task = asyncio.create_task(dispatcher.work())
        while not done() and not task.done():
            await asyncio.sleep(0.01)
        assert task.cancel()

    asyncio.run(asyncio.wait_for(work(), 60))


def test_each_delivery_becomes_a_run_in_order(outbox: Outbox):
    entries, server = store(outbox, "d", "d", "d"), Server()
    work_until(Dispatcher(outbox, server), lambda: outbox.n_queued() == 0)
    assert list(server.runs) == ["delivery-0", "delivery-1", "delivery-2"]
    assert server.runs["delivery-2"] == {"n": 2}
    found = outbox.find(entries[1].token)
    assert found is not None
    assert (found.state, found.flow_run_id) == ("dispatched", "run of delivery-1")


def test_a_server_that_was_away_gets_all(outbox: Outbox):
    store(outbox, "d", "d")
    server = Server(d=[ServerAwayError("away"), ServerAwayError("still away")])
    dispatcher = Dispatcher(outbox, server)
    problems = set[str | None]()

    def done() -> bool:
        problems.add(dispatcher.problem)
        return outbox.n_queued() == 0

    work_until(dispatcher, done)
    assert server.asked == {"delivery-0": 3, "delivery-1": 1}
    assert "still away" in problems
    assert dispatcher.problem is None


def test_one_that_cannot_be_made_yet_does_not_stop_others(outbox: Outbox):
    store(outbox, "late", "d")
    server = Server(late=[NotYetError("no deployment late")])
    work_until(Dispatcher(outbox, server), lambda: outbox.n_queued() == 0)
    assert list(server.runs) == ["delivery-1", "delivery-0"]
    assert server.asked == {"delivery-0": 2, "delivery-1": 1}


def test_one_that_is_refused_fails_for_good(outbox: Outbox):
    [entry, _] = store(outbox, "bad", "d")
    server = Server(bad=[RunRefusedError("n is no text")])
    work_until(Dispatcher(outbox, server), lambda: outbox.n_queued() == 0)
    found = outbox.find(entry.token)
    assert found is not None
    assert (found.state, found.problem) == ("failed", "n is no text")
    assert list(server.runs) == ["delivery-1"]


def test_a_run_made_and_not_noted_is_not_doubled(outbox: Outbox):
    """As after a kill between the two: the row is queued still, and the run exists."""
    store(outbox, "d")
    server = Server()
    asyncio.run(server.create("d", {"n": 0}, "delivery-0"))
    work_until(Dispatcher(outbox, server), lambda: outbox.n_queued() == 0)
    assert server.asked == {"delivery-0": 2}
    assert len(server.runs) == 1


def test_an_error_that_nobody_foresaw_stops_neither_the_others_nor_the_work(outbox: Outbox):
    [entry, *_] = store(outbox, "odd", "d")
    server = Server(odd=[ValueError("at http://user:secret@host"), KeyError("again")])
    dispatcher = Dispatcher(outbox, server)
    problems, of_entry = set[str | None](), set[str | None]()

    def done() -> bool:
        problems.add(dispatcher.problem)
        of_entry.update([found.problem] if (found := outbox.find(entry.token)) else [])
        return outbox.n_queued() == 0

    work_until(dispatcher, done)
    assert list(server.runs) == ["delivery-1", "delivery-0"]
    assert server.asked == {"delivery-0": 3, "delivery-1": 1}
    # The first is over once the other delivery is a run; the second stands until it is tried again.
    assert any("failed at making a run (KeyError) and tries again" in (p or "") for p in problems)
    assert any("failed at making a run (ValueError)" in (p or "") for p in of_entry)
    assert not any("secret" in (p or "") for p in problems | of_entry)
    assert dispatcher.problem is None
    found = outbox.find(entry.token)
    assert found is not None
    assert (found.state, found.attempts, found.problem) == ("dispatched", 2, None)


def test_one_that_waits_for_days_is_asked_for_still(outbox: Outbox):
    """2 to the power of its attempts is more than a float holds."""
    [entry] = store(outbox, "late")
    outbox._database.execute("UPDATE deliveries SET attempts = 2000")
    server = Server(late=[NotYetError("no deployment late")])
    dispatcher = Dispatcher(outbox, server)

    def asked_again() -> bool:
        found = outbox.find(entry.token)
        assert found is not None
        return found.attempts == 2001 or dispatcher.problem is not None

    work_until(dispatcher, asked_again)
    assert dispatcher.problem is None


def test_a_refused_run_shows_that_the_server_is_back(outbox: Outbox):
    store(outbox, "bad")
    server = Server(bad=[ServerAwayError("away"), RunRefusedError("n is no text")])
    dispatcher = Dispatcher(outbox, server)
    work_until(dispatcher, lambda: outbox.n_queued() == 0)
    assert server.asked == {"delivery-0": 2}
    assert dispatcher.problem is None


def test_what_ended_long_ago_is_forgotten(outbox: Outbox):
    [old, recent, waiting] = store(outbox, "d", "d", "late")
    outbox.dispatched(old, "run-1")
    outbox.dispatched(recent, "run-2")
    for entry, days in ((old, 31), (recent, 29), (waiting, 31)):
        then = time.time() - days * 86_400
        values = (then, entry.id)
        outbox._database.execute("UPDATE deliveries SET received = ? WHERE id = ?", values)
    server = Server(late=[NotYetError("no deployment late")])
    work_until(Dispatcher(outbox, server), lambda: server.asked["delivery-2"] > 0)
    assert outbox.find(old.token) is None
    assert outbox.find(recent.token) is not None
    assert outbox.find(waiting.token) is not None


def test_what_comes_later_is_taken_when_told(outbox: Outbox):
    server = Server()

    async def work() -> None:
        dispatcher = Dispatcher(outbox, server)
        task = asyncio.create_task(dispatcher.work())
        await asyncio.sleep(0.05)
        store(outbox, "d")
        dispatcher.wake()
        while not server.runs:
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(asyncio.wait_for(work(), 60))
