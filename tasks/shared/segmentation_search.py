"""The search that each kind of model makes for its pieces.

A search may lose bytes it has no pieces for; ``Segmenter`` checks that none were lost.
"""

import json
from collections.abc import Callable, Sequence

from tokenizers import Tokenizer

from tasks.shared.vocabulary_codec import ByteLevel, PlainText, WordPieces, codec_of
from tasks.shared.vocabulary_file import Json, TokenizerFile
from tasks.shared.vocabulary_record import Vocabulary

Search = Callable[[Sequence[bytes]], list[list[int]]]


def search_of(file: TokenizerFile, vocabulary: Vocabulary) -> Search:
    """Choose the search for a tokenizer."""
    codec = codec_of(file)
    if isinstance(codec, WordPieces):
        return _longest_match(vocabulary)
    if file.model_type == "WordLevel":
        id_of = _id_of_bytes(vocabulary)
        return lambda tokens: [[id_of[token]] if token in id_of else [] for token in tokens]
    return _model_alone(Tokenizer.from_str(json.dumps(_bare(file, vocabulary))), codec, vocabulary)


def _model_alone(model: Tokenizer, codec: ByteLevel | PlainText, vocabulary: Vocabulary) -> Search:
    id_of = _id_of_bytes(vocabulary)
    id_of_byte = {token[0]: token_id for token, token_id in id_of.items() if len(token) == 1}

    def cut_all(tokens: Sequence[bytes]) -> list[list[int]]:
        spans = [codec.to_spans(token) for token in tokens]
        texts = [span for parts in spans for span in parts if isinstance(span, str)]
        encodings = iter(model.encode_batch_fast(texts, add_special_tokens=False))
        cuts: list[list[int]] = []
        for parts in spans:
            ids: list[int] = []
            for span in parts:
                if isinstance(span, str):
                    ids += next(encodings).ids
                else:
                    ids += [id_of_byte[byte] for byte in span if byte in id_of_byte]
            cuts.append(ids)
        return cuts

    return cut_all


def _longest_match(vocabulary: Vocabulary) -> Search:
    """From the left, take the longest piece each time; stop where there is none.

    No piece has a space inside, so on a word this is what WordPiece does.
    """
    id_of = _id_of_bytes(vocabulary)
    longest = max(map(len, id_of), default=0)

    def cut(token: bytes) -> list[int]:
        ids: list[int] = []
        start = 0
        while start < len(token):
            ends = range(min(len(token), start + longest), start, -1)
            end = next((end for end in ends if token[start:end] in id_of), None)
            if end is None:
                break
            ids.append(id_of[token[start:end]])
            start = end
        return ids

    return lambda tokens: [cut(token) for token in tokens]


def _id_of_bytes(vocabulary: Vocabulary) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for token_id, token in enumerate(vocabulary.token_bytes):
        if token is not None:
            found.setdefault(token, token_id)
    return found


def _bare(file: TokenizerFile, vocabulary: Vocabulary) -> Json:
    """The same model with nothing around it, deterministic, its special pieces out of reach."""
    specials = set(vocabulary.special_ids)
    model = {**file.model, "type": file.model_type}
    if isinstance(model["vocab"], dict):
        merged = {part for merge in vocabulary.merges for part in merge}
        model["vocab"] = {
            _out_of_reach(text) if text in specials and token_id not in merged else text: token_id
            for text, token_id in model["vocab"].items()
        }
        # Without it a character that has no piece is left out, which the caller notices.
        model["unk_token"] = None
        model["dropout"] = None
    else:
        model["vocab"] = [
            [_out_of_reach(text) if text in specials else text, score]
            for text, score in model["vocab"]
        ]
    return {"version": "1.0", "added_tokens": [], "model": model}


def _out_of_reach(text: str) -> str:
    """A noncharacter in front: no text asked for has one."""
    return "\U0010ffff" + text
