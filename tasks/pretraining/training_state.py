"""All that a resumed run needs to go on as if it had not stopped, as named tensors."""

from collections.abc import Sequence
from dataclasses import asdict, fields

import torch
from torch import Tensor, nn

from tasks.pretraining.loop import StepMetrics

PARAMETER = "parameter/"
MOMENT = "moment/"
HISTORY = "history/"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def prepare_moments(optimizer: torch.optim.AdamW, n_steps: int) -> None:
    """Give every parameter the optimizer state it has after so many steps, moments still zero."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            device = parameter.device if group["fused"] else "cpu"
            optimizer.state[parameter] = {
                "step": torch.tensor(float(n_steps), device=device),
                **{name: torch.zeros_like(parameter) for name in _MOMENTS},
            }


def moments(optimizer: torch.optim.AdamW, parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """AdamW's moments by parameter; empty before the first step."""
    return {
        f"{MOMENT}{moment}/{name}": optimizer.state[parameter][moment]
        for name, parameter in parameters.items()
        if parameter in optimizer.state
        for moment in _MOMENTS
    }


def random_state(rank: int, device: torch.device) -> dict[str, Tensor]:
    """State of this worker's generators."""
    state = {f"random/{rank}/cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state[f"random/{rank}/cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(
    state: dict[str, Tensor], rank: int, device: torch.device, seed: int
) -> None:
    """Continue this worker's generators; a worker that has no state in there starts from a seed."""
    torch.manual_seed(seed * 1_000_003 + rank)
    if f"random/{rank}/cpu" in state:
        torch.set_rng_state(state[f"random/{rank}/cpu"])
    if device.type == "cuda" and f"random/{rank}/cuda" in state:
        torch.cuda.set_rng_state(state[f"random/{rank}/cuda"], device)


class History:
    """Every step so far, with its wall-clock seconds and the memory it took."""

    def __init__(self) -> None:
        self.steps: list[StepMetrics] = []
        self.seconds: list[float] = []
        self.peak_rss_bytes: list[int] = []

    def add(self, metrics: StepMetrics, seconds: float, peak_rss_bytes: int) -> None:
        """Append one step."""
        self.steps.append(metrics)
        self.seconds.append(seconds)
        self.peak_rss_bytes.append(peak_rss_bytes)

    def columns(self) -> dict[str, Sequence[int | float | None]]:
        """One list a field of ``StepMetrics``, and the two measured ones."""
        rows = [asdict(row) for row in self.steps]
        columns = {f.name: [row[f.name] for row in rows] for f in fields(StepMetrics)}
        return {**columns, "seconds": self.seconds, "peak_rss_bytes": self.peak_rss_bytes}

    def tensors(self) -> dict[str, Tensor]:
        """The same as float64, which holds these numbers exactly; NaN where there is none."""
        return {
            f"{HISTORY}{name}": torch.tensor(
                [float("nan") if value is None else value for value in column], dtype=torch.float64
            )
            for name, column in self.columns().items()
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "History":
        """The history that ``tensors`` wrote."""
        history = cls()
        columns = {name.removeprefix(HISTORY): t.tolist() for name, t in tensors.items()}
        history.seconds = columns.pop("seconds")
        history.peak_rss_bytes = [int(value) for value in columns.pop("peak_rss_bytes")]
        for row in zip(*columns.values(), strict=True):
            history.steps.append(_metrics(dict(zip(columns, row, strict=True))))
        return history


def _metrics(row: dict[str, float]) -> StepMetrics:
    values: dict[str, int | float | None] = {}
    for field in fields(StepMetrics):
        value = row[field.name]
        if field.type is int:
            values[field.name] = int(value)
        elif field.type is float:
            values[field.name] = value
        else:
            values[field.name] = None if value != value else value
    return StepMetrics(**values)  # pyright: ignore[reportArgumentType]
