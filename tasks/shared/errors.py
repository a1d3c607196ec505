"""What a person gave us and we cannot use."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager


class InputError(ValueError):
    """Base of every error that a different input or config would avoid.

    The command line prints it as one line and exits with code 2. The message says what came,
    which rule it breaks and what to do.
    """


@contextmanager
def named_as(places: Mapping[str, str]) -> Generator[None]:
    """Name files in errors as a person knows them, not by the paths they were laid out at.

    Args:
        places: what a person knows by the path to replace.
    """
    try:
        yield
    except InputError as error:
        said = str(error)
        for path, place in places.items():
            said = said.replace(path, place)
        raise type(error)(said) from error
