"""What goes between Ray's processes and the driver: reports, an end from outside, errors."""

import os
import signal
import time
from pathlib import Path

import pytest
from ray_workers import refuse, report_for_a_while

from infra.errors import LeaseLostError
from infra.process_tree import descendants
from infra.ray_cluster import run_training, tasks_on_cluster
from infra.settings import Settings
from tasks.shared.errors import InputError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Ray, about its own parts
]


@pytest.fixture(autouse=True)
def workers_find_their_module(monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(Path(__file__).parent)
    monkeypatch.setenv("PYTHONPATH", f"{here}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def boards() -> list[int]:
    """Processes of this one's Ray that hold reports."""
    names = {pid: Path(f"/proc/{pid}/cmdline") for pid in descendants(os.getpid())}
    return [pid for pid, name in names.items() if name.exists() and "_Board" in name.read_text()]


@pytest.mark.long
def test_training_outlives_the_loss_of_its_reports(tmp_path: Path):
    heard: list[int] = []
    killed: list[int] = []

    def hear(report: dict[str, int]) -> None:
        heard.append(report["step"])
        if not killed:
            for pid in boards():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    payload = {"n_reports": 60, "file": str(tmp_path / "file")}
    run_training(report_for_a_while, payload, Settings(), "loss", hear)
    assert len(killed) == 1
    assert (tmp_path / "file").read_text() == "done"
    assert heard[-1] > heard[0]  # another board took its place


@pytest.mark.parametrize("max_failures", [0, 2])
@pytest.mark.long
def test_a_reason_to_stop_ends_the_training(tmp_path: Path, max_failures: int):
    heard: list[int] = []
    lost = LeaseLostError("another has it; wait.")
    payload = {"n_reports": 100_000, "file": str(tmp_path / "file")}
    began = time.monotonic()
    with pytest.raises(LeaseLostError, match=r"^another has it; wait\.$"):
        run_training(
            report_for_a_while, payload, Settings(max_worker_failures=max_failures),
            f"stop{max_failures}", lambda report: heard.append(report["step"]),
            why_stop=lambda: lost if heard else None,
        )  # fmt: skip
    assert time.monotonic() - began < 200  # it would have gone on for hours
    assert not (tmp_path / "file").exists()


def test_an_input_error_on_a_node_is_the_one_line_that_it_was():
    with tasks_on_cluster(Settings()) as apply:
        assert apply is not None
        assert list(apply(refuse, [0, 1])) == [0, -1]
        with pytest.raises(InputError) as caught:
            list(apply(refuse, [1, 2, 3]))
    assert str(caught.value) == "shard 2 is bad; leave it out."
    assert type(caught.value) is InputError
