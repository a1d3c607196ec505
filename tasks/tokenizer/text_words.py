r"""Words of a text, and how many of them a tokenizer keeps whole.

A word is a longest run of ``\w`` as the ``regex`` module has it: letters of any script, marks,
digits, underscore. Where the text has a space in front of it, the space goes with the word, for
most tokenizers put it into the word's first token.

Dimension: T = words.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import regex
from jaxtyping import Int64

from tasks.shared.text_tokenizer import TextTokenizer
from tasks.tokenizer.id_counts import count_tokens_of_each

_WORD = regex.compile(r" ?\w+")


@dataclass(frozen=True)
class Words:
    """The words of some texts.

    Attributes:
        forms: each distinct word as it stands there, with one leading space or none.
        counts: how often each form occurs.
        distinct: the same words without the space, each once, sorted.
    """

    forms: tuple[str, ...]
    counts: Int64[np.ndarray, " T"]
    distinct: tuple[str, ...]

    @property
    def n_words(self) -> int:
        """All occurrences."""
        return int(np.sum(self.counts))


def find_words(texts: Iterable[str]) -> Words:
    """Find and count the words of texts."""
    counter = Counter[str]()
    for text in texts:
        counter.update(_WORD.findall(text))
    forms = sorted(counter)
    counts_T = np.array([counter[form] for form in forms], dtype=np.int64)
    return Words(tuple(forms), counts_T, tuple(sorted({form.lstrip(" ") for form in forms})))


def count_split(tokenizer: TextTokenizer, words: Words) -> int:
    """Count the occurrences of words that are more than one token, each encoded on its own."""
    return int(np.sum(words.counts[count_tokens_of_each(tokenizer, words.forms) > 1]))


def count_kept_whole(tokenizer: TextTokenizer, words: Words, *, leading_space: bool) -> int:
    """Count the distinct words that are one token.

    Over the number of distinct words this is the single-token retention rate, STRR, of
    arXiv 2510.09947, there taken over a list of words.

    Args:
        tokenizer: any.
        words: of some text.
        leading_space: whether every word is encoded behind a space, or none is.
    """
    space = " " if leading_space else ""
    lengths_T = count_tokens_of_each(tokenizer, (space + word for word in words.distinct))
    return int(np.sum(lengths_T == 1))
