"""SentencePiece's ``.model`` files of BPE type, written from pieces.

SentencePiece cuts text to characters, joins neighbours by score, and writes a character that is no
piece as bytes. It has no regex and knows no piece of half a character, so a byte-level vocabulary
with a regex for words, which is what this project trains, has no such file. One whose pieces are
whole characters has, and with it Scaffold-BPE: a piece of type unused is joined as any other and,
if it is left at the end, cut again into the two that it was joined from.
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import IntEnum
from pathlib import Path
from typing import Any

from tasks.tokenizer.format_errors import NotExpressibleError

METASPACE = "▁"
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
ROLES = ("unk", "bos", "eos", "pad")

# The generated module makes its classes when it is imported, so nobody can tell their types.
_proto: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")


class Kind(IntEnum):
    """Types of pieces, and their numbers in the file."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class ModelType(IntEnum):
    """Algorithms, and their numbers in the file."""

    UNIGRAM = 1
    BPE = 2


def new_model() -> Any:
    """Make an empty ``ModelProto``."""
    return _proto.ModelProto()


def write_sentencepiece(
    path: Path,
    pieces: Sequence[str],
    merge_order: Sequence[int],
    roles: Mapping[str, int],
    *,
    control: AbstractSet[int] = frozenset(),
    user_defined: AbstractSet[int] = frozenset(),
    unused: AbstractSet[int] = frozenset(),
    byte_fallback: bool,
    metaspace: bool,
    dummy_prefix: bool = False,
) -> None:
    """Write a BPE model; equal arguments give equal bytes. The text is not normalised.

    Args:
        path: the file.
        pieces: text by id.
        merge_order: ids of the pieces that are joined from others, first joined first.
        roles: id of ``unk``, and of ``bos``, ``eos`` and ``pad`` as far as there are such.
        control: ids that no text is cut to, roles included or not.
        user_defined: ids of pieces that are found in text before all else.
        unused: ids of pieces that serve as steps on the way alone: Scaffold-BPE's scaffolds.
        byte_fallback: whether ``<0xNN>`` pieces stand for bytes; then there must be 256.
        metaspace: whether a space is written as ``▁``.
        dummy_prefix: whether a space is put before all text.

    Raises:
        NotExpressibleError: there is no ``unk``, a byte is missing, a piece occurs twice, or a
            piece of several characters is never joined.
    """
    kinds = {**dict.fromkeys(user_defined, Kind.USER_DEFINED), **dict.fromkeys(unused, Kind.UNUSED)}
    kinds |= dict.fromkeys({*control, *roles.values()}, Kind.CONTROL)
    if byte_fallback:
        kinds |= {i: Kind.BYTE for i, text in enumerate(pieces) if BYTE_PIECE.fullmatch(text)}
    if "unk" in roles:
        kinds[roles["unk"]] = Kind.UNKNOWN
    _check(pieces, merge_order, kinds, byte_fallback)
    scores = {token_id: float(-rank) for rank, token_id in enumerate(merge_order)}
    model = new_model()
    for token_id, text in enumerate(pieces):
        kind = kinds.get(token_id, Kind.NORMAL)
        model.pieces.add(piece=text, score=scores.get(token_id, 0.0), type=int(kind))
    trainer = model.trainer_spec
    trainer.model_type = int(ModelType.BPE)
    trainer.vocab_size = len(pieces)
    trainer.byte_fallback = byte_fallback
    for role in ROLES:
        setattr(trainer, f"{role}_id", roles.get(role, -1))
        if role in roles:
            setattr(trainer, f"{role}_piece", pieces[roles[role]])
    for normalizer in (model.normalizer_spec, model.denormalizer_spec):
        normalizer.name = "identity"
        normalizer.add_dummy_prefix = dummy_prefix
        normalizer.remove_extra_whitespaces = False
        normalizer.escape_whitespaces = metaspace
    path.write_bytes(model.SerializeToString(deterministic=True))


def _check(
    pieces: Sequence[str], merge_order: Sequence[int], kinds: Mapping[int, Kind], bytes_too: bool
) -> None:
    n_bytes = sum(kind == Kind.BYTE for kind in kinds.values())
    if Kind.UNKNOWN not in kinds.values():
        raise NotExpressibleError(
            f"SentencePiece needs a piece for what it cannot write, and none of {len(pieces)} "
            "has the role unk; add one."
        )
    if bytes_too and n_bytes != 256:
        raise NotExpressibleError(
            f"SentencePiece needs 256 pieces <0xNN> for byte fallback, and {n_bytes} are here; add "
            "the others, or do without byte fallback."
        )
    if len(set(pieces)) < len(pieces):
        raise NotExpressibleError(
            f"{len(pieces) - len(set(pieces))} of {len(pieces)} pieces occur twice, and "
            "SentencePiece has one id for a text; rename them."
        )
    joined = set(merge_order)
    loose = [
        text
        for i, text in enumerate(pieces)
        if len(text) > 1 and i not in joined and kinds.get(i, Kind.UNUSED) == Kind.UNUSED
    ]
    if loose:
        raise NotExpressibleError(
            f"{len(loose)} pieces of several characters have no place in the order of merges "
            f"(first: {loose[0]!r}), by which SentencePiece joins them; make them control pieces."
        )
