"""What special tokens do, told from the config's names and from well-known texts.

Two families write the same thing differently (``<|im_end|>``, ``<|eot_id|>``,
``<end_of_turn>``), so a token is matched by what it does before it is matched by its text.
"""

from collections.abc import Mapping

ROLES_BY_IMPORTANCE = (
    "bos",
    "eos",
    "chat_turn_start",
    "chat_header_end",
    "chat_turn_end",
    "document_separator",
    "fim_prefix",
    "fim_middle",
    "fim_suffix",
    "unk",
    "pad",
    "sep",
    "cls",
    "mask",
)
"""Where one token has several roles, the first that both vocabularies know decides."""

_KNOWN_TEXTS: dict[str, tuple[str, ...]] = {
    "document_separator": (
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|end▁of▁sentence|>",
        "<|im_end_of_text|>",
        "<EOD>",
        "<eod>",
    ),
    "chat_turn_start": (
        "<|im_start|>",
        "<|start_header_id|>",
        "<start_of_turn>",
        "<|turn>",
        "<|start_of_role|>",
        "<|START_OF_TURN_TOKEN|>",
        "[INST]",
    ),
    "chat_header_end": ("<|end_header_id|>", "<|end_of_role|>", "<|im_sep|>"),
    "chat_turn_end": (
        "<|im_end|>",
        "<|eot_id|>",
        "<end_of_turn>",
        "<turn|>",
        "<|end|>",
        "<|END_OF_TURN_TOKEN|>",
    ),
    "fim_prefix": ("<fim_prefix>", "<|fim_prefix|>", "<|fim▁begin|>"),
    "fim_middle": ("<fim_middle>", "<|fim_middle|>", "<|fim▁end|>"),
    "fim_suffix": ("<fim_suffix>", "<|fim_suffix|>", "<|fim▁hole|>"),
}


def find_roles(named_ids: Mapping[str, int], special_ids: Mapping[str, int]) -> dict[str, int]:
    """Give each role the id of its token, as far as there is one.

    Args:
        named_ids: id by role, as ``tokenizer_config.json`` names them.
        special_ids: id by special token text.

    Returns:
        Id by role. ``document_separator`` stands wherever any of its known texts, ``eos`` or
        ``bos`` does.
    """
    roles = dict(named_ids)
    for role, texts in _KNOWN_TEXTS.items():
        known = [special_ids[text] for text in texts if text in special_ids]
        if known:
            roles[role] = known[0]
    for role in ("eos", "bos"):
        if role in roles:
            roles.setdefault("document_separator", roles[role])
    return {role: roles[role] for role in ROLES_BY_IMPORTANCE if role in roles}
