"""Special tokens added behind a learnt vocabulary: for tools, and reserved ones that fill it up.

A row count that is a multiple of 64 or so makes matrices that run faster; reserved tokens say which
rows are free, and leave room for special tokens to come. They are special, so that text never
holds them by accident as it would hold runs of spaces.
"""

import json
from collections.abc import Sequence

from tasks.shared.errors import InputError
from tasks.shared.extra_tokens import ExtraTokens, ToolToken
from tasks.shared.vocabulary_file import Json


class AddedTokenError(InputError):
    """Special tokens cannot be added as asked."""


def add_extra_tokens(
    tokenizer: Json,
    tools: Sequence[ToolToken],
    multiple: int,
    n_last: int = 0,
    *,
    last_have_rows: bool = True,
) -> tuple[Json, ExtraTokens]:
    """Add a token for each tool, then reserved ones up to the next multiple of rows.

    Args:
        tokenizer: ``tokenizer.json``; it is not changed.
        tools: in the order of the new ids.
        multiple: of the number of rows.
        n_last: tokens that stay behind the new ones and so get higher ids: scaffolds, which are
            no output of the tokenizer.
        last_have_rows: whether these count as rows.

    Raises:
        AddedTokenError: a name is there twice, or a token already.
    """
    with_tools, by_id = add_tool_tokens(tokenizer, tools, n_last)
    padded = pad_to_multiple(with_tools, multiple, n_last, last_have_rows=last_have_rows)
    reserved = range(n_rows(with_tools) - n_last, n_rows(padded) - n_last)
    return padded, ExtraTokens(by_id, reserved)


def add_tool_tokens(
    tokenizer: Json, tools: Sequence[ToolToken], n_last: int = 0
) -> tuple[Json, dict[int, ToolToken]]:
    """Add a special token for each tool.

    Args:
        tokenizer: ``tokenizer.json``; it is not changed.
        tools: in the order of the new ids.
        n_last: tokens that stay behind the new ones.

    Returns:
        The new ``tokenizer.json``, and the tools by id.

    Raises:
        AddedTokenError: a name is empty, there twice, or a token already.
    """
    names = [tool.name for tool in tools]
    taken = _texts(tokenizer)
    wrong = [name for number, name in enumerate(names) if name in {"", *taken, *names[:number]}]
    if wrong:
        raise AddedTokenError(
            f"The tool tokens {wrong[:5]} are empty, there twice, or tokens already; give every "
            "tool a name of its own, such as <|search|>."
        )
    start = n_rows(tokenizer) - n_last
    return _with_special(tokenizer, names, n_last), dict(enumerate(tools, start))


def pad_to_multiple(
    tokenizer: Json, multiple: int, n_last: int = 0, *, last_have_rows: bool = True
) -> Json:
    """Add reserved special tokens up to the next multiple; none where it is one.

    Args:
        tokenizer: ``tokenizer.json``; it is not changed.
        multiple: of the number of rows.
        n_last: tokens that stay behind the new ones.
        last_have_rows: whether these count as rows.

    Raises:
        AddedTokenError: the multiple is below 1.
    """
    if multiple < 1:
        raise AddedTokenError(
            f"pad_to_multiple_of={multiple} must be 1 or more; 1 pads nothing, 64 is usual."
        )
    n_missing = -(n_rows(tokenizer) - (0 if last_have_rows else n_last)) % multiple
    return pad_to_size(tokenizer, n_rows(tokenizer) + n_missing, n_last)


def pad_to_size(tokenizer: Json, size: int, n_last: int = 0) -> Json:
    """Add reserved special tokens ``<|reserved_0|>`` and so on up to a number of rows.

    Numbers that are taken already are passed over.

    Args:
        tokenizer: ``tokenizer.json``; it is not changed.
        size: rows in the end.
        n_last: tokens that stay behind the new ones.

    Raises:
        AddedTokenError: there are more rows already.
    """
    n_missing = size - n_rows(tokenizer)
    if n_missing < 0:
        raise AddedTokenError(
            f"pad_to_size={size} is below the {size - n_missing} rows of the tokenizer; ask for "
            "that many or more, or for a smaller vocabulary."
        )
    taken = _texts(tokenizer)
    numbered = (f"<|reserved_{number}|>" for number in range(n_missing + len(taken)))
    free = [text for text in numbered if text not in taken]
    return _with_special(tokenizer, free[:n_missing], n_last)


def n_rows(tokenizer: Json) -> int:
    """Rows that a model needs: the largest id and one."""
    return 1 + max(_texts(tokenizer).values())


def _texts(tokenizer: Json) -> dict[str, int]:
    """Id of every token, of the model and added."""
    vocabulary = tokenizer["model"]["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = {text: number for number, (text, _) in enumerate(vocabulary)}
    added = tokenizer.get("added_tokens") or []
    return {**vocabulary, **{token["content"]: token["id"] for token in added}}


def _with_special(tokenizer: Json, texts: Sequence[str], n_last: int) -> Json:
    """A copy with special tokens behind all others but the last ones, which move up."""
    if not texts:
        return tokenizer
    start = n_rows(tokenizer) - n_last
    copy: Json = json.loads(json.dumps(tokenizer))
    if n_last:
        _move_up(copy, start, len(texts))
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    copy["added_tokens"] = (copy.get("added_tokens") or []) + [
        {"id": token_id, "content": text, **flags, "special": True}
        for token_id, text in enumerate(texts, start)
    ]
    vocabulary = copy["model"]["vocab"]
    if isinstance(vocabulary, dict):
        # The library numbers added tokens behind the model's own, whatever their ids in the file;
        # in the model's vocabulary each has the id that is written there.
        added = {token["content"]: token["id"] for token in copy["added_tokens"]}
        vocabulary.update(added)
    return copy


def _move_up(tokenizer: Json, start: int, n_ids: int) -> None:
    """Add to every id from ``start`` on, in a file whose model has them by text."""
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary.update({t: i + n_ids for t, i in vocabulary.items() if i >= start})
    for token in tokenizer["added_tokens"]:
        token["id"] += n_ids if token["id"] >= start else 0
