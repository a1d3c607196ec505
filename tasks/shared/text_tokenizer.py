"""A tokenizer folder's way from text to ids, plain or exact; see ``scaffold_file``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from tasks.shared.scaffold_file import (
    ScaffoldFileError,
    Scaffolds,
    is_exact,
    read_scaffolds,
)
from tasks.shared.vocabulary_file import TokenizerFileError, read_json


@dataclass(frozen=True)
class ExactEncoding:
    """A text's ids, none of them a scaffold token's."""

    ids: list[int]

    def __len__(self) -> int:
        """Count the ids."""
        return len(self.ids)


class ExactTokenizer:
    """Scaffold-BPE's exact encoding, with those methods of the library's class that we call.

    Attributes:
        plain: the library's tokenizer, whose ids include scaffold tokens.
        scaffolds: how these are spelled.
    """

    def __init__(self, plain: Tokenizer, scaffolds: Scaffolds) -> None:
        """Put scaffolds behind a tokenizer that has them."""
        self.plain = plain
        self.scaffolds = scaffolds

    @property
    def encode_special_tokens(self) -> bool:
        """Whether a special token's name inside a text is text."""
        return self.plain.encode_special_tokens

    @encode_special_tokens.setter
    def encode_special_tokens(self, value: bool) -> None:
        self.plain.encode_special_tokens = value

    def no_truncation(self) -> None:
        """Encode whole texts."""
        self.plain.no_truncation()

    def no_padding(self) -> None:
        """Encode texts alone."""
        self.plain.no_padding()

    def encode(self, text: str, add_special_tokens: bool = True) -> ExactEncoding:
        """Encode one text."""
        return self.encode_batch_fast([text], add_special_tokens)[0]

    def encode_batch_fast(
        self, texts: Sequence[str], add_special_tokens: bool = True
    ) -> list[ExactEncoding]:
        """Encode texts."""
        encodings = self.plain.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
        return [ExactEncoding(split_ids(encoding.ids, self.scaffolds)) for encoding in encodings]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Give the text of ids."""
        return self.plain.decode(ids, skip_special_tokens=skip_special_tokens)

    def decode_batch(
        self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True
    ) -> list[str]:
        """Give the text of each list of ids."""
        return self.plain.decode_batch(sequences, skip_special_tokens=skip_special_tokens)

    def get_vocab(self, with_added_tokens: bool = True) -> Mapping[str, int]:
        """Ids of the visible tokens, by text."""
        tokens = self.plain.get_vocab(with_added_tokens=with_added_tokens)
        return {text: i for text, i in tokens.items() if i < self.scaffolds.n_visible}

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """Count the visible tokens."""
        return len(self.get_vocab(with_added_tokens))


TextTokenizer = Tokenizer | ExactTokenizer


def split_ids(ids: list[int], scaffolds: Scaffolds) -> list[int]:
    """Replace scaffold tokens by the visible ones that spell them."""
    # Few texts have one and fewer tokens are one, so that what is between them goes over whole.
    if max(ids, default=0) < scaffolds.n_visible:
        return ids
    split: list[int] = []
    start = 0
    for place in np.flatnonzero(np.array(ids) >= scaffolds.n_visible).tolist():
        split += ids[start:place]
        split += scaffolds.splits[ids[place]]
        start = place + 1
    return split + ids[start:]


def open_tokenizer(folder: Path) -> TextTokenizer:
    """Load ``tokenizer.json`` as it encodes: exactly, where it says so.

    Raises:
        TokenizerFileError: it is absent or no tokenizer.
        ScaffoldFileError: its scaffold tokens are not those of ``scaffold.json``.
    """
    path = folder / "tokenizer.json"
    record = read_json(path)
    exact = is_exact(record)
    try:
        if not exact:
            return Tokenizer.from_file(str(path))
        plain = Tokenizer.from_str(json.dumps({**record, "version": "1.0"}))
    except Exception as error:  # the library raises bare Exception for everything
        raise TokenizerFileError(
            f"{path} is no tokenizer that loads ({error}); save it again."
        ) from error
    scaffolds = read_scaffolds(folder)
    if (n_tokens := plain.get_vocab_size()) != scaffolds.n_tokens:
        raise ScaffoldFileError(
            f"{folder} has {n_tokens} tokens in tokenizer.json and {scaffolds.n_tokens} in "
            "scaffold.json; they belong to two tokenizers, copy one whole folder."
        )
    return ExactTokenizer(plain, scaffolds)
