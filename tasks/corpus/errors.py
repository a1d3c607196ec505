"""What can be wrong with the text a person points at."""

from tasks.shared.errors import InputError


class SourceNotFoundError(InputError):
    """A path or glob matches no file, or a locked file is gone."""


class EmptySourceError(InputError):
    """A source, or what the rules leave of the corpus, holds no text."""


class UnknownFormatError(InputError):
    """A file whose suffix names no format that can be read."""


class UnreadableFileError(InputError):
    """A file is not what its format says: broken gzip, JSON without the field, no such column."""


class ChangedSourceError(InputError):
    """A file is no longer what the lock recorded."""


class CorpusTooSmallError(InputError):
    """After all rules less text is left than the budget promises."""
