"""A file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a file to write; it takes the place of `path` when the block ends without an error.

    Raises:  OSError as it comes, for the caller to put in words
    """
    # Not tempfile: its files can be read by their owner alone, and the finished file would keep that.
    # The temporary name does not grow with the real one, so that a name of the greatest length is still possible.
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as stream:
            yield stream
        os.replace(temporary, path)  # noqa: PTH105  # the name says what happens
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
