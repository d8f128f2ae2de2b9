"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a new file to write; flushed to the disk, it takes the place of `path` when the block ends well.

    Raises:  OSError as it comes, for the caller to put in words; nothing is left behind
    """
    # Not tempfile: its files can be read by their owner alone, and the finished file would keep that.
    # The temporary name does not grow with the real one, so that a name of the greatest length is still possible.
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
    """Write `content` as the file `path`: a crash leaves the old file or the new one.

    Raises: OSError if the folder cannot be written
    """
    with replacing(path) as stream:
        stream.write(content)
