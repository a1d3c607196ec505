"""What every initialiser is given.

Dimensions: V = old vocabulary, W = new vocabulary, M = merges.
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
    counts: Int64[np.ndarray, " W"]
    """Occurrences of each new token in the corpus."""

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
    def old_counts(self) -> Int64[np.ndarray, " V"]:
        """Occurrences of each old token among them; 0 for those that the new vocabulary lacks."""
        counts_V = np.zeros(len(self.source), np.int64)
        kept_W = self.plan.match >= 0
        np.add.at(counts_V, self.plan.match[kept_W], self.counts[kept_W])
        return counts_V

    @property
    def source_bytes(self) -> Int64[np.ndarray, " V"]:
        """Length of each old token in bytes; 0 for special tokens."""
        return np.array([len(data or b"") for data in self.source.token_bytes], np.int64)
