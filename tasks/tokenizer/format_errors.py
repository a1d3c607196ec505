"""What can be wrong with a tokenizer in a format of another library."""

from tasks.shared.errors import InputError


class NotExpressibleError(InputError):
    """A format has no words for what a tokenizer does, so that ids would differ."""


class FormatFileError(InputError):
    """A tokenizer file is absent, damaged, or of no kind that is read here."""
