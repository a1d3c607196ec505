"""The second pass over the text: kept documents, without their dropped lines, to output shards."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.corpus.scratch import SELECTED, ScratchWriter, scratch_batches
from tasks.corpus.selection import KEPT, Candidates, Selection
from tasks.corpus.sharding import n_output_shards, output_shard

HELDOUT_SUITE = "heldout"
"""Suite of the documents held out of ordinary sources."""


@dataclass(frozen=True)
class Output:
    """Documents of one output shard, unsorted, and the file they become."""

    scratch: Path
    target: Path


def route(
    tables: Sequence[Path],
    candidates: Candidates,
    selection: Selection,
    source_names: Sequence[str],
    suites: Sequence[str],
    folder: Path,
) -> list[Output]:
    """Write kept documents to one scratch file an output shard.

    Args:
        tables: the scratch files the candidates were gathered from, in the same order.
        candidates: the documents.
        selection: what the rules say of them.
        source_names: by source index.
        suites: suite of a held-out-only source, else empty, by source index.
        folder: of the artifact; scratch files go to its ``scratch``.
    """
    kept = selection.document_rule == KEPT
    shard = np.zeros(len(kept), dtype=np.int64)
    outputs: list[Output] = []
    for side, name in ((False, "train"), (True, "heldout")):
        chosen = kept & (candidates.is_heldout == side)
        n_shards = n_output_shards(int(selection.n_bytes[chosen].sum()))
        shard[chosen] = len(outputs) + output_shard(candidates.order[chosen], n_shards)
        outputs += [
            Output(folder / "scratch" / f"{name}-{i}.arrow", folder / f"{name}-{i:05d}.parquet")
            for i in range(n_shards)
        ]
    with ExitStack() as stack:
        writers = [stack.enter_context(ScratchWriter(o.scratch, SELECTED)) for o in outputs]
        for index, text in _kept_texts(tables, candidates, selection):
            source = int(candidates.source[index])
            row = {
                "order": int(candidates.order[index]),
                "doc_id": candidates.ids[index],
                "source": source_names[source],
                "suite": suites[source] or HELDOUT_SUITE,
                "text": text,
                "n_bytes": int(selection.n_bytes[index]),
            }
            writers[int(shard[index])].add(row)
    return outputs


def _kept_texts(
    tables: Sequence[Path], candidates: Candidates, selection: Selection
) -> Iterator[tuple[int, str]]:
    """Index and remaining text of every kept document."""
    ends = np.cumsum(candidates.n_lines)
    index = 0
    for path in tables:
        for batch in scratch_batches(path):
            texts = batch["text"]
            for row in range(batch.num_rows):
                if selection.document_rule[index] == KEPT:
                    rules = selection.line_rule[
                        ends[index] - candidates.n_lines[index] : ends[index]
                    ]
                    text = texts[row].as_py()
                    if rules.any():
                        lines = text.split("\n")
                        text = "".join(f"{lines[i]}\n" for i in np.flatnonzero(rules == KEPT))
                    yield index, text
                index += 1
