"""Ids of special tokens in config.json and generation_config.json after a change of tokenizer."""

from collections.abc import Callable, Mapping
from typing import Any

from tasks.shared.errors import InputError

_SUFFIX = "_token_id"
_ROLES = ("bos", "eos", "pad")
_HOLDS_IDS = (
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
    "force_words_ids",
    "forced_decoder_ids",
    "sequence_bias",
)


class UnmappedTokenError(InputError):
    """A config names a token of the old tokenizer that the new one does not have."""


def updated_config(
    config: Mapping[str, Any],
    roles: Mapping[str, int],
    new_id: Callable[[int], int],
    n_rows: int,
    *,
    tied: bool,
    was_tied: bool,
) -> dict[str, Any]:
    """config.json of the model with the new tokenizer.

    Where the head stays as it was, ``tie_word_embeddings`` keeps the value it has: T5 ties its
    head whatever it says, and takes it for whether to scale the decoder's output.

    Args:
        config: the source's record.
        roles: id by role in the new tokenizer.
        new_id: id in the new tokenizer of an id of the old one; -1 where there is none.
        n_rows: rows of the new embedding, padding included.
        tied: whether the head is the input embedding.
        was_tied: whether it is in the source.

    Raises:
        UnmappedTokenError: a token that the config names is not in the new tokenizer.
    """

    def tie(record: Mapping[str, Any]) -> Any:
        return record.get("tie_word_embeddings", tied) if tied == was_tied else tied

    changed = with_new_ids(config, roles, new_id, "config.json")
    changed["tie_word_embeddings"] = tie(config)
    if isinstance(text := config.get("text_config"), dict):
        changed["text_config"] = with_new_ids(text, roles, new_id, "config.json, text_config")
        changed["text_config"] |= {"vocab_size": n_rows, "tie_word_embeddings": tie(text)}
    if "vocab_size" in config or not isinstance(text, dict):
        changed["vocab_size"] = n_rows
    return changed


def with_new_ids(
    record: Mapping[str, Any],
    roles: Mapping[str, int],
    new_id: Callable[[int], int],
    name: str,
) -> dict[str, Any]:
    """A record with every ``..._token_id`` in terms of the new tokenizer.

    bos, eos and pad follow the new tokenizer's roles; other tokens, and the further members of a
    list of end tokens, keep their meaning under a new id.

    Raises:
        UnmappedTokenError: one has no counterpart, or the record holds ids in another form.
    """
    if held := [key for key in _HOLDS_IDS if record.get(key)]:
        raise UnmappedTokenError(
            f"{name} holds {held[0]}, ids of the old tokenizer that cannot be carried over; "
            "remove it from the source model."
        )
    changed = dict(record)
    for key, value in record.items():
        if not key.endswith(_SUFFIX) or value is None:
            continue
        role = key.removesuffix(_SUFFIX)
        if role in _ROLES:
            changed[key] = _of_role(value, roles.get(role), new_id)
        else:
            changed[key] = _of_meaning(value, new_id, f"{name}: {key}")
    for role in _ROLES:
        if role in roles:
            changed.setdefault(f"{role}{_SUFFIX}", roles[role])
    return changed


def _of_role(value: Any, role_id: int | None, new_id: Callable[[int], int]) -> Any:
    if not isinstance(value, list):
        return role_id
    kept = list(dict.fromkeys(i for old in value if (i := new_id(old)) >= 0))
    if role_id is not None and role_id not in kept:
        kept.insert(0, role_id)
    return kept or None


def _of_meaning(value: Any, new_id: Callable[[int], int], name: str) -> Any:
    if isinstance(value, list):
        return [_of_meaning(item, new_id, name) for item in value]
    found = new_id(value)
    if found < 0:
        raise UnmappedTokenError(
            f"{name} is {value}, a token that the new tokenizer does not have; carry it over as a "
            "special token or remove the entry from the source model."
        )
    return found
