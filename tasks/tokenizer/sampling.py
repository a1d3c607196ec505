"""A part of the corpus, spread over the whole of it."""

from collections.abc import Iterable, Iterator


def take_evenly(
    documents: Iterable[tuple[str, int]], n_total_bytes: int, budget: int | None
) -> Iterator[str]:
    """Yield whole documents up to a budget, at even distances through the corpus.

    Shards may be sorted by source, so the first bytes alone could be of one source.

    Args:
        documents: (text, bytes) in corpus order.
        n_total_bytes: bytes of all documents.
        budget: bytes wanted; ``None`` for all. Exceeded by at most one document.
    """
    share = 1.0 if budget is None else min(1.0, budget / max(1, n_total_bytes))
    n_seen = n_taken = 0
    for text, n_bytes in documents:
        if n_taken <= n_seen * share:
            yield text
            n_taken += n_bytes
        n_seen += n_bytes
