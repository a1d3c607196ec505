"""An extended tokenizer of the source's size: seldom used old tokens make room for the new ones.

Only leaves go: tokens that no remaining merge has as a part, so that every other token can still
be made, and text is cut as before but for the tokens that went. "Leaf-based pruning", Purason et
al. 2025 (arXiv 2512.03989).
"""

import heapq
import json
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from tasks.shared.errors import InputError
from tasks.shared.vocabulary_file import Json

_BYTE_FALLBACK = re.compile(r"<0x[0-9A-F]{2}>")


class TooFewLeavesError(InputError):
    """The source has fewer tokens that can go than were added."""


@dataclass(frozen=True)
class Pruned:
    """A tokenizer of its source's size.

    Attributes:
        tokenizer: ``tokenizer.json``. Old tokens that stay have their ids; new ones have those of
            tokens that went, in ascending order of both.
        dropped: ids, in the source, of the tokens that went, ascending.
    """

    tokenizer: Json
    dropped: list[int]


def prune_to_source_size(
    tokenizer: Json,
    counts: Int64[np.ndarray, " T"],
    n_old: int,
    required: Collection[int] = (),
) -> Pruned:
    """Drop as many old tokens as were added, the least used first, of equal ones the higher id.

    A token that no merge makes stays: bytes, single characters, byte fallbacks and whatever else
    text starts from. Added tokens stay too.

    Args:
        tokenizer: ``tokenizer.json`` of an extended BPE tokenizer; it is not changed.
        counts: occurrences of each id in text that the extended tokenizer cuts.
        n_old: ids below are the source's, from there on they are new.
        required: ids that stay, however seldom they are used.

    Raises:
        TooFewLeavesError: it names both numbers.
    """
    new: Json = json.loads(json.dumps(tokenizer))
    vocabulary: dict[str, int] = new["model"]["vocab"]
    merges = [_parts(merge) for merge in new["model"]["merges"]]
    prefix: str = new["model"].get("continuing_subword_prefix") or ""
    results = [left + right.removeprefix(prefix) for left, right in merges]
    added = sorted((i, text) for text, i in vocabulary.items() if i >= n_old)
    stays = {token["content"] for token in new.get("added_tokens") or []}
    may_go = {
        text: (int(counts[vocabulary[text]]), -vocabulary[text])
        for text in set(results) - stays
        if vocabulary[text] < n_old
        and vocabulary[text] not in required
        and not _BYTE_FALLBACK.fullmatch(text)
    }
    gone = _drop_leaves(merges, results, may_go, len(added))
    if len(gone) < len(added):
        raise TooFewLeavesError(
            f"{len(added)} tokens were added, but only {len(gone)} of the source's {n_old} can go, "
            "the others being bytes, special or required tokens, or parts of tokens that stay; "
            "add fewer tokens, or set keep_size: false."
        )
    freed = sorted(vocabulary.pop(text) for text in gone)
    vocabulary.update({text: i for (_, text), i in zip(added, freed, strict=True)})
    new["model"]["merges"] = [
        merge
        for merge, result in zip(new["model"]["merges"], results, strict=True)
        if result not in gone
    ]
    new["model"]["vocab"] = dict(sorted(vocabulary.items(), key=lambda entry: entry[1]))
    return Pruned(new, freed)


def _drop_leaves(
    merges: list[tuple[str, str]],
    results: list[str],
    may_go: dict[str, tuple[int, int]],
    n_wanted: int,
) -> set[str]:
    """Choose leaves one by one; a token becomes one when the last merge with it as a part goes."""
    n_uses = Counter(part for merge in merges for part in set(merge))
    made_by: dict[str, list[tuple[str, str]]] = {}
    for merge, result in zip(merges, results, strict=True):
        made_by.setdefault(result, []).append(merge)
    leaves = [(*order, text) for text, order in may_go.items() if n_uses[text] == 0]
    heapq.heapify(leaves)
    gone = set[str]()
    while leaves and len(gone) < n_wanted:
        text = heapq.heappop(leaves)[-1]
        gone.add(text)
        for merge in made_by[text]:
            for part in set(merge):
                n_uses[part] -= 1
                if n_uses[part] == 0 and part in may_go:
                    heapq.heappush(leaves, (*may_go[part], part))
    return gone


def _parts(merge: str | list[str]) -> tuple[str, str]:
    """The two parts of a merge, which older files write with a space between them."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right
