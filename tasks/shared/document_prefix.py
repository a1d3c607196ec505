"""Which special token stands before every document.

Training packs documents behind it and evaluation scores the first token after it, so both read it
here. The choice is by role: the old and the new tokenizer then put the same token there, whatever
its id. For SmolLM2 it is ``<|endoftext|>``, which separated documents in pretraining, and not the
bos ``<|im_start|>``, which opens chat turns.
"""

from collections.abc import Mapping

from tasks.shared.errors import InputError

PREFIX_ROLES = ("document_separator", "eos", "bos")
"""In order of preference: eos usually doubles as separator, bos only sometimes."""


class NoDocumentPrefixError(InputError):
    """The tokenizer has no special token that could stand before a document."""


def document_prefix_id(roles: Mapping[str, int]) -> int:
    """Find the id of the token before every document.

    Args:
        roles: id by role, as in ``Vocabulary.roles``.

    Returns:
        The id of the first role of ``PREFIX_ROLES`` that the tokenizer fills.

    Raises:
        NoDocumentPrefixError: it fills none of them.
    """
    for role in PREFIX_ROLES:
        if role in roles:
            return roles[role]
    raise NoDocumentPrefixError(
        f"The tokenizer fills only the roles {sorted(roles) or 'none'}, but a document must follow "
        f"one of {', '.join(PREFIX_ROLES)}; name such a token in tokenizer_config.json."
    )
