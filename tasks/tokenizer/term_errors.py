"""What can be wrong with terms that a vocabulary must hold."""

from tasks.shared.errors import InputError


class TermError(InputError):
    """A term cannot be one token, or a list of terms cannot be read."""
