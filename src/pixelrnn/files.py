"""Atomic file writes."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing; when the block ends without an error, sync it to disk and rename it to `path`.

    Raises:  OSError, for the caller to report; the temporary file is removed
    """
    # Not tempfile, whose files are readable by their owner only: the final file would keep these permissions.
    # The temporary name has a fixed length, so that `path` may have the longest name that the file system allows.
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: after a crash there is the old file or the new one, never a part.

    Raises: OSError if the folder cannot be written
    """
    with replacing(path) as stream:
        stream.write(content)
