"""A ``tokenizer.json`` around learnt byte-level merges."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32

from tasks.shared.byte_alphabet import to_alphabet
from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.merge_loop import Learnt

_DECODER: Json = {
    "type": "ByteLevel",
    "add_prefix_space": True,
    "trim_offsets": True,
    "use_regex": True,
}


def number_tokens(learnt: Learnt, n_special: int) -> Int32[np.ndarray, " T"]:
    """Ids of learnt tokens: behind the special ones, in order of making, scaffolds last."""
    order = np.argsort(learnt.is_scaffold, kind="stable")
    ids_T = np.empty(len(order), np.int32)
    ids_T[order] = n_special + np.arange(len(order), dtype=np.int32)
    return ids_T


def byte_level_tokenizer(
    learnt: Learnt, pre_tokenizer: Json, normalizer: Json | None, carried: Sequence[Json]
) -> Json:
    """Build the file.

    Args:
        learnt: merges over the 256 bytes.
        pre_tokenizer: value of that name; must end byte-level.
        normalizer: the same.
        carried: entries of the source's ``added_tokens`` to keep, in the order of the new ids.

    Returns:
        A ``tokenizer.json`` with no post-processor.
    """
    ids = number_tokens(learnt, len(carried)).tolist()
    texts = [to_alphabet(data) for data in learnt.token_bytes]
    specials = {token["content"]: number for number, token in enumerate(carried)}
    vocabulary = dict(sorted(zip(texts, ids, strict=True), key=lambda entry: entry[1]))
    merges = [[texts[left], texts[right]] for left, right, _ in learnt.merges.tolist()]
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
        "ignore_merges": False, "vocab": specials | vocabulary, "merges": merges,
    }  # fmt: skip
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{**t, "id": specials[t["content"]]} for t in carried],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": _DECODER,
        "model": model,
    }
