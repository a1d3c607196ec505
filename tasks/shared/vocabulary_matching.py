"""Which old token is the same as a new one.

Ordinary tokens are compared by their bytes alone. Special tokens have none, so they are compared
by what they do, then by their text.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int32

from tasks.shared.errors import InputError
from tasks.shared.vocabulary_record import Vocabulary
from tasks.shared.vocabulary_roles import ROLES_BY_IMPORTANCE

NO_MATCH = -1
"""Stands where no source token is the same."""


class UnknownTokenError(InputError):
    """A mapping names a token that the vocabulary does not hold."""


def match_ids(
    source: Vocabulary, target: Vocabulary, overrides: Mapping[str, str] | None = None
) -> Int32[np.ndarray, " W"]:
    """Find the source token of each target token.

    Where several source ids have the same bytes, the real piece stands before a byte fallback,
    then the lowest id; a byte fallback is first of all the same as a byte fallback.

    Args:
        source: the vocabulary whose rows exist.
        target: the vocabulary whose rows are wanted.
        overrides: source token text by target token text, for tokens a person knows better.

    Returns:
        Source id by target id, ``NO_MATCH`` where there is none.

    Raises:
        UnknownTokenError: an override names a token that is not there.
    """
    id_of_bytes, id_of_fallback = _ids_by_bytes(source), _byte_fallbacks(source)
    matched = [
        NO_MATCH if data is None else id_of_bytes.get(data, NO_MATCH) for data in target.token_bytes
    ]
    for data, target_id in _byte_fallbacks(target).items():
        matched[target_id] = id_of_fallback.get(data, matched[target_id])
    for text, target_id in target.special_ids.items():
        matched[target_id] = _match_special(source, target, text, target_id)
    for target_text, source_text in (overrides or {}).items():
        target_id = _id_of_text(target, target_text, "target")
        matched[target_id] = _id_of_text(source, source_text, "source")
    return np.array(matched, dtype=np.int32)


def _ids_by_bytes(vocabulary: Vocabulary) -> dict[bytes, int]:
    ids = [i for i, data in enumerate(vocabulary.token_bytes) if data is not None]
    by_preference = sorted(ids, key=lambda i: (vocabulary.is_byte_fallback(i), i))
    found: dict[bytes, int] = {}
    for token_id in by_preference:
        found.setdefault(vocabulary.token_bytes[token_id] or b"", token_id)
    return found


def _byte_fallbacks(vocabulary: Vocabulary) -> dict[bytes, int]:
    return {
        data: token_id
        for token_id, data in enumerate(vocabulary.token_bytes)
        if data is not None and vocabulary.is_byte_fallback(token_id)
    }


def _match_special(source: Vocabulary, target: Vocabulary, text: str, target_id: int) -> int:
    same_text = source.special_ids.get(text, NO_MATCH)
    shared = [
        role
        for role in ROLES_BY_IMPORTANCE
        if target.roles.get(role) == target_id and role in source.roles
    ]
    candidates = [source.roles[role] for role in shared]
    # Same text in the same role beats a more important role: where one model uses
    # <|endoftext|> as bos and the other as separator only, it is still the same token.
    if same_text in candidates or not candidates:
        return same_text
    return candidates[0]


def _id_of_text(vocabulary: Vocabulary, text: str, side: str) -> int:
    if text in vocabulary.special_ids:
        return vocabulary.special_ids[text]
    try:
        return vocabulary.token_text.index(text)
    except ValueError:
        raise UnknownTokenError(
            f"special_tokens names {text!r}, which the {side} vocabulary of {len(vocabulary)} "
            f"tokens does not hold; its special tokens are {', '.join(vocabulary.special_ids)}."
        ) from None
