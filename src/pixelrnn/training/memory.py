"""Let the C library keep freed memory, which the next training step needs again."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt, in glibc's malloc.h


def keep_freed_memory() -> None:
    """Make glibc keep freed memory in this process; does nothing with other C libraries.

    By default glibc returns large blocks to the system at once, which has to clear the pages when they are allocated
    again: on a CPU that can take a quarter of a training step. The process stays as large as it ever was.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
