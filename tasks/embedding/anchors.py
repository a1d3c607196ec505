"""What initialisers with a donor model need: tokens that donor and source share.

Dimensions: A = anchors, C = donor width, D = source width.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32

from tasks.shared.errors import InputError


class DonorLacksTokensError(InputError):
    """The donor does not own the new tokenizer."""


class TooFewAnchorsError(InputError):
    """Donor and source share fewer tokens than the method needs."""


@dataclass(frozen=True)
class Anchors:
    """Rows of shared tokens on both sides.

    For head rows, ``donor`` and ``source`` are rows of the heads; a tied model's input rows are
    its head rows.
    """

    donor: Float32[np.ndarray, "A C"]
    source: Float32[np.ndarray, "A D"]
    ids: Int32[np.ndarray, " A"]
    """Old id of each."""

    def __len__(self) -> int:
        """Count them."""
        return len(self.ids)

    def need(self, n: int, what: str) -> None:
        """Refuse too few.

        Raises:
            TooFewAnchorsError: there are fewer than ``n``.
        """
        if not len(self):
            raise TooFewAnchorsError(
                "the donor's vocabulary and the source model's share no token, so nothing "
                f"connects their rows and {what} cannot work: check that the donor's tokens are "
                "matched by bytes, or use an initialiser without a donor."
            )
        if len(self) < n:
            raise TooFewAnchorsError(
                f"{what} needs {n} tokens that the donor and the source model share, and there "
                f"are {len(self)}: lower it, or choose a donor whose tokenizer is closer."
            )


def check_donor_covers(has_row_W: Bool[np.ndarray, " W"], donor: str) -> None:
    """Refuse a donor without rows for tokens of the new vocabulary.

    Args:
        has_row_W: whether the donor has a row for each new token.
        donor: name of the donor for the message.

    Raises:
        DonorLacksTokensError: with how many are missing and the first ids.
    """
    missing = np.flatnonzero(~has_row_W)
    if len(missing):
        raise DonorLacksTokensError(
            f"the donor {donor} has no row for {len(missing)} of {len(has_row_W)} tokens of the "
            f"new tokenizer (first new ids: {missing[:5].tolist()}): name the model that this "
            "tokenizer comes from as the donor."
        )
