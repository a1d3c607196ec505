"""Tokens that no text can produce.

Such a token has a row that is never trained and never read. They come from merges that a
pre-tokenizer no longer allows, from normalisers, and from bytes that UTF-8 has no use for.
"""

import codecs
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from tasks.shared.segmentation import Segmenter
from tasks.shared.text_tokenizer import TextTokenizer
from tasks.shared.vocabulary_record import Vocabulary


def find_reachable(
    tokenizer: TextTokenizer, segmenter: Segmenter, vocabulary: Vocabulary, byte_level: bool
) -> Bool[np.ndarray, " W"]:
    """Tell for each token whether some text has it.

    A token that is whole characters is reachable if the tokenizer gives it for its own text. A
    part of a character is if the merges give it for its own bytes and UTF-8 allows them. Where
    the tokenizer adds a space before text, a token's own text may stand for another one, so there
    the model alone decides. Special tokens are reachable, unassigned ids are not.

    Args:
        tokenizer: the whole tokenizer.
        segmenter: its model alone.
        vocabulary: its bytes.
        byte_level: whether text reaches the model as it is, with no space added.
    """
    reachable = np.zeros(len(vocabulary), dtype=np.bool_)
    reachable[list(vocabulary.special_ids.values())] = True
    texts: dict[int, str] = {}
    parts: dict[int, bytes] = {}
    for token_id, data in enumerate(vocabulary.token_bytes):
        if data is None:
            continue
        text = _whole_text(data)
        if text is not None:
            texts[token_id] = text
        elif _is_part_of_text(data):
            parts[token_id] = data
    left = _give_themselves(tokenizer, texts, reachable)
    if not byte_level:
        parts |= {token_id: texts[token_id].encode() for token_id in left}
    for token_id, ids in zip(parts, segmenter.try_segment_all(list(parts.values())), strict=True):
        reachable[token_id] = ids == [token_id]
    return reachable


def _give_themselves(
    tokenizer: TextTokenizer, texts: dict[int, str], reachable: Bool[np.ndarray, " W"]
) -> Sequence[int]:
    """Mark the tokens that their own text gives; return the others."""
    encodings = tokenizer.encode_batch_fast(list(texts.values()), add_special_tokens=False)
    left: list[int] = []
    for token_id, encoding in zip(texts, encodings, strict=True):
        reachable[token_id] = encoding.ids == [token_id]
        if not reachable[token_id]:
            left.append(token_id)
    return left


def _whole_text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _is_part_of_text(data: bytes) -> bool:
    """Tell whether bytes can stand in UTF-8: the end of a character, text, the begin of one."""
    rest = data.lstrip(bytes(range(0x80, 0xC0)))
    if len(data) - len(rest) > 3:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(rest, final=False)
    except UnicodeDecodeError:
        return False
    return True
