"""From budgets to steps: what each phase reads, and the learning rate at each of its steps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.pretraining.config import FullPhase, Phase, PretrainingConfig
from tasks.pretraining.errors import BatchSizeError, BudgetError
from tasks.pretraining.packing import PackedCorpus


@dataclass(frozen=True)
class PhasePlan:
    """One phase in steps of the whole run: ``first_step`` up to, not including, ``end_step``."""

    number: int
    phase: Phase
    first_step: int
    end_step: int

    @property
    def lr_body(self) -> float:
        """Peak learning rate of the body; 0 where the phase leaves it alone."""
        return self.phase.lr_body if isinstance(self.phase, FullPhase) else 0.0

    def lr_factor(self, step: int) -> float:
        """Share of the peak learning rates that holds at a step of the run."""
        n_steps = self.end_step - self.first_step
        warmup = self.phase.warmup
        n_warmup = round(warmup * n_steps) if isinstance(warmup, float) else int(warmup)
        return lr_factor(step - self.first_step, n_steps, n_warmup, self.phase.schedule)


def lr_factor(step: int, n_steps: int, n_warmup: int, schedule: str) -> float:
    """Share of the peak learning rate at a step; neither the first nor the last step is lost.

    It is transformers' schedule of ``n_steps + 1`` steps read from its step 1, since that one
    starts and ends at zero.
    """
    if step + 1 < n_warmup:
        return (step + 1) / n_warmup
    if schedule == "constant":
        return 1.0
    progress = (step + 1 - n_warmup) / max(1, n_steps + 1 - n_warmup)
    if schedule == "linear":
        return max(0.0, 1.0 - progress)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * progress)))


def plan_phases(config: PretrainingConfig, corpus: PackedCorpus) -> tuple[PhasePlan, ...]:
    """Steps of every phase, each the fewest that use its budget up.

    Raises:
        BudgetError: the corpus, read ``max_epochs`` times, ends before the last phase does.
    """
    per_step = config.global_batch_tokens // config.sequence_length
    allowed = int(config.max_epochs * corpus.tokens_per_epoch)
    most = max(0, allowed - 1) // config.sequence_length // per_step
    plans: list[PhasePlan] = []
    step = 0
    for number, phase in enumerate(config.phases):
        if phase.budget.unit == "tokens":
            n_steps = math.ceil(phase.budget.amount / config.global_batch_tokens)
        else:
            n_steps = _fewest_steps(corpus, step, per_step, phase.budget.amount, most - step)
        if step + n_steps > most:
            have = corpus.n_bytes(0, most * per_step)
            raise BudgetError(
                f"Phase {number + 1} ends after more text than there is: max_epochs="
                f"{config.max_epochs:g} of this corpus give {most} steps ({have} bytes, "
                f"{most * config.global_batch_tokens} tokens). Take a smaller budget, a larger "
                "corpus, or raise max_epochs."
            )
        plans.append(PhasePlan(number, phase, step, step + n_steps))
        step += n_steps
    return tuple(plans)


def samples_of(step: int, per_step: int, rank: int, world_size: int) -> tuple[int, int]:
    """First sample and number of samples of one worker in one step."""
    if per_step % world_size:
        raise BatchSizeError(
            f"A step of {per_step} sequences cannot be shared evenly by {world_size} workers; "
            "change global_batch_tokens or TOKGRAFT_WORLD_SIZE."
        )
    share = per_step // world_size
    return step * per_step + rank * share, share


def micro_batches(first: int, count: int, size: int) -> Sequence[tuple[int, int]]:
    """Cut a worker's samples into runs of at most ``size``, which fit its memory."""
    return [(at, min(size, first + count - at)) for at in range(first, first + count, size)]


def _fewest_steps(corpus: PackedCorpus, step: int, per_step: int, n_bytes: int, most: int) -> int:
    """Fewest steps from ``step`` on that score so many bytes; ``most + 1`` if none do."""

    def scored(n_steps: int) -> int:
        return corpus.n_bytes(step * per_step, n_steps * per_step)

    return _first_true(lambda n: scored(n) >= n_bytes, most)


def _first_true(holds: Callable[[int], bool], most: int) -> int:
    """Smallest number from 1 to ``most`` for which a monotone condition holds, or ``most + 1``."""
    low, high = 1, max(1, most + 1)
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
