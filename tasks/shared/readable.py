"""Tokens as a person can read them."""

_VISIBLE = str.maketrans({" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"})


def readable(data: bytes | None, text: str = "") -> str:
    """Show bytes as text, its white space visible and what cannot be shown as escapes."""
    if data is None:
        return text
    try:
        shown = data.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02X}" for byte in data)
    return printable(shown.translate(_VISIBLE))


def printable(text: str) -> str:
    """Show what would steer a terminal, or be invisible, as escapes."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04X}" for c in text)
