"""What must hold of rows before they are written.

Dimensions: W = rows, D = model width.
"""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from jaxtyping import Bool, Float32

from tasks.embedding.rows import Origins
from tasks.embedding.type_rows import TYPE_MEAN
from tasks.shared.errors import InputError

TOLERANCE = 1e-5
"""Of shares, which are sums of float32 weights."""
MEANS = ("mean", "fallback", TYPE_MEAN)
"""Methods that give many tokens one row and need no weights to say so."""


class BadRowsError(InputError):
    """Rows came out that no model can use."""


@dataclass(frozen=True)
class Duplicates:
    """Groups of equal rows among new tokens, counted by the tokens beyond the first."""

    explained: int
    """Tokens that are the same sum of old rows, hence have the same row by construction."""
    unexplained: tuple[int, ...]
    """Tokens whose row equals that of a token made of other rows."""


def check_rows(
    part: str, rows_WD: Float32[np.ndarray, "W D"], made_W: Bool[np.ndarray, " W"]
) -> None:
    """Refuse rows that are not finite, and made rows that are zero.

    A copied row may be zero: the source has it so, and it stays bit for bit.

    Raises:
        BadRowsError: with the part, how many, and the first ids.
    """
    norms_W = np.abs(rows_WD).max(axis=1, initial=0.0)
    for what, bad_W in (("not finite", ~np.isfinite(norms_W)), ("zero", made_W & (norms_W == 0))):
        bad = np.flatnonzero(bad_W)
        if len(bad):
            raise BadRowsError(
                f"{len(bad)} {part} rows are {what} (first new ids: {bad[:5].tolist()}): the rows "
                "they are made of are; check the source model's weights, or choose another "
                "initialiser."
            )


def find_duplicates(
    rows_WD: Float32[np.ndarray, "W D"], origins: Origins, made_W: Bool[np.ndarray, " W"]
) -> Duplicates:
    """Compare made rows with each other, bit for bit, by their digests.

    A mean does not see the order of its pieces nor how often the whole is repeated, so equal
    shares explain equal rows; so does being the mean of all old rows.
    """
    # 16 bytes a row instead of the row: that two of 2**20 rows have one digest by chance, 2**-89.
    first_with: dict[bytes, int] = {}
    explained, unexplained = 0, list[int]()
    for token in np.flatnonzero(made_W).tolist():
        digest = blake2b(rows_WD[token].tobytes(), digest_size=16).digest()
        other = first_with.setdefault(digest, token)
        if other == token:
            continue
        if _same_origin(origins, other, token):
            explained += 1
        else:
            unexplained.append(token)
    return Duplicates(explained, tuple(unexplained))


def _same_origin(origins: Origins, one: int, other: int) -> bool:
    shares = _shares(*origins.weights.of(one))
    if not shares:
        return origins.methods[one] == origins.methods[other] and origins.methods[one] in MEANS
    theirs = _shares(*origins.weights.of(other))
    return shares.keys() == theirs.keys() and all(
        abs(share - theirs[piece]) < TOLERANCE for piece, share in shares.items()
    )


def _shares(ids: list[int], weights: list[float]) -> dict[int, float]:
    shares: dict[int, float] = {}
    for piece, weight in zip(ids, weights, strict=True):
        shares[piece] = shares.get(piece, 0.0) + weight
    return shares
