"""The printable stand-ins that byte-level tokenizers write for the 256 byte values.

GPT-2 fixed the convention: a byte that Latin-1 shows as a visible character stands for itself,
the other 68 take the characters from U+0100 on, in byte order. So a space reads ``Ġ``.
"""


def _byte_characters() -> tuple[str, ...]:
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    characters: list[str] = []
    for byte in range(256):
        hidden_before = byte - sum(1 for other in visible if other < byte)
        characters.append(chr(byte) if byte in visible else chr(0x100 + hidden_before))
    return tuple(characters)


BYTE_CHARACTERS = _byte_characters()
"""The character of each byte value, 0 to 255."""

_BYTE_OF = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}
_CHARACTER_TABLE = dict(enumerate(BYTE_CHARACTERS))


def to_alphabet(data: bytes) -> str:
    """Write bytes, valid UTF-8 or not, as one character each: ``b" a"`` is ``"Ġa"``."""
    return data.decode("latin-1").translate(_CHARACTER_TABLE)


def from_alphabet(text: str) -> bytes | None:
    """Read the bytes back; ``None`` if a character stands for no byte."""
    try:
        return bytes(map(_BYTE_OF.__getitem__, text))
    except KeyError:
        return None
