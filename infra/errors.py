"""What goes wrong below the stages: places, files, servers."""


class InfraError(Exception):
    """Base of every error about a place or a service.

    The command line prints it as one line and exits with code 2. The message says what came,
    which rule it breaks and what to do.
    """


class StoreError(InfraError, OSError):
    """The artifact store cannot be read or written."""


class MissingFileError(StoreError):
    """The store answers, and holds no such file."""


class CorruptFileError(InfraError, ValueError):
    """A file is not what its format or its recorded sha256 says."""


class ArtifactNotFoundError(InfraError, LookupError):
    """No artifact stands where one was asked for."""


class LeaseHeldError(InfraError, RuntimeError):
    """Another live process works on the same key."""


class LeaseLostError(InfraError, RuntimeError):
    """Another process took the lease that this one held."""


class UnserialisableError(InfraError, TypeError):
    """A value that a key would have to contain has no canonical form."""
