"""A small chain of real stages: what runs again, what does not, what a plan says."""

from collections.abc import Iterator
from typing import Annotated

import pytest

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.errors import UnserialisableError
from infra.stages import settings_store
from tasks.shared.config import PLACE, StageConfig
from tasks.shared.run_options import (
    Refresh,
    RunOptions,
    UnknownStageError,
    once_a_run,
    run_options,
)
from tasks.shared.task import stage


class Words(StageConfig):
    text: str = "a b c"
    path: Annotated[str, PLACE] = "here"


ran: list[str] = []
outside = {"text": "first"}


@stage(name="look", version=1, refresh=lambda config: "always")
def look(attempt: Attempt, config: Words) -> Summary:
    ran.append("look")
    (attempt.folder / "seen.txt").write_text(outside["text"])
    return {}


@stage(name="upper", version=1)
def upper(attempt: Attempt, config: Words, seen: Artifact) -> Summary:
    ran.append("upper")
    text = (open_artifact(seen) / "seen.txt").read_text() + config.text
    (attempt.folder / "text.txt").write_text(text.upper())
    return {"n_characters": len(text)}


@stage(name="count", version=1)
def count(attempt: Attempt, config: Words, text: Artifact) -> Summary:
    ran.append("count")
    words = (open_artifact(text) / "text.txt").read_text().split()
    (attempt.folder / "count.txt").write_text(str(len(words)))
    return {"n_words": len(words)}


def path(upper_config: Words, count_config: Words) -> Artifact:
    return count(count_config, upper(upper_config, look(Words())))


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    ran.clear()
    outside["text"] = "first"
    token = run_options.set(RunOptions())
    yield
    run_options.reset(token)


def run(**options) -> tuple[list[str], Artifact]:
    ran.clear()
    run_options.set(RunOptions(**options))
    artifact = path(Words(), Words())
    return list(ran), artifact


def test_a_second_run_only_looks_outside():
    assert run()[0] == ["look", "upper", "count"]
    assert run()[0] == ["look"]


@pytest.mark.parametrize(("when", "is_new"), [("if_missing", True), ("never", False)])
def test_a_run_that_looks_again_looks_at_all_but_what_is_pinned(when: Refresh, is_new: bool):
    @stage(name=f"look_{when}", version=1, refresh=lambda config: when)
    def once(attempt: Attempt, config: Words) -> Summary:
        (attempt.folder / "seen.txt").write_text(outside["text"])
        return {}

    first = once(Words())
    outside["text"] = "second"
    assert once(Words()) == first
    run_options.set(RunOptions(look_again=True))
    assert (once(Words()).digest != first.digest) == is_new


def test_what_lies_outside_changes_what_follows_and_its_first_state_is_still_there():
    _, first = run()
    outside["text"] = "second"
    assert run()[0] == ["look", "upper", "count"]
    outside["text"] = "first"
    ran_again, again = run()
    assert (ran_again, again.digest) == (["look"], first.digest)


def test_a_changed_choice_runs_what_follows_and_nothing_else():
    run()
    ran.clear()
    path(Words(), Words(text="other"))
    assert ran == ["look", "count"]


def test_a_place_is_no_choice():
    run()
    ran.clear()
    path(Words(path="there"), Words())
    assert ran == ["look"]


def test_force_makes_a_new_generation_and_stops_where_nothing_changed():
    _, first = run()
    ran_forced, forced = run(force=frozenset({"upper"}))
    assert ran_forced == ["look", "upper"]
    assert forced == first
    folders = settings_store().children("upper")
    names = settings_store().children(f"upper/{folders[0]}")
    assert [n for n in names if n.startswith("current")] == ["current-1.json", "current-2.json"]


def test_force_from_runs_all_that_depends_on_it():
    run()
    assert run(force_from="upper")[0] == ["look", "upper", "count"]
    assert run()[0] == ["look"]


def test_force_beside_force_from_still_runs_one_stage_alone():
    run()
    assert run(force=frozenset({"upper"}), force_from="count")[0] == ["look", "upper", "count"]
    run(force=frozenset({"look"}), force_from="count")
    assert ran == ["look", "count"]


def test_within_once_a_run_a_stage_is_asked_once_also_if_forced_or_looking_outside():
    run_options.set(RunOptions(force=frozenset({"upper"})))
    with once_a_run():
        first = path(Words(), Words())
        outside["text"] = "second"
        assert path(Words(), Words()) == first
        assert path(Words(), Words(text="other")) != first
    assert ran == ["look", "upper", "count", "count"]
    path(Words(), Words())
    assert ran[4:] == ["look", "upper", "count"]


def test_a_choice_without_an_exact_form_is_refused():
    class Odd(StageConfig):
        names: frozenset[str] = frozenset({"a", "b"})

    with pytest.raises(UnserialisableError, match="cannot make a key"):
        count(Odd(), look(Words()))  # pyright: ignore[reportArgumentType]


def test_a_plan_runs_nothing_and_says_what_would():
    def planned(**options):
        run_options.set(RunOptions(plan_only=True, **options))
        path(Words(), Words())
        lines = run_options.get().planned
        return [(line.stage, line.outcome, line.key is not None) for line in lines]

    assert planned() == [
        ("look", "cached", True), ("upper", "run", True), ("count", "depends", False),
    ]  # fmt: skip
    run()
    assert [line[1] for line in planned()] == ["cached", "cached", "cached"]
    assert [line[1] for line in planned(force=frozenset({"upper"}))] == [
        "cached", "run", "depends",
    ]  # fmt: skip
    assert "count" not in ran[3:]


def test_an_unknown_stage_to_force_is_named_with_those_there_are():
    with pytest.raises(UnknownStageError, match=r"no stage named uper; .*upper"):
        RunOptions(force=frozenset({"uper"})).check_names(["look", "upper"])


def test_a_config_is_immutable_and_a_typo_is_an_error():
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Words.model_validate({"texxt": "a"})
    with pytest.raises(ValueError, match="frozen"):
        Words().text = "b"
