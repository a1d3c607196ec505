"""What every initialiser is given.

Dimensions: M = merges.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64

from tasks.embedding.row_plan import RowPlan
from tasks.embedding.rows import SourceRows
from tasks.shared.vocabulary import Vocabulary


@dataclass(frozen=True)
class Known:
    """The source model's rows and what each new token is to its tokenizer."""

    rows: SourceRows
    plan: RowPlan
    source: Vocabulary
    target: Vocabulary

    @property
    def n_needed(self) -> int:
        """Tokens to make rows for."""
        return len(self.plan.needed)

    @property
    def source_merges(self) -> Int32[np.ndarray, "M 3"]:
        """Left, right and result id of each merge of the source tokenizer, by rank."""
        return np.array(self.source.merges_of_rows(), np.int32).reshape(-1, 3)

    @property
    def target_merges(self) -> Int32[np.ndarray, "M 3"]:
        """The same of the new tokenizer."""
        return np.array(self.target.merges_of_rows(), np.int32).reshape(-1, 3)

    @property
    def source_bytes(self) -> Int64[np.ndarray, " V"]:
        """Length of each old token in bytes; 0 for special tokens."""
        return np.array([len(data or b"") for data in self.source.token_bytes], np.int64)
