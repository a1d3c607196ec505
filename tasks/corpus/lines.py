"""Lines and documents as hashes: what duplicates, splits and order are decided by."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt32, UInt64


def document_id(text: str) -> str:
    """128 bits of the text's hash, as 32 hexadecimal digits: equal texts, equal ids."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def line_hashes(lines: Sequence[str]) -> UInt64[np.ndarray, " L"]:
    """One 64-bit hash a line, white space around it ignored; 0 for a blank line."""
    hashed = (
        hashlib.blake2b(bare.encode(), digest_size=8).digest() if (bare := line.strip()) else _BLANK
        for line in lines
    )
    return np.frombuffer(b"".join(hashed), dtype=np.uint64)


def line_sizes(lines: Sequence[str]) -> UInt32[np.ndarray, " L"]:
    """UTF-8 bytes of each line with its newline."""
    return np.array([len(line.encode()) + 1 for line in lines], dtype=np.uint32)


def order_and_side(
    ids: Sequence[str], seed: int, heldout_fraction: float
) -> tuple[UInt64[np.ndarray, " N"], np.ndarray]:
    """A random order and the held-out side of documents, from their own hashes alone.

    No document's side or place depends on which others there are.

    Args:
        ids: of the documents.
        seed: draws another order and other sides.
        heldout_fraction: share held out.

    Returns:
        Sort keys, and True for documents held out.
    """
    key = seed.to_bytes(8, "little")
    digests = b"".join(
        hashlib.blake2b(bytes.fromhex(i), digest_size=16, key=key).digest() for i in ids
    )
    drawn = np.frombuffer(digests, dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return drawn[:, 0], drawn[:, 1] / 2.0**64 < heldout_fraction


_BLANK = bytes(8)
