"""From SentencePiece to ``tokenizer.json``.

The converters of transformers are not used. They list every split of a piece as a merge, in the
order of ids where they are given no scores, and they drop the type of unused pieces, the space put
first and the spaces taken out. Here merges follow from the scores by the rule that SentencePiece
joins by, and the outcome is compared with SentencePiece on texts made of the model's own pieces.
"""

import base64
import json
import random
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.format_errors import FormatFileError, NotExpressibleError
from tasks.tokenizer.sentencepiece_format import METASPACE, ROLES, Kind, ModelType, new_model
from tasks.tokenizer.sentencepiece_pieces import bpe_of, unigram_of

_SAMPLES = (
    "Hello, world! It's 12:34 on 2024-05-06.",
    "Über die Straßenverkehrsordnung entscheidet das Bundesministerium.",
    "def f(x):\n    return {'a': [x, 1.5e-3]}  # ok\n",
    "日本語と中文、한국어. Ελληνικά, русский, עברית, العربية, ไทย",
    "😀👩\u200d🚀 ½ ² Ⅷ ﬁ \uff21\uff11 naïve cafe\u0301 €",
    " a  b   c ",
    "\ta\u00a0b\u3000c\r\n",
    "x",
    " ",
    "",
)
_N_TEXTS_OF_PIECES = 200
_PIECES_A_TEXT = 20


def read_sentencepiece(path: Path) -> tuple[Json, dict[str, str]]:
    """Read a ``.model`` of type BPE or Unigram.

    ``tokenizer.json`` gives the same ids for any text, with four differences that are left:
    control pieces are found in text, and where a space is put first, one is put after them too, as
    in published Llama tokenizers; a Unigram model with byte fallback finds its byte pieces, as in
    ``<0x41>``; of cuts with the same score up to rounding, Unigram may choose another.

    Returns:
        ``tokenizer.json``, and the text of the ``bos``, ``eos``, ``pad`` and ``unk`` pieces.

    Raises:
        FormatFileError: the file is no SentencePiece model.
        NotExpressibleError: it is of another type, has scores or pieces with which tokenizers
            would cut otherwise, or does cut otherwise in the comparison.
    """
    data = path.read_bytes()
    try:
        processor = SentencePieceProcessor(model_proto=data)
    except (RuntimeError, OSError) as error:
        raise FormatFileError(
            f"{path} is no SentencePiece model ({error}); fetch it again. A file of ranks, one in "
            "base64 a line, is read as tiktoken's."
        ) from None
    model = new_model()
    model.ParseFromString(data)
    tokenizer = _tokenizer(path, model)
    _check_same_ids(path, tokenizer, processor, model)
    trainer = model.trainer_spec
    ids = {role: getattr(trainer, f"{role}_id") for role in ROLES}
    return tokenizer, {
        role: model.pieces[i].piece for role, i in ids.items() if 0 <= i < len(model.pieces)
    }


def _tokenizer(path: Path, model: Any) -> Json:
    kind = model.trainer_spec.model_type
    if kind not in (ModelType.BPE, ModelType.UNIGRAM) or (
        model.trainer_spec.treat_whitespace_as_suffix
    ):
        raise NotExpressibleError(
            f"{path} has model_type {kind} and treat_whitespace_as_suffix "
            f"{model.trainer_spec.treat_whitespace_as_suffix}; read are types 1 (Unigram) and 2 "
            "(BPE) with spaces before words. Use the tokenizer.json published with the model."
        )
    own = [piece.piece for piece in model.pieces if piece.type == Kind.USER_DEFINED]
    if own and model.normalizer_spec.add_dummy_prefix:
        raise NotExpressibleError(
            f"{path} puts a space before all text and has {len(own)} user-defined pieces (first: "
            f"{own[0]!r}), and tokenizers would put one after each of them. Use the "
            "tokenizer.json published with the model."
        )
    normalizer, decoder = _around(model)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(token_id, piece)
            for token_id, piece in enumerate(model.pieces)
            if piece.type in (Kind.CONTROL, Kind.USER_DEFINED, Kind.UNKNOWN)
        ],
        "normalizer": normalizer,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": decoder,
        "model": (bpe_of if kind == ModelType.BPE else unigram_of)(path, model),
    }


def _around(model: Any) -> tuple[Json | None, Json]:
    """Normaliser and decoder, in the order of SentencePiece's steps."""
    spec = model.normalizer_spec
    space = METASPACE if spec.escape_whitespaces else " "
    steps: list[Json] = []
    if spec.precompiled_charsmap:
        charsmap = base64.b64encode(spec.precompiled_charsmap).decode("ascii")
        steps.append({"type": "Precompiled", "precompiled_charsmap": charsmap})
    if spec.remove_extra_whitespaces:
        steps += [_replace({"Regex": r"\A +"}, ""), _replace({"Regex": " {2,}"}, " ")]
    if spec.escape_whitespaces:
        steps.append(_replace({"String": " "}, METASPACE))
    if spec.remove_extra_whitespaces:
        # At the end of text, but not at its start, a literal metaspace goes too.
        steps.append(_replace({"Regex": rf"{space}+\z"}, ""))
    decoders: list[Json] = [{"type": "ByteFallback"}, {"type": "Fuse"}]
    if spec.escape_whitespaces:
        decoders.insert(0, _replace({"String": METASPACE}, " "))
    if spec.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": space})
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    normalizer: Json | None = {"type": "Sequence", "normalizers": steps} if steps else None
    return normalizer, {"type": "Sequence", "decoders": decoders}


def _replace(pattern: Json, content: str) -> Json:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _added(token_id: int, piece: Any) -> Json:
    own = piece.type == Kind.USER_DEFINED
    return {
        "id": token_id,
        "content": piece.piece,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        # SentencePiece looks for user-defined pieces after it has normalised the text.
        "normalized": own,
        "special": not own,
    }


def _check_same_ids(
    path: Path, tokenizer: Json, processor: SentencePieceProcessor, model: Any
) -> None:
    draw = random.Random(0)
    pieces = [p.piece for p in model.pieces if p.type in (Kind.NORMAL, Kind.USER_DEFINED)]
    texts = [*_SAMPLES]
    for _ in range(_N_TEXTS_OF_PIECES if pieces else 0):
        text = "".join(draw.choices(pieces, k=_PIECES_A_TEXT))
        texts.append(text.replace(METASPACE, " "))
    library = Tokenizer.from_str(json.dumps(tokenizer))
    encodings = library.encode_batch(texts, add_special_tokens=False)
    for text, encoding, ids in zip(texts, encodings, processor.encode(texts), strict=True):
        if encoding.ids != ids:
            raise NotExpressibleError(
                f"{path} as a tokenizer.json cuts {text!r} to {encoding.ids}, and SentencePiece "
                f"to {ids}. Use the tokenizer.json published with the model."
            )
