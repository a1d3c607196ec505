"""Which paths below a store's root are its own; every other one is somebody's and left alone.

A store may lie in a folder or at the root of a bucket that has other things in it.
"""

import re

from infra.manifests import MANIFEST

POINTER = re.compile(r"current-(\d+)\.json")
ATTEMPT = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")
LIVE = "live"
"""Folder of the records of live runs."""
LIVE_RECORD = re.compile(r"[0-9a-f]{16}\.json")
_KEY_FOLDER = r"[a-z][a-z0-9_]*/[0-9a-f]{64}"
_IN_ATTEMPT = re.compile(rf"({_KEY_FOLDER}/{ATTEMPT.pattern})/.+", re.DOTALL)
_IN_CHECKPOINTS = re.compile(rf"({_KEY_FOLDER}/checkpoints/\d+)/.+", re.DOTALL)
_IS_POINTER = re.compile(rf"{_KEY_FOLDER}/{POINTER.pattern}")
_IS_LIVE_RECORD = re.compile(rf"{LIVE}/{LIVE_RECORD.pattern}")


def folder_of(path: str) -> str | None:
    """The attempt, or the checkpoints of one generation, that a file is part of."""
    match = _IN_ATTEMPT.fullmatch(path) or _IN_CHECKPOINTS.fullmatch(path)
    return match and match[1]


def is_pointer(path: str) -> bool:
    """Whether a file names the attempt of one generation of a key."""
    return _IS_POINTER.fullmatch(path) is not None


def is_manifest(path: str) -> bool:
    """Whether a file makes an attempt an artifact."""
    match = _IN_ATTEMPT.fullmatch(path)
    return match is not None and path == f"{match[1]}/{MANIFEST}"


def is_live_record(path: str) -> bool:
    """Whether a file says what a run at work holds."""
    return _IS_LIVE_RECORD.fullmatch(path) is not None


def key_folder(path: str) -> str:
    """The first two parts of a path of the store: the folder of one key."""
    return "/".join(path.split("/")[:2])


def generation_of(pointer: str) -> int:
    """The generation that a pointer stands for."""
    return int(pointer.rpartition("/current-")[2].removesuffix(".json"))
