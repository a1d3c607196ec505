"""How this process takes memory from the system."""

import ctypes
import gc
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_MOST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let the allocator of glibc reuse large blocks instead of handing each back to the system.

    A training step frees and takes the same hundreds of megabytes again and again; fresh pages for
    them cost up to half of the time of every operation that only moves data (measured).
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_M_MMAP_MAX, 0)
            libc.mallopt(_M_TRIM_THRESHOLD, _MOST)


def hand_back_freed_memory() -> None:
    """Give the system what this process has freed: glibc keeps it, and other processes need it."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):
            gc.collect()
            libc.malloc_trim(0)
