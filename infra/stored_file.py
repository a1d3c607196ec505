"""What a listing of a store tells."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredFile:
    """One file of a store, its path relative to the root."""

    path: str
    n_bytes: int
    modified_seconds: float
    stamp: str
    """Changes with the content: the server's etag, else when it was last written."""


@dataclass(frozen=True)
class UnfinishedUpload:
    """Parts of a file that a bucket keeps, and charges for, after an upload was killed."""

    path: str
    upload_id: str
    begun_seconds: float
