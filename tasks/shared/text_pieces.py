"""Cut a text to lengths in bytes; free of torch, for what only describes results."""


def cut_pieces(text: str, piece_bytes: int) -> list[str]:
    """Cut a text into consecutive pieces of at most ``piece_bytes``, never inside a character.

    The pieces joined are the text; only the last may be more than three bytes short.
    """
    encoded, pieces, start = text.encode(), list[str](), 0
    while start < len(encoded):
        end = min(start + piece_bytes, len(encoded))
        while end < len(encoded) and encoded[end] & 0xC0 == 0x80:  # a continuation byte
            end -= 1
        pieces.append(encoded[start:end].decode())
        start = end
    return pieces
