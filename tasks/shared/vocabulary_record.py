"""A tokenizer's vocabulary as bytes, the one form in which two of them can be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Vocabulary:
    """What each id of a tokenizer stands for.

    Attributes:
        token_bytes: bytes by id, one entry for every row the tokenizer names; ``None`` for a
            special token and for an id that nothing uses. A piece at a word's start carries the
            leading space byte, whatever the tokenizer writes for it.
        token_text: the raw vocabulary string by id, for people; never compared.
        special_ids: id by special token text.
        roles: id by what a special token does: ``bos``, ``eos``, ``pad``, ``unk``,
            ``document_separator``, ``chat_turn_end``... One id may have several roles.
        merges: (left id, right id, result id) in rank order; empty unless the model is BPE. Ids
            from ``len()`` on are of tokens without a row: exact Scaffold-BPE's scaffolds.
    """

    token_bytes: tuple[bytes | None, ...]
    token_text: tuple[str, ...]
    special_ids: Mapping[str, int]
    roles: Mapping[str, int]
    merges: tuple[tuple[int, int, int], ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        """Count the rows the tokenizer names: its largest id plus one."""
        return len(self.token_bytes)

    def merges_of_rows(self) -> tuple[tuple[int, int, int], ...]:
        """Those merges whose parts and result all have a row."""
        return tuple(merge for merge in self.merges if max(merge) < len(self))

    def is_byte_fallback(self, token_id: int) -> bool:
        """Tell whether the id is a ``<0xNN>`` stand-in for one byte and not a real piece."""
        data = self.token_bytes[token_id]
        if data is None or len(data) != 1:
            return False
        return self.token_text[token_id].upper() == f"<0X{data[0]:02X}>"
