"""A pull of new tokens' rows towards the rows they started from.

Rows that text seldom trains drift where few examples push them. Their start holds what their words
mean, so a penalty on the way from there is added to the loss.
Source: TokenLearning (2025, arXiv 2506.14248), which regularises the rows of tools by their prior;
its penalty could not be read there, and the squared distance is the natural one.

Dimensions: V = rows of a parameter, R = pulled rows of it, D = model width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from jaxtyping import Float32, Int64
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from tasks.pretraining.errors import NoRowsToPullError
from tasks.shared.row_origins import OLD_ROW_METHODS, TOOL_ROW_METHOD


def pulled_ids(
    ids: Sequence[int], methods: Sequence[str], rows: Literal["tools", "new"]
) -> Int64[Tensor, " R"]:
    """Choose the tokens whose rows are pulled.

    Args:
        ids: tokens of the input part of the lineage.
        methods: how the row of each came about.
        rows: ``new`` takes all that the source model has no row for, ``tools`` only those whose
            rows started from what a tool is for.

    Raises:
        NoRowsToPullError: there are none.
    """
    chosen = [
        token
        for token, method in zip(ids, methods, strict=True)
        if (method == TOOL_ROW_METHOD if rows == "tools" else method not in OLD_ROW_METHODS)
    ]
    if not chosen:
        raise NoRowsToPullError(
            f"prior_regulariser pulls {rows} rows, and none of {len(ids)} tokens has one; leave it "
            f"out{', or choose rows: new' if rows == 'tools' else ''}."
        )
    return torch.tensor(chosen, dtype=torch.int64)


@dataclass(frozen=True)
class PulledRows:
    """Pulled rows of one parameter, and where they started; all on the parameter's device."""

    parameter: nn.Parameter
    ids: Int64[Tensor, " R"]
    start: Float32[Tensor, "R D"]


class RowPrior:
    """Penalty ``strength * mean of |row - start|^2`` over the pulled rows of all parameters."""

    def __init__(self, strength: float, pulled: Sequence[PulledRows]) -> None:
        """Take the rows that this worker holds.

        Args:
            strength: of the penalty, in nats a target.
            pulled: one entry a parameter, with global ids; a parameter may be sharded by rows.
        """
        self._n_rows = sum(len(rows.ids) for rows in pulled)
        self._strength = strength
        self._parts = [_own_part(rows) for rows in pulled]
        self._is_sharded = any(isinstance(rows.parameter, DTensor) for rows in pulled)

    @torch.no_grad()
    def add_gradient(self) -> float:
        """Add the penalty's gradient to parameters that have one; returns the penalty."""
        total = torch.zeros(())
        for part in self._parts:
            weight_VD = _local(part.parameter)
            away_RD = weight_VD[part.ids] - part.start
            total = total.to(weight_VD.device) + away_RD.square().sum()
            if part.parameter.grad is not None:
                factor = 2 * self._strength / self._n_rows
                _local(part.parameter.grad).index_add_(0, part.ids, away_RD, alpha=factor)
        if self._is_sharded:
            dist.all_reduce(total)
        return self._strength * total.item() / self._n_rows


def _own_part(rows: PulledRows) -> PulledRows:
    """The rows that this worker holds, counted from its first one."""
    if not isinstance(rows.parameter, DTensor):
        return rows
    weight = rows.parameter
    shape, offset = compute_local_shape_and_global_offset(
        weight.shape, weight.device_mesh, weight.placements
    )
    ids = rows.ids - offset[0]
    is_here = (ids >= 0) & (ids < shape[0])
    return PulledRows(weight, ids[is_here], rows.start[is_here])


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
