"""A Scaffold-BPE tokenizer that encodes exactly, for transformers with trust_remote_code=True.

Scaffold-BPE, 2024 (arXiv 2404.17808), algorithm 2: text is encoded with all tokens, and each
scaffold token left over is replaced by the visible tokens that spell it. ``tokenizer.json`` holds
all tokens, the visible ones first; ``scaffold.json`` holds how many are visible and how each
scaffold token is spelled. The model has rows for the visible tokens alone.

This file stands in the tokenizer's own folder and imports nothing of the program that wrote it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerFast

VERSION = "1.0 behind scaffold.json: AutoTokenizer.from_pretrained(.., trust_remote_code=True)"
"""``version`` of the ``tokenizer.json``: the tokenizers library refuses it and shows this text, so
that nothing takes the ids of scaffold tokens, which have no rows, for ids of the model."""


class ScaffoldTokenizer(PreTrainedTokenizerFast):
    """transformers' fast tokenizer with scaffold tokens replaced wherever text becomes ids."""

    vocab_files_names = {"tokenizer_file": "tokenizer.json", "scaffold_file": "scaffold.json"}  # noqa: RUF012
    _auto_class = "AutoTokenizer"

    def __init__(
        self, tokenizer_file: str | None = None, scaffold_file: str | None = None, **kwargs: Any
    ) -> None:
        """Read both files; the rest is transformers' own."""
        for name, path in (("tokenizer.json", tokenizer_file), ("scaffold.json", scaffold_file)):
            if path is None:
                raise ValueError(
                    f"The tokenizer folder has no {name}, without which text cannot be encoded; "
                    "copy the whole folder."
                )
        self._tokenizer = _ExactBackend(*_read(str(tokenizer_file), str(scaffold_file)))
        super().__init__(**kwargs)

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> Any:
        """Leave the files to ``__init__``."""
        return kwargs

    def _add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        unknown = [str(t) for t in new_tokens if self._tokenizer.token_to_id(str(t)) is None]
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is no token, and ids behind the vocabulary are those of scaffold "
                "tokens, so none can be added; train the tokenizer with it."
            )
        return super()._add_tokens(new_tokens, special_tokens)

    def _encode_without_added_tokens(self, text: str) -> list[int]:
        return self._tokenizer.split(super()._encode_without_added_tokens(text))

    def _save_pretrained(
        self, save_directory: Any, file_names: tuple[str, ...], *args: Any, **kwargs: Any
    ) -> tuple[str, ...]:
        written = super()._save_pretrained(save_directory, file_names, *args, **kwargs)
        path = Path(save_directory) / "scaffold.json"
        path.write_text(json.dumps(self._tokenizer.record()) + "\n", encoding="utf-8")
        return (*written, str(path))


def _read(tokenizer_file: str, scaffold_file: str) -> tuple[Tokenizer, int, dict[int, list[int]]]:
    try:
        record = json.loads(Path(scaffold_file).read_text(encoding="utf-8"))
        n_visible = int(record["n_visible"])
        splits = {int(i): [int(part) for part in parts] for i, parts in record["splits"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{scaffold_file} is no list of scaffold tokens ({error!r}); copy it again."
        ) from None
    tokens = json.loads(Path(tokenizer_file).read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_str(json.dumps({**tokens, "version": "1.0"}))
    expected = set(range(n_visible, tokenizer.get_vocab_size()))
    if set(splits) != expected or any(not 0 <= i < n_visible for s in splits.values() for i in s):
        raise ValueError(
            f"{scaffold_file} must spell the ids {n_visible} to {tokenizer.get_vocab_size() - 1} "
            "by ids below them, and does not; copy the whole folder again."
        )
    return tokenizer, n_visible, splits


class _ExactBackend:
    """The library's tokenizer; what it encodes and lists has no scaffold tokens."""

    def __init__(self, plain: Tokenizer, n_visible: int, splits: dict[int, list[int]]) -> None:
        spans = {i: _part_spans(plain, i, parts) for i, parts in splits.items()}
        # Attributes that are set later are the library's.
        vars(self).update(plain=plain, n_visible=n_visible, splits=splits, spans=spans)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["plain"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.plain, name, value)

    def __reduce__(self) -> Any:
        return _ExactBackend, (self.plain, self.n_visible, self.splits)

    def record(self) -> dict[str, Any]:
        return {"n_visible": self.n_visible, "splits": self.splits}

    def save(self, path: str, pretty: bool = True) -> None:
        Path(path).write_text(self.to_str(pretty), encoding="utf-8")

    def to_str(self, pretty: bool = False) -> str:
        tokens = {**json.loads(self.plain.to_str()), "version": VERSION}
        return json.dumps(tokens, ensure_ascii=False, indent=2 if pretty else None) + "\n"

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        tokens = self.plain.get_vocab(with_added_tokens)
        return {text: i for text, i in tokens.items() if i < self.n_visible}

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        return self.plain.get_vocab_size(with_added_tokens) - len(self.splits)

    def id_to_token(self, id: int) -> str | None:
        return self.plain.id_to_token(id) if id < self.n_visible else None

    def token_to_id(self, token: str) -> int | None:
        found = self.plain.token_to_id(token)
        return None if found is None or found >= self.n_visible else found

    def encode(self, sequence: Any, pair: Any = None, *args: Any, **options: Any) -> Any:
        one = sequence if pair is None else (sequence, pair)
        return self.encode_batch([one], *args, **options)[0]

    def encode_batch_fast(self, *args: Any, **options: Any) -> list[Any]:
        return self.encode_batch(*args, **options)

    def encode_batch(
        self, input: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Any]:
        """Encode as the library does; lengths to cut and to pad to are those of exact ids."""
        padding = self.plain.padding
        if padding is not None:
            self.plain.no_padding()
        try:
            if self.plain.truncation is None:
                found = self.plain.encode_batch(input, is_pretokenized, add_special_tokens)
                encodings: list[Any] = [_ExactEncoding(self, encoding) for encoding in found]
            else:
                encodings = self._truncated(input, is_pretokenized, add_special_tokens)
        finally:
            if padding is not None:
                self.plain.enable_padding(**padding)
        if padding is not None:
            _pad(encodings, **padding)
        return encodings

    def _truncated(
        self, input: Sequence[Any], is_pretokenized: bool, add_special_tokens: bool
    ) -> list[Encoding]:
        """Split whole texts, then let the library cut them and put special tokens around."""
        truncation, post_processor = self.plain.truncation, self.plain.post_processor
        groups = [_sequences(one, is_pretokenized) for one in input]
        self.plain.no_truncation()
        self.plain.post_processor = None
        try:
            flat = [sequence for group in groups for sequence in group]
            found = self.plain.encode_batch(flat, is_pretokenized, False)
        finally:
            self.plain.post_processor = post_processor
            self.plain.enable_truncation(**truncation)
        rest = iter(found)
        return [
            self.plain.post_process(
                *(self.exact(next(rest), type_id) for type_id, _ in enumerate(group)),
                add_special_tokens=add_special_tokens,
            )
            for group in groups
        ]

    def places(self, ids: list[int]) -> list[int]:
        """Where scaffold tokens stand."""
        # Few texts have one: a look at the largest id is cheaper than an array.
        if max(ids, default=0) < self.n_visible:
            return []
        return np.flatnonzero(np.array(ids) >= self.n_visible).tolist()

    def split(self, ids: list[int]) -> list[int]:
        places = self.places(ids)
        return _spliced(ids, places, [self.splits[ids[place]] for place in places])

    def exact(self, encoding: Encoding, type_id: int = 0) -> Encoding:
        """The library's encoding with scaffold tokens split; 1 is the type of a pair's second."""
        places = self.places(encoding.ids)
        if not places and not type_id:
            return encoding
        state = json.loads(encoding.__getstate__())
        splits = [self.splits[state["ids"][place]] for place in places]
        tokens = [[self.plain.id_to_token(part) for part in parts] for parts in splits]
        offsets = self.offsets(state["ids"], state["offsets"], places)
        for name in ("type_ids", "words", "special_tokens_mask", "attention_mask"):
            state[name] = _repeated(state[name], places, splits)
        lengths = np.ones(len(state["ids"]) + 1, np.int64)
        lengths[places] = [len(parts) for parts in splits]
        new_place = np.concatenate(([0], np.cumsum(lengths)))
        for span in state["sequence_ranges"].values():
            span["start"], span["end"] = (int(new_place[span[end]]) for end in ("start", "end"))
        state["ids"] = _spliced(state["ids"], places, splits)
        state["tokens"] = _spliced(state["tokens"], places, tokens)
        state["offsets"] = offsets
        if type_id:
            state["type_ids"] = [type_id] * len(state["ids"])
        split = Encoding()
        split.__setstate__(json.dumps(state).encode())
        return split

    def offsets(self, ids: list[int], offsets: list[Any], places: list[int]) -> list[Any]:
        parts = [_part_offsets(*offsets[place], *self.spans[ids[place]]) for place in places]
        return _spliced(offsets, places, parts)


class _ExactEncoding:
    """The library's ``Encoding`` with scaffold tokens split: what is read often is made fast."""

    def __init__(self, backend: _ExactBackend, encoding: Encoding) -> None:
        ids = encoding.ids
        self._backend, self._encoding, self._plain_ids = backend, encoding, ids
        self._places = backend.places(ids)
        self._splits = [backend.splits[ids[place]] for place in self._places]
        self.ids = _spliced(ids, self._places, self._splits)
        self._padding: dict[str, Any] | None = None
        self._n_padded = 0

    def __len__(self) -> int:
        return len(self.ids)

    def pad(self, length: int, **padding: Any) -> None:
        self._padding = {"length": length, **padding}
        self._n_padded = max(0, length - len(self.ids))
        self.ids = self._padded(self.ids, padding["pad_id"])

    def _padded(self, values: list[Any], fill: Any) -> list[Any]:
        if not self._n_padded or self._padding is None:
            return values
        fills = [fill] * self._n_padded
        return fills + values if self._padding["direction"] == "left" else values + fills

    @property
    def attention_mask(self) -> list[int]:
        return self._padded([1] * (len(self.ids) - self._n_padded), 0)

    @property
    def type_ids(self) -> list[int]:
        types = _repeated(self._encoding.type_ids, self._places, self._splits)
        return self._padded(types, self._padding["pad_type_id"] if self._padding else 0)

    @property
    def special_tokens_mask(self) -> list[int]:
        mask = _repeated(self._encoding.special_tokens_mask, self._places, self._splits)
        return self._padded(mask, 1)

    @property
    def offsets(self) -> list[tuple[int, int]]:
        offsets = self._backend.offsets(self._plain_ids, self._encoding.offsets, self._places)
        return self._padded(offsets, (0, 0))

    @property
    def n_sequences(self) -> int:
        return self._encoding.n_sequences

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__reduce__()[1][0], name)

    def __reduce__(self) -> Any:
        """Leave the library's own class to whoever keeps it."""
        exact = self._backend.exact(self._encoding)
        if self._padding is not None:
            exact.pad(**self._padding)
        return _itself, (exact,)


def _itself(encoding: Encoding) -> Encoding:
    return encoding


def _sequences(one: Any, is_pretokenized: bool) -> tuple[Any, ...]:
    """The text, or the two of a pair."""
    if is_pretokenized:
        is_pair = len(one) == 2 and not isinstance(one[0], str)
    else:
        is_pair = not isinstance(one, str)
    return tuple(one) if is_pair else (one,)


def _pad(
    encodings: list[Any], length: int | None, pad_to_multiple_of: int | None, **fill: Any
) -> None:
    length = max(map(len, encodings), default=0) if length is None else length
    if pad_to_multiple_of:
        length += -length % pad_to_multiple_of
    for encoding in encodings:
        encoding.pad(length, **fill)


def _spliced(values: list[Any], places: list[int], parts: list[list[Any]]) -> list[Any]:
    """Put several values where one stood."""
    if not places:
        return values
    spliced: list[Any] = []
    start = 0
    for place, between in zip(places, parts, strict=True):
        spliced += values[start:place]
        spliced += between
        start = place + 1
    return spliced + values[start:]


def _repeated(values: list[Any], places: list[int], splits: list[list[int]]) -> list[Any]:
    repeats = [[values[p]] * len(parts) for p, parts in zip(places, splits, strict=True)]
    return _spliced(values, places, repeats)


_PRINTABLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_UNPRINTABLE = [byte for byte in range(0x100) if byte not in _PRINTABLE]
_BYTES = {chr(b): b for b in _PRINTABLE} | {chr(256 + i): b for i, b in enumerate(_UNPRINTABLE)}
"""The byte-level alphabet: in a token's text, one character a byte."""


def _part_spans(
    plain: Tokenizer, scaffold: int, parts: list[int]
) -> tuple[list[tuple[int, int]], int, int]:
    """Which characters each part of a scaffold covers, how many there are, and spaces in front."""
    data = bytes(_BYTES[character] for character in plain.id_to_token(scaffold) or "")
    # A character begins at every byte but those from 0x80 to 0xBF.
    begun = np.cumsum([byte & 0xC0 != 0x80 for byte in data])
    of_byte = (begun - begun[0]).tolist()
    ends = np.cumsum([len(plain.id_to_token(part) or "") for part in parts]).tolist()
    starts = [0, *ends[:-1]]
    spans = [(of_byte[a], of_byte[b - 1] + 1) for a, b in zip(starts, ends, strict=True)]
    return spans, of_byte[-1] + 1, len(data) - len(data.lstrip(b" "))


def _part_offsets(
    start: int, end: int, spans: list[tuple[int, int]], n_characters: int, n_spaces: int
) -> list[tuple[int, int]]:
    """Divide a scaffold's offsets among its parts.

    Spaces in front may be left out of the offsets, or not stand in the text. Where a normaliser
    changed the number of characters, each part has the whole.
    """
    missing = n_characters - (end - start)
    if not 0 <= missing <= n_spaces:
        return [(start, end)] * len(spans)
    shift = start - missing
    return [(max(start, shift + a), max(start, shift + b)) for a, b in spans]
