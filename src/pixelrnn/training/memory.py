"""Memory that a training step frees is what the next one needs."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt, in glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where the C library is glibc; nothing happens elsewhere.

    By default glibc gives large blocks back to the system at once, and the system clears every page anew when they are
    asked for again: on a CPU that can take a quarter of a training step. The process stays as large as it once was.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
