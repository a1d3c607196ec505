"""The model part of a ``tokenizer.json`` from the pieces of a SentencePiece model."""

from pathlib import Path
from typing import Any

from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.format_errors import NotExpressibleError
from tasks.tokenizer.rank_rule import last_merges
from tasks.tokenizer.sentencepiece_format import Kind


def bpe_of(path: Path, model: Any) -> Json:
    """Write the pieces of a BPE model with the merges that their scores imply.

    Args:
        path: of the file, for errors.
        model: its ``ModelProto``.

    Raises:
        NotExpressibleError: scores are equal, scaffolds are in use, or a character that pieces
            are joined from is none itself.
    """
    vocabulary = {piece.piece: i for i, piece in enumerate(model.pieces)}
    joined = [p for p in model.pieces if p.type in (Kind.NORMAL, Kind.UNUSED) and len(p.piece) > 1]
    by_score = sorted(joined, key=lambda piece: -piece.score)
    n_tied = len(joined) - len({piece.score for piece in joined})
    if n_tied:
        raise NotExpressibleError(
            f"{path} has {n_tied} pieces with the score of another, as where pieces were appended "
            "with score 0, and SentencePiece then joins the leftmost pair; merges in a "
            "tokenizer.json have an order. Use the one published with the model."
        )
    pairs = last_merges({piece.piece: rank for rank, piece in enumerate(by_score)})
    scaffolds = [p.piece for p in joined if p.type == Kind.UNUSED and pairs[p.piece] is not None]
    if scaffolds:
        raise NotExpressibleError(
            f"{path} has {len(scaffolds)} unused pieces that are joined and cut again (first: "
            f"{scaffolds[0]!r}), which a tokenizer.json cannot say; load it with sentencepiece."
        )
    merges = [[*pair] for pair in pairs.values() if pair is not None]
    homeless = [part for pair in merges for part in pair if part not in vocabulary]
    if homeless:
        raise NotExpressibleError(
            f"{path} joins {homeless[0]!r}, which is no piece, and a tokenizer.json needs it to be "
            "one. Use the one published with the model."
        )
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": _unknown(model).piece,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": model.trainer_spec.byte_fallback,
        "ignore_merges": False,
        "vocab": vocabulary,
        "merges": merges,
    }


def unigram_of(path: Path, model: Any) -> Json:
    """Write the pieces of a Unigram model with their scores.

    Args:
        path: of the file, for errors.
        model: its ``ModelProto``.

    Raises:
        NotExpressibleError: a piece is of type unused.
    """
    unused = [piece.piece for piece in model.pieces if piece.type == Kind.UNUSED]
    if unused:
        raise NotExpressibleError(
            f"{path} has {len(unused)} unused pieces (first: {unused[0]!r}), which tokenizers "
            "would use. Use the tokenizer.json published with the model."
        )
    return {
        "type": "Unigram",
        "unk_id": [*model.pieces].index(_unknown(model)),
        "vocab": [[piece.piece, piece.score] for piece in model.pieces],
        "byte_fallback": model.trainer_spec.byte_fallback,
    }


def _unknown(model: Any) -> Any:
    return next(piece for piece in model.pieces if piece.type == Kind.UNKNOWN)
