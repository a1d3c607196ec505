"""What rows are sums of, and what the lineage says about it."""

import numpy as np
import pytest
from letter_rows import (
    COUNTS,
    EXTENDED,
    SOURCE,
    SPARSE,
    composed,
    name_of,
    rows_for,
    source_rows,
)

from tasks.embedding.config_source import Composed
from tasks.embedding.lineage import lineage_tables


@pytest.mark.parametrize("method", SPARSE, ids=name_of)
def test_convex_methods_stay_within_the_source(method):
    old = source_rows()
    rows = rows_for(method, old)
    for origins in (rows.input_origins, rows.head_origins):
        assert origins is not None
        totals = [sum(origins.weights.of(token)[1]) for token in range(len(EXTENDED))]
        np.testing.assert_allclose(totals, 1, atol=1e-6)
        assert origins.weights.weights.min() >= 0
    for made, source in ((rows.input, old.input), (rows.head, old.head)):
        assert made is not None
        norms = np.linalg.norm(made, axis=1)
        assert norms.min() > 0
        assert norms.max() <= np.linalg.norm(source, axis=1).max() + 1e-6


@pytest.mark.parametrize("method", SPARSE, ids=name_of)
def test_lineage_rebuilds_rows(method):
    old = source_rows()
    rows = rows_for(method, old)
    for table, made, source in zip(
        lineage_tables(rows, SOURCE, EXTENDED),
        (rows.input, rows.head),
        (old.input, old.head),
        strict=True,
    ):
        assert made is not None
        assert table["id"].to_pylist() == list(range(len(EXTENDED)))
        for row in table.to_pylist():
            assert sum(row["weights"]) == pytest.approx(1.0)
            assert min(row["weights"]) > 0
            rebuilt = np.array(row["weights"]) @ source[row["source_ids"]]
            np.testing.assert_allclose(made[row["id"]], rebuilt, atol=1e-6)


def test_lineage_names_methods_and_priors():
    rows = composed(source_rows(tied=True), EXTENDED, COUNTS)
    tables = lineage_tables(rows, SOURCE, EXTENDED)
    tops, heads = (table.to_pylist() for table in tables)
    assert [r["method"] for r in tops] == [
        "special_text",
        *["copied"] * 6,
        *["composed"] * 4,
    ]
    assert heads[0]["method"] == "special_text"
    assert heads[7]["method"] == "prefix_prior"
    # "aba" is cut into ab + a; masses of tokens that start with ab: 7.5, 2.5, 0.05.
    assert heads[7]["source_ids"] == [4]
    assert heads[7]["note"] == f"logit + log P(token | ab) = {np.log(2.5 / 10.05):.4f}"
    assert heads[7]["source_tokens"] == ["ab"]
    assert (tops[7]["text"], tops[7]["source_tokens"]) == ("aba", ["ab", "a"])
    assert sum(tops[7]["weights"]) == pytest.approx(Composed().mean_weight, rel=1e-6)
