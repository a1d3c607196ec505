"""A new byte-level BPE vocabulary, learnt from the text alone.

All 256 bytes have a token, so any text can be written. Special tokens come first, in the order of
their ids in the source.
"""

import json
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer
from tokenizers.trainers import BpeTrainer

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.errors import CorpusTooSmallError, VocabularyTooSmallError

_DECODER: Json = {
    "type": "ByteLevel",
    "add_prefix_space": True,
    "trim_offsets": True,
    "use_regex": True,
}


def train_bpe(
    texts: Iterable[str],
    pre_tokenizer: Json,
    normalizer: Json | None,
    carried: Sequence[Json],
    vocabulary_size: int,
    min_frequency: int,
    max_token_bytes: int,
) -> Json:
    """Learn a byte-level BPE vocabulary.

    Args:
        texts: documents, read once, one after the other.
        pre_tokenizer: value of that name in ``tokenizer.json``; must end byte-level.
        normalizer: the same.
        carried: entries of the source's ``added_tokens`` to keep, in the order of the new ids.
        vocabulary_size: all tokens: bytes, carried ones, merges.
        min_frequency: how often a pair must occur to be merged.
        max_token_bytes: longest token.

    Returns:
        A ``tokenizer.json`` with no post-processor.

    Raises:
        VocabularyTooSmallError: no room for the bytes and carried tokens.
        CorpusTooSmallError: the text does not hold so many pairs.
    """
    n_least = 256 + len(carried)
    if vocabulary_size < n_least:
        raise VocabularyTooSmallError(
            f"vocabulary_size={vocabulary_size} is below {n_least}, the 256 bytes and "
            f"{len(carried)} special tokens that every vocabulary holds; raise it."
        )
    tokenizer = Tokenizer.from_str(json.dumps(_empty(pre_tokenizer, normalizer)))
    trainer = BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=min_frequency,
        special_tokens=[token["content"] for token in carried],
        initial_alphabet=list(BYTE_CHARACTERS),
        # The library compares with a strict "less than".
        max_token_length=max_token_bytes + 1,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    trained: Json = json.loads(tokenizer.to_str())
    n_found = len(trained["model"]["vocab"])
    if n_found < vocabulary_size:
        raise CorpusTooSmallError(
            f"The corpus yields a vocabulary of {n_found} tokens that occur "
            f"min_frequency={min_frequency} times, but vocabulary_size={vocabulary_size}; "
            "give it more text or ask for fewer tokens."
        )
    trained["added_tokens"] = [
        {**token, "id": trained["model"]["vocab"][token["content"]]} for token in carried
    ]
    return trained


def _empty(pre_tokenizer: Json, normalizer: Json | None) -> Json:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": _DECODER,
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
