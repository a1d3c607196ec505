"""A model's tensors with new token rows in the place of the old ones."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.shared.errors import InputError
from tasks.shared.model_rows import RowNames

BLOCK = 4096


class RowsMismatchError(InputError):
    """Embedding rows, tokenizer and architecture do not belong together."""


class RowsOutOfRangeError(InputError):
    """Rows cannot be stored in the dtype of the source model."""


@dataclass(frozen=True)
class NewRows:
    """Rows for every token of the new tokenizer."""

    input_rows: Float[Tensor, "W D"]
    head_rows: Float[Tensor, "W D"] | None
    """None ties the head to the input rows."""
    head_bias: Float[Tensor, " W"] | None = None


def check_rows(rows: NewRows, n_tokens: int, width: int, names: RowNames) -> None:
    """Refuse rows that do not fit the tokenizer or the architecture.

    Args:
        rows: the new rows.
        n_tokens: how many ids the new tokenizer names.
        width: columns of the source's embedding.
        names: of the source model.

    Raises:
        RowsMismatchError: a count, a width, or a bias that has no place.
    """
    for part, rows_WD in (("input", rows.input_rows), ("head", rows.head_rows)):
        if rows_WD is not None and tuple(rows_WD.shape) != (n_tokens, width):
            raise RowsMismatchError(
                f"{part} rows have shape {tuple(rows_WD.shape)}, but {n_tokens} tokens of width "
                f"{width} need ({n_tokens}, {width}); run the embedding stage for this tokenizer."
            )
    if rows.head_bias is not None and names.head_bias is None:
        raise RowsMismatchError(
            "the new rows bring a head bias, but the model class has none; fold the bias into the "
            "head rows through the constant direction."
        )
    if names.head_bias is not None and rows.head_bias is None:
        raise RowsMismatchError(
            f"the model class has a head bias ({names.head_bias}), but the new rows bring none; "
            "the embedding stage must give one value for every token."
        )


def padded(rows: Float[Tensor, "W ..."], multiple: int) -> Float[Tensor, "P ..."]:
    """Add rows that no token uses, up to a multiple.

    Each is the mean of all real rows: its logit is the mean of the real logits, so it is never
    the largest one, and its norm is an ordinary one.
    """
    n_missing = -len(rows) % multiple
    if n_missing == 0:
        return rows
    mean = rows.mean(dim=0, keepdim=True)
    return torch.cat([rows, mean.expand(n_missing, *rows.shape[1:])])


def stored(part: str, rows: Float[Tensor, "W ..."], dtype: torch.dtype) -> Float[Tensor, "W ..."]:
    """Cast rows to the dtype in which the source keeps them.

    Raises:
        RowsOutOfRangeError: a row that was finite is not, or one that was not zero is.
    """
    cast, columns = rows.to(dtype), tuple(range(1, rows.ndim))
    lost_W = ~cast.isfinite() & rows.isfinite()
    if columns:
        lost_W = lost_W.any(columns) | ((cast == 0).all(columns) & (rows != 0).any(columns))
    if lost := lost_W.nonzero()[:, 0].tolist():
        limits = torch.finfo(dtype)
        raise RowsOutOfRangeError(
            f"{len(lost)} {part} rows do not fit {dtype} (first new ids: {lost[:5]}), the dtype of "
            f"the source model, which holds {limits.tiny:g} to {limits.max:g}: choose another "
            "initialiser, or convert the source model to a wider dtype."
        )
    return cast


def n_lost_by_rounding(rows: Float[Tensor, "W D"], dtype: torch.dtype) -> int:
    """Count how many rows fewer are told apart in the dtype in which the source keeps them."""
    if dtype == rows.dtype:
        return 0
    # Digests take less memory than the rows do.
    ids_with = defaultdict[bytes, list[int]](list)
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK].to(dtype).contiguous().view(torch.uint8).numpy()
        for token, row in enumerate(part, start):
            ids_with[blake2b(row, digest_size=16).digest()].append(token)
    groups = [ids for ids in ids_with.values() if len(ids) > 1]
    return sum(len(rows[ids].unique(dim=0)) - 1 for ids in groups)


def with_new_rows(
    parameters: Sequence[tuple[str, ...]],
    read: Callable[[str], Tensor],
    names: RowNames,
    rows: NewRows,
    multiple: int,
) -> Iterator[tuple[str, Tensor]]:
    """Stream a model: the body as stored, the rows replaced.

    Args:
        parameters: names of each parameter of the source, tied ones together; the first of each
            group is the one that is stored.
        read: gives a stored tensor.
        names: where the source keeps its rows.
        rows: the new ones, float32.
        multiple: pad the number of rows up to this multiple.

    Raises:
        RowsOutOfRangeError: rows do not fit the source's dtype.
    """
    row_names = {names.input, names.head, names.head_bias}
    dtype = read(names.input).dtype
    for group in parameters:
        if not row_names.intersection(group):
            yield group[0], read(group[0])
        elif names.input in group:
            yield group[0], stored("input", padded(rows.input_rows, multiple), dtype)
        elif names.head_bias in group and rows.head_bias is not None:
            bias = stored("bias", padded(rows.head_bias, multiple), read(group[0]).dtype)
            # transformers ties a bias of two names only where it ties the head.
            untied = names.tied and rows.head_rows is not None
            yield from ((name, bias.clone()) for name in (group if untied else group[:1]))
    if rows.head_rows is not None:
        head_dtype = dtype if names.tied else read(names.head).dtype
        yield names.head, stored("head", padded(rows.head_rows, multiple), head_dtype)
