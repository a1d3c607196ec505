"""The linear program of mixture inference, over the constraints found so far.

Dimensions: C = constraints, N = categories, T = merges, P = pairs with a slack of their own.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack


@dataclass(frozen=True)
class Constraints:
    """Pairs that were not merged though another one was: one row a pair and merge.

    Attributes:
        steps: which merge.
        keys: which pair.
        excess: how much more frequent the pair was than the merge, by category, per million
            bytes.
    """

    steps: Int64[np.ndarray, " C"]
    keys: Int64[np.ndarray, " C"]
    excess: Float64[np.ndarray, "C N"]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.steps)

    def take(self, rows: Int64[np.ndarray, " R"]) -> "Constraints":
        """Some of the rows."""
        return Constraints(self.steps[rows], self.keys[rows], self.excess[rows])

    def plus(self, more: "Constraints") -> "Constraints":
        """These rows and, behind them, others."""
        return Constraints(
            np.concatenate((self.steps, more.steps)),
            np.concatenate((self.keys, more.keys)),
            np.concatenate((self.excess, more.excess)),
        )

    def worst(self, lacking_C: Float64[np.ndarray, " C"], each: int) -> "Constraints":
        """The worst row of each pair, and the few worst ones of each merge.

        Args:
            lacking_C: how bad each is; those of 0 or less are left out.
            each: how many of one merge.
        """
        order_B = np.argsort(-lacking_C, kind="stable")
        order_B = order_B[lacking_C[order_B] > 0]
        _, of_pair = np.unique(self.keys[order_B], return_index=True)
        by_step_B = np.argsort(self.steps[order_B], kind="stable")
        steps_B = self.steps[order_B][by_step_B]
        place_B = np.arange(len(steps_B)) - np.searchsorted(steps_B, steps_B)
        return self.take(order_B[np.union1d(of_pair, by_step_B[place_B < each])])


@dataclass(frozen=True)
class Solution:
    """Shares, and the slack that they need.

    Attributes:
        shares: from 0 up, 1 in all.
        merge_slack: by merge, per million bytes.
        pair_slack: by pair of ``pair_keys``, the same; other pairs have none.
        pair_keys: ascending.
        objective: sum of all slack.
    """

    shares: Float64[np.ndarray, " N"]
    merge_slack: Float64[np.ndarray, " T"]
    pair_slack: Float64[np.ndarray, " P"]
    pair_keys: Int64[np.ndarray, " P"]
    objective: float

    def lacking(self, constraints: Constraints) -> Float64[np.ndarray, " C"]:
        """How much slack each constraint lacks; negative where it has more than it needs."""
        lacking_C = constraints.excess @ self.shares - self.merge_slack[constraints.steps]
        known_C = np.isin(constraints.keys, self.pair_keys)
        places = np.searchsorted(self.pair_keys, constraints.keys[known_C])
        lacking_C[known_C] -= self.pair_slack[places]
        return lacking_C


def uniform(n_categories: int, n_steps: int) -> Solution:
    """Equal shares and no slack, where nothing is known."""
    shares_N = np.full(n_categories, 1 / n_categories)
    return Solution(shares_N, np.zeros(n_steps), np.zeros(0), np.zeros(0, np.int64), 0.0)


def solve_program(constraints: Constraints, n_steps: int) -> Solution:
    """Find the shares under which the merges need the least slack.

    Minimises ``sum v_t + sum v_p`` over shares and slack from 0 up, where
    ``excess @ shares <= v_t + v_p`` for each pair p that was not merged at step t.

    Args:
        constraints: at least one.
        n_steps: T.
    """
    n_rows, n_categories = constraints.excess.shape
    steps_S, step_C = np.unique(constraints.steps, return_inverse=True)
    keys_P, pair_C = np.unique(constraints.keys, return_inverse=True)
    slack_columns = np.stack((step_C, len(steps_S) + pair_C), 1).ravel()
    n_slack = len(steps_S) + len(keys_P)
    slack = csr_array(
        (np.full(2 * n_rows, -1.0), slack_columns, np.arange(0, 2 * n_rows + 1, 2)),
        shape=(n_rows, n_slack),
    )
    is_share = np.repeat([1.0, 0.0], [n_categories, n_slack])
    found = linprog(
        1.0 - is_share,
        A_ub=hstack([csr_array(constraints.excess), slack], format="csr"),
        b_ub=np.zeros(n_rows),
        A_eq=is_share[None],
        b_eq=[1.0],
        method="highs",
    )
    shares_N, slack_S, slack_P = np.split(found.x, [n_categories, n_categories + len(steps_S)])
    slack_T = np.zeros(n_steps)
    slack_T[steps_S] = slack_S
    return Solution(shares_N, slack_T, slack_P, keys_P, float(found.fun))
