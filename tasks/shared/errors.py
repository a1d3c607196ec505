"""What a person gave us and we cannot use."""


class InputError(ValueError):
    """Base of every error that a different input or config would avoid.

    The command line prints it as one line and exits with code 2. The message says what came,
    which rule it breaks and what to do.
    """
