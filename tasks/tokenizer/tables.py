"""The vocabulary and the merges as tables, for people and for later stages."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int32, Int64

from tasks.shared.extra_tokens import ExtraTokens
from tasks.shared.vocabulary_matching import NO_MATCH
from tasks.shared.vocabulary_record import Vocabulary
from tasks.tokenizer.residue import final_ratios

Formation = Literal[
    "byte", "merge", "piece", "scaffold", "special", "term", "tool", "reserved", "unassigned"
]

VOCABULARY_SCHEMA = pa.schema(
    [
        ("id", pa.int32()),
        ("bytes", pa.binary()),
        ("text", pa.string()),
        ("formation", pa.string()),
        ("term_type", pa.string()),
        ("rank", pa.int32()),
        ("is_new", pa.bool_()),
        ("reachable", pa.bool_()),
        ("count", pa.int64()),
        ("left", pa.int64()),
        ("made", pa.int64()),
        ("final_ratio", pa.float64()),
    ]
)
MERGES_SCHEMA = pa.schema(
    [
        ("rank", pa.int32()),
        ("left_id", pa.int32()),
        ("right_id", pa.int32()),
        ("result_id", pa.int32()),
    ]
)


@dataclass(frozen=True)
class TokenUse:
    """How often each token occurs.

    Attributes:
        held_out: in held-out text.
        left: at the end, when the words of the training text are merged.
        made: there at any time of that, so that ``made - left`` went into longer tokens.
    """

    held_out: Int64[np.ndarray, " W"]
    left: Int64[np.ndarray, " W"]
    made: Int64[np.ndarray, " W"]


def vocabulary_table(
    vocabulary: Vocabulary,
    source_ids_W: Int32[np.ndarray, " W"],
    reachable_W: Bool[np.ndarray, " W"],
    scaffolds: Collection[int],
    extra: ExtraTokens,
    use: TokenUse,
    term_types: Mapping[bytes, str],
) -> pa.Table:
    """Describe each id: its bytes, how it was formed, whether the source lacks it.

    Args:
        vocabulary: the tokenizer's.
        source_ids_W: the source's id for each token, as ``match_ids`` gives it.
        reachable_W: whether any text has the token.
        scaffolds: ids that only serve as steps to longer tokens.
        extra: special tokens that the stage added.
        use: how often each token occurs.
        term_types: kind of each required term by its bytes, empty for none.

    Returns:
        One row an id, in id order. ``formation`` is ``term`` for a required term, whatever made
        it; ``term_type`` is its kind. ``rank`` is that of the first merge that makes the token,
        ``count`` its occurrences in held-out text, ``final_ratio`` is ``left / made``.
    """
    rank_of: dict[int, int] = {}
    for rank, (_, _, result_id) in enumerate(vocabulary.merges):
        rank_of.setdefault(result_id, rank)
    ids = range(len(vocabulary))
    specials = set(vocabulary.special_ids.values())
    is_term = [
        data in term_types and i not in specials and not vocabulary.is_byte_fallback(i)
        for i, data in enumerate(vocabulary.token_bytes)
    ]
    given: dict[int, Formation] = {
        **dict.fromkeys(scaffolds, "scaffold"),
        **{i: "term" for i in ids if is_term[i]},
        **dict.fromkeys(extra.tools, "tool"),
        **dict.fromkeys(extra.reserved, "reserved"),
    }
    formations = [given.get(i) or _formation(vocabulary, i, rank_of, specials) for i in ids]
    kinds = [term_types[vocabulary.token_bytes[i] or b""] if is_term[i] else "" for i in ids]
    columns: list[pa.Array] = [
        pa.array(ids, pa.int32()),
        pa.array(vocabulary.token_bytes, pa.binary()),
        pa.array(vocabulary.token_text, pa.string()),
        pa.array(formations, pa.string()),
        pa.array([kind or None for kind in kinds], pa.string()),
        pa.array([rank_of.get(i) for i in ids], pa.int32()),
        pa.array(source_ids_W == NO_MATCH, pa.bool_()),
        pa.array(reachable_W, pa.bool_()),
        *(pa.array(values, pa.int64()) for values in (use.held_out, use.left, use.made)),
        pa.array(final_ratios(use.left, use.made), pa.float64(), from_pandas=True),
    ]
    return pa.Table.from_arrays(columns, schema=VOCABULARY_SCHEMA)


def counts_table(counts_W: Int64[np.ndarray, " W"]) -> pa.Table:
    """Occurrences by id."""
    ids = np.arange(len(counts_W), dtype=np.int32)
    return pa.table({"id": ids, "count": counts_W})


def dropped_table(source: Vocabulary, dropped: Mapping[int, int]) -> pa.Table:
    """Old tokens that made room for new ones.

    Args:
        source: their vocabulary.
        dropped: by id in it, occurrences in the training text before they went.
    """
    ids = sorted(dropped)
    return pa.table(
        {
            "id": pa.array(ids, pa.int32()),
            "bytes": pa.array([source.token_bytes[i] for i in ids], pa.binary()),
            "text": pa.array([source.token_text[i] for i in ids], pa.string()),
            "count": pa.array([dropped[i] for i in ids], pa.int64()),
        }
    )


def merges_table(vocabulary: Vocabulary) -> pa.Table:
    """List the merges in rank order; no rows unless the model is BPE."""
    merges_R3 = np.array(vocabulary.merges, dtype=np.int32).reshape(-1, 3)
    ranks_R = np.arange(len(merges_R3), dtype=np.int32)
    columns = [pa.array(values) for values in (ranks_R, *merges_R3.T)]
    return pa.Table.from_arrays(columns, schema=MERGES_SCHEMA)


def _formation(
    vocabulary: Vocabulary, token_id: int, rank_of: dict[int, int], specials: set[int]
) -> Formation:
    data = vocabulary.token_bytes[token_id]
    if token_id in specials:
        return "special"
    if data is None:
        return "unassigned"
    if token_id in rank_of:
        return "merge"
    return "byte" if len(data) == 1 else "piece"
