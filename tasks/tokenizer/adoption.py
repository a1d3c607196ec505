"""A pretrained tokenizer in the place of the model's own.

It stays as it is, and what the model needs stands behind it. A token of the model is needed for
its role (it begins, ends or pads a text...), because the chat template that is taken over writes
its text, or because the post-processor that is taken over adds it. For a role any token of the same
role does; a template needs the very text.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tasks.shared.vocabulary_file import Json, TokenizerFile
from tasks.shared.vocabulary_reading import vocabulary_of
from tasks.shared.vocabulary_record import Vocabulary
from tasks.shared.vocabulary_roles import ROLES_BY_IMPORTANCE
from tasks.tokenizer.carry_over import (
    added_entry,
    added_ids,
    carry_post_processor,
    tokens_put_around,
)
from tasks.tokenizer.named_roles import RolesConflictError

_NOT_BY_ROLE = ("chat_turn_start", "chat_header_end", "chat_turn_end", "unk")
"""Chat tokens belong to a template; a tokenizer knows for itself whether it needs ``unk``."""


@dataclass(frozen=True)
class Adopted:
    """A pretrained tokenizer with what the model needs.

    Attributes:
        file: its ``tokenizer.json`` and roles.
        carried: texts of the model's special tokens that it was given.
    """

    file: TokenizerFile
    carried: tuple[str, ...]


def adopt(
    donor: TokenizerFile, source: TokenizerFile, template: str, without_roles: Collection[str] = ()
) -> Adopted:
    """Give a tokenizer the tokens of the model that it lacks, with ids behind its own.

    Args:
        donor: the pretrained tokenizer; the texts of its roles may be tokens of the model.
        source: the model's own.
        template: the model's chat template if it is taken over, else empty.
        without_roles: roles that shall have no token.

    Raises:
        RolesConflictError: a role is of a text that neither has as a token.
    """
    around = _post_processor(donor, source, without_roles)
    put_around = tokens_put_around(around)
    own, of_source = vocabulary_of(donor), added_ids(source)
    ids = {text: token_id for token_id, text in donor.vocabulary_items()}
    ids |= {content: token_id for token_id, content, _ in donor.added}
    _check_roles(donor, ids, of_source)
    needed = _needed(source, template, put_around, without_roles)
    texts = {
        text: text if text in ids or text in template else _of_role(own, roles) or text
        for text, roles in needed.items()
    }
    named = donor.named | {
        role: texts[text]
        for role, text in source.named.items()
        if text in texts and role not in {*donor.named, *without_roles, "unk"}
    }
    found = {content for _, content, _ in donor.added}
    wanted = {*texts.values(), *named.values()}
    carried = [text for text in of_source if text in wanted and text not in found]
    for text in carried:
        ids.setdefault(text, max(ids.values()) + 1)
    tokenizer: Json = json.loads(json.dumps(donor.tokenizer))
    if carried:
        entries = [added_entry(source, text, ids[text]) for text in carried]
        _append(tokenizer, entries)
    if put_around:
        tokenizer["post_processor"] = carry_post_processor(around, ids, texts)
    added = tuple(
        (int(token["id"]), str(token["content"]), bool(token["special"]))
        for token in tokenizer.get("added_tokens") or []
    )
    return Adopted(TokenizerFile(donor.folder, tokenizer, added, named), tuple(carried))


def _check_roles(
    donor: TokenizerFile, ids: Mapping[str, int], of_source: Mapping[str, int]
) -> None:
    for role, text in donor.named.items():
        if text not in ids and text not in of_source:
            raise RolesConflictError(
                f"tokenizer.roles names {text!r} as {role}, which is a token neither of this "
                f"tokenizer nor of the model, whose special tokens are {', '.join(of_source)}; "
                "name one that is."
            )


def _post_processor(
    donor: TokenizerFile, source: TokenizerFile, without_roles: Collection[str]
) -> Json | None:
    """The model's, unless the tokenizer's own adds tokens or a role in it is not wanted."""
    around = source.tokenizer.get("post_processor")
    unwanted = {source.named.get(role) for role in without_roles} & tokens_put_around(around)
    own = tokens_put_around(donor.tokenizer.get("post_processor"))
    return None if own or unwanted else around


def _needed(
    source: TokenizerFile, template: str, put_around: set[str], without_roles: Collection[str]
) -> dict[str, list[str]]:
    """Tokens of the model that are needed, with their roles, the more important first."""
    by_role = [r for r in ROLES_BY_IMPORTANCE if r not in {*_NOT_BY_ROLE, *without_roles}]
    ids_by_role = vocabulary_of(source).roles
    roles = {
        text: [role for role in by_role if ids_by_role.get(role) == token_id]
        for text, token_id in added_ids(source).items()
    }
    return {
        text: of_token
        for text, of_token in roles.items()
        if of_token or text in put_around or text in template
    }


def _of_role(own: Vocabulary, roles: Sequence[str]) -> str | None:
    return next((own.token_text[own.roles[role]] for role in roles if role in own.roles), None)


def _append(tokenizer: Json, entries: list[Json]) -> None:
    """Add tokens behind the last id.

    The tokenizers library numbers added tokens behind the model's vocabulary whatever the file
    says, so that all of them get their place in the vocabulary too, where it is one of ids.
    """
    tokenizer["added_tokens"] = [*(tokenizer.get("added_tokens") or []), *entries]
    if isinstance(tokenizer["model"]["vocab"], dict):
        ids = {str(token["content"]): int(token["id"]) for token in tokenizer["added_tokens"]}
        tokenizer["model"]["vocab"].update(ids)
