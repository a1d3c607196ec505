"""Cut bytes into pieces with a tokenizer's model alone.

Initialisers ask how an old model would have spelt a new token. The token is no text: it may begin
inside a word or inside a character. So no normaliser, no pre-tokenizer and no added space take
part, only the merges, the Viterbi search or the longest match; what no piece spells goes through
byte fallback. The pieces' bytes concatenate to the input, or there is an error.
"""

from collections.abc import Sequence
from pathlib import Path

from tasks.shared.errors import InputError
from tasks.shared.segmentation_search import search_of
from tasks.shared.text_tokenizer import split_ids
from tasks.shared.vocabulary_file import read_tokenizer_file
from tasks.shared.vocabulary_reading import vocabulary_of, whole_vocabulary_of
from tasks.shared.vocabulary_record import Vocabulary


class UncoverableTokenError(InputError):
    """A tokenizer has no pieces, not even byte fallback, for some bytes."""


class Segmenter:
    """Cuts bytes as the model of one tokenizer would, and nothing around it."""

    def __init__(self, folder: Path) -> None:
        """Read the tokenizer in ``folder``."""
        file = read_tokenizer_file(folder)
        self._folder = folder
        self._vocabulary = vocabulary_of(file)
        self._cut_all = search_of(file, whole_vocabulary_of(file))
        self._scaffolds = file.scaffolds

    def segment(self, b: bytes) -> list[int]:
        """Cut one byte string.

        Raises:
            UncoverableTokenError: the model has no pieces for some of the bytes.
        """
        return self.segment_all([b])[0]

    def segment_all(self, tokens: Sequence[bytes]) -> list[list[int]]:
        """Cut many byte strings at once, in order.

        Raises:
            UncoverableTokenError: the model has no pieces for some of the bytes.
        """
        cuts = self.try_segment_all(tokens)
        lost = [token for token, cut in zip(tokens, cuts, strict=True) if cut is None]
        if lost:
            raise UncoverableTokenError(
                f"The tokenizer in {self._folder} has no pieces for {len(lost)} of {len(tokens)} "
                f"byte strings (first: {lost[:3]!r}) and no byte fallback; name a fallback row for "
                "such tokens, or leave them out."
            )
        return [cut for cut in cuts if cut is not None]

    def try_segment_all(self, tokens: Sequence[bytes]) -> list[list[int] | None]:
        """Cut many byte strings, ``None`` for those the model has no pieces for."""
        cuts = self._cut_all(tokens)
        if self._scaffolds is not None:
            cuts = [split_ids(cut, self._scaffolds) for cut in cuts]
        return [
            cut if spell(self._vocabulary, cut) == token else None
            for token, cut in zip(tokens, cuts, strict=True)
        ]


def spell(vocabulary: Vocabulary, ids: Sequence[int]) -> bytes | None:
    """Concatenate the bytes of ids; ``None`` if one of them has none."""
    parts = [vocabulary.token_bytes[token_id] for token_id in ids]
    known = [part for part in parts if part is not None]
    return b"".join(known) if len(known) == len(parts) else None
