"""Pieces of texts counted by the tokenizers library itself, for any pre-tokenizer that it has.

The library counts words as the first step of its own training, on all cores and with no Python
object a piece. A training that stops right there leaves them in the trainer's state.
"""

import json
from collections.abc import Callable, Sequence

from tokenizers import Tokenizer, models, trainers

from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.cutters import load_parts

_NEVER = 1 << 60
"""No pair is so frequent, so that nothing is learnt from the counts."""


def library_counter(pre_tokenizer: Json | None) -> Callable[[Sequence[str]], dict[str, int]]:
    """Make a function that counts the pieces of texts, spelt as the pre-tokenizer spells them.

    Args:
        pre_tokenizer: value of that name in ``tokenizer.json``; without one a text is one piece.
    """
    tokenizer = Tokenizer(models.BPE())
    _, words = load_parts(None, pre_tokenizer)
    if words is not None:
        tokenizer.pre_tokenizer = words

    def count(texts: Sequence[str]) -> dict[str, int]:
        trainer = trainers.BpeTrainer(vocab_size=1, min_frequency=_NEVER, show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        return json.loads(trainer.__getstate__())["BpeTrainer"]["words"]

    return count
