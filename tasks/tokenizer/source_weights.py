"""Weights of the corpus's sources in the counts that a tokenizer is learnt from."""

from collections.abc import Collection, Mapping

from tasks.tokenizer.errors import SourceWeightError


def check_weights(weights: Mapping[str, float], sources: Collection[str]) -> None:
    """Refuse weights of sources that the corpus lacks.

    Raises:
        SourceWeightError: it names them, and the sources there are.
    """
    if unknown := sorted(set(weights) - set(sources)):
        raise SourceWeightError(
            f"source_weights names {', '.join(unknown)}, but the corpus's sources are "
            f"{', '.join(sorted(sources))}; correct the names."
        )
