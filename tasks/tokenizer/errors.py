"""What can be wrong with a tokenizer's config, corpus or source."""

from tasks.shared.errors import InputError


class CorpusTooSmallError(InputError):
    """The text holds fewer mergeable pairs than tokens were asked for."""


class VocabularyTooSmallError(InputError):
    """The vocabulary has no room for all bytes and special tokens."""


class UnsupportedSourceError(InputError):
    """The source tokenizer is of a kind from which the chosen method cannot start."""


class PretokenizerError(InputError):
    """A rule for words or digits cannot be had with the chosen pre-tokenizer."""


class BrokenTokenizerError(InputError):
    """A trained tokenizer does not keep what it promised; it is not written."""


class BrokenTextError(InputError):
    """A text is no valid UTF-8."""


class SourceWeightError(InputError):
    """A source of text has a weight by which nothing can be counted."""


class PretokensMismatchError(InputError):
    """Words were counted by another rule than the method needs."""
