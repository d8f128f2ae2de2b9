"""The IDX format of MNIST: a magic number, the sizes of the dimensions, then bytes.

Source:  LeCun, Cortes and Burges, The MNIST database of handwritten digits, "file formats"
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from pixelrnn.data.images import Pixels
from pixelrnn.errors import DataError

_UNSIGNED_BYTE = 8


def read_idx(path: Path, shape: tuple[int, ...]) -> Pixels:
    """The bytes of an IDX file, gzipped if its name ends with .gz.

    Shapes:  -> `shape` uint8
    Raises:  DataError if the file is missing, damaged, or holds anything but unsigned bytes of that shape
    """
    try:
        with path.open("rb") as raw:
            if path.suffix != ".gz":
                return _parse(raw, path, shape)
            with gzip.open(raw) as unpacked:
                return _parse(cast(IO[bytes], unpacked), path, shape)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged or cannot be read ({error}). Get the file again.") from error


def _parse(stream: IO[bytes], path: Path, shape: tuple[int, ...]) -> Pixels:
    header = stream.read(4 + 4 * len(shape))
    magic = bytes((0, 0, _UNSIGNED_BYTE, len(shape)))
    if header[:4] != magic:
        raise DataError(
            f"{path} is not an IDX file of bytes in {len(shape)} dimension(s): it begins with "
            f"{header[:4].hex() or 'nothing'}, not {magic.hex()}. Get the file again."
        )
    if len(header) < 4 + 4 * len(shape):
        raise DataError(f"{path} is truncated in its header. Get the file again.")
    found = struct.unpack(f">{len(shape)}I", header[4:])
    if found != shape:
        raise DataError(f"{path} holds bytes of shape {found}, but {shape} was expected. Get the file again.")
    count = int(np.prod(shape))
    content = stream.read(count + 1)  # one byte more than expected, to detect a file that is too long
    if len(content) != count:
        what = "truncated" if len(content) < count else "longer than its header says"
        raise DataError(f"{path} is {what}: {count} bytes were expected after the header. Get the file again.")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
