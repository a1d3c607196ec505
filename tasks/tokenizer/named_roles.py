"""Which token begins, ends and pads a text, where several files may say so."""

from collections.abc import Collection, Mapping

from tasks.shared.errors import InputError
from tasks.shared.vocabulary_file import NamedRole


class RolesConflictError(InputError):
    """A role has two tokens, or one that does not exist."""


def agreed_roles(
    named: Mapping[str, Mapping[str, str]],
    overrides: Mapping[NamedRole, str | None],
    tokens: Collection[str],
) -> dict[str, str]:
    """Token text by role.

    Args:
        named: text by role, by the file that says it.
        overrides: what counts whatever the files say; ``None`` leaves a role without a token.
        tokens: texts of all tokens.

    Raises:
        RolesConflictError: two files name different tokens for a role, or a file names one that
            is none.
    """
    agreed: dict[str, str] = {}
    by: dict[str, str] = {}
    for file, roles in named.items():
        for role, text in roles.items():
            if role in overrides:
                continue
            if agreed.setdefault(role, text) != text:
                raise RolesConflictError(
                    f"{by[role]} names {agreed[role]!r} as {role} and {file} names {text!r}; say "
                    f"which with tokenizer.roles, as in {role}: {text!r}."
                )
            by.setdefault(role, file)
    if absent := [role for role, text in agreed.items() if text not in tokens]:
        role = absent[0]
        raise RolesConflictError(
            f"{by[role]} names {agreed[role]!r} as {role}, which is no token of this tokenizer; "
            f"name one that is with tokenizer.roles, or null, as in {role}: null."
        )
    agreed.update({role: text for role, text in overrides.items() if text is not None})
    return agreed
