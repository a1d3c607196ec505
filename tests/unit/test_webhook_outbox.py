"""Deliveries on disk: once each, there after a restart, many in one commit."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.webhook.group_commit import GroupCommit
from infra.webhook.outbox import Outbox, OutboxError
from infra.webhook.payload import Delivery


def delivery(number: int, **parameters: object) -> Delivery:
    return Delivery(id=f"delivery-{number:04d}", deployment="a/b", parameters=parameters)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "outbox.sqlite3"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    outbox = Outbox(path)
    yield outbox
    outbox.close()


def test_an_id_is_taken_once_also_after_a_restart(outbox: Outbox, path: Path):
    [(first, is_new)] = outbox.insert([delivery(1, text="\u00e4\U0001f600")])
    assert is_new
    assert (first.state, first.parameters) == ("queued", {"text": "\u00e4\U0001f600"})
    again = Outbox(path)
    [(entry, is_new), (_, other_is_new)] = again.insert([delivery(1, text="other"), delivery(2)])
    assert (entry, is_new, other_is_new) == (first, False, True)
    assert again.find(first.token) == first
    assert again.find(first.id) is None
    again.close()


def test_an_id_twice_in_one_batch_is_one(outbox: Outbox):
    assert [is_new for _, is_new in outbox.insert([delivery(1), delivery(1)])] == [True, False]
    assert outbox.n_queued() == 1


def test_a_delivery_goes_from_queued_to_its_end(outbox: Outbox):
    outbox.insert([delivery(1, x=1), delivery(2), delivery(3)])
    first = outbox.next_queued()
    assert first is not None
    assert first.id == "delivery-0001"
    outbox.dispatched(first, "run-1")
    second = outbox.next_queued()
    assert second is not None
    outbox.postponed(second, "not yet", 3600.0)
    third = outbox.next_queued()
    assert third is not None
    assert third.id == "delivery-0003"
    outbox.failed(third, "never")
    assert outbox.next_queued() is None
    assert outbox.n_queued() == 1
    found = [outbox.find(entry.token) for entry in (first, second, third)]
    assert [(e.state, e.attempts, e.problem, e.flow_run_id, e.parameters) for e in found if e] == [
        ("dispatched", 0, None, "run-1", {}),
        ("queued", 1, "not yet", None, {}),
        ("failed", 1, "never", None, {}),
    ]


def test_what_was_postponed_comes_due(outbox: Outbox):
    [(entry, _)] = outbox.insert([delivery(1)])
    outbox.postponed(entry, "not yet", 0.0)
    assert outbox.next_queued() is not None


def test_a_commit_reaches_the_disk(outbox: Outbox, path: Path):
    assert outbox._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert outbox._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_deliveries_that_come_together_share_commits(outbox: Outbox):
    begun: list[str] = []
    outbox._database.set_trace_callback(
        lambda statement: begun.append(statement) if statement.startswith("BEGIN") else None
    )

    async def insert_all() -> list[bool]:
        commit = GroupCommit(outbox)
        # Every id twice, as when a sender repeats itself at once.
        inserted = await asyncio.gather(*(commit.insert(delivery(n % 50)) for n in range(100)))
        return [is_new for _, is_new in inserted]

    assert sum(asyncio.run(insert_all())) == 50
    assert outbox.n_queued() == 50
    assert len(begun) < 10


def test_all_of_a_batch_hear_that_nothing_was_stored(outbox: Outbox):
    outbox._database.execute("DROP TABLE deliveries")

    async def insert_all() -> list[object]:
        commit = GroupCommit(outbox)
        both = (commit.insert(delivery(n)) for n in range(2))
        return list(await asyncio.gather(*both, return_exceptions=True))

    assert [type(error) for error in asyncio.run(insert_all())] == [OutboxError, OutboxError]


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match="TOKGRAFT_DATA_FOLDER"):
        Outbox(tmp_path / "file" / "outbox.sqlite3")
    (tmp_path / "text").write_text("this is no database" * 100)
    with pytest.raises(OutboxError, match="file is not a database"):
        Outbox(tmp_path / "text")
