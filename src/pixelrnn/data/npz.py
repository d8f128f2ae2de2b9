"""Arrays from untrusted `.npy` and `.npz` files: headers first, with size limits, never unpickling.

We wrap numpy's readers because `numpy.load` allocates what a header claims before it checks what the file holds.
"""

from __future__ import annotations

import contextlib
import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from pixelrnn.errors import DataError

SIZE_LIMIT = 8 << 30  # bytes of one array once unpacked

_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    NotImplementedError,  # a zip compression method that Python lacks
    RuntimeError,  # an encrypted zip
    OverflowError,
    SyntaxError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True)
class ArrayHeader:
    """What a file says about an array before any of it is decoded."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def npz_headers(path: Path) -> dict[str, ArrayHeader]:
    """The header of every array of an `.npz` file, by name; no array is decoded.

    Raises:  DataError if the file is missing, damaged, or holds pickled objects
    """
    with _words_for(path), zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        headers = {}
        for name in names:
            with archive.open(name) as stream:
                headers[name.removesuffix(".npy")] = _read_header(stream, path)
        return headers


def read_npz(path: Path, name: str, limit: int | None = None) -> npt.NDArray[Any]:
    """One array of an `.npz` file.

    limit:   the most bytes that the array may take; None: SIZE_LIMIT; checked before anything is decoded
    Raises:  DataError if the array is missing, damaged, pickled or too large
    """
    with _words_for(path), zipfile.ZipFile(path) as archive:
        member = archive.getinfo(f"{name}.npy")
        with archive.open(member) as stream:
            header = _read_header(stream, path)
        check_bytes(header.bytes, f"{name} in {path}", limit)
        if member.file_size < header.bytes:
            raise DataError(f"{path} is damaged: {name} is truncated. Get the file again.")
        with archive.open(member) as stream:
            array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
            return array


def read_npy(path: Path) -> npt.NDArray[Any]:
    """The array of an `.npy` file, memory-mapped read-only: it may be larger than memory.

    Raises:  DataError if the file is missing, damaged or pickled, or claims a large array that it does not hold
    """
    with _words_for(path):
        with path.open("rb") as stream:
            header = _read_header(stream, path)
        if header.bytes > path.stat().st_size:
            check_bytes(header.bytes, str(path))
        if not header.bytes:
            return np.empty(header.shape, header.dtype)  # an empty array cannot be memory-mapped
        array: npt.NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        return array


def check_npy(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    """Check, from the header and length alone, that an `.npy` file holds an array of this shape and type.

    Raises:  DataError if it does not, or if the file is missing or not an array
    """
    with _words_for(path), path.open("rb") as stream:
        header = _read_header(stream, path)
        missing = stream.tell() + header.bytes - path.stat().st_size
    expected = ArrayHeader(shape, np.dtype(dtype))
    if header != expected:
        raise DataError(
            f"{path} is damaged: {expected.dtype} of shape {shape} was expected, but got {header.dtype} of shape "
            f"{header.shape}. Get or write it again."
        )
    if missing:
        wrong = f"{abs(missing):,} bytes are {'missing' if missing > 0 else 'too many'}"
        raise DataError(f"{path} is damaged: {wrong}. Get or write it again.")


def check_bytes(count: int, what: str, limit: int | None = None) -> None:
    """Raises DataError if `what` would take more than `limit` bytes (SIZE_LIMIT if None)."""
    limit = SIZE_LIMIT if limit is None else limit
    if count > limit:
        raise DataError(
            f"{what} would take {count / 2**30:.1f} GiB of memory, but at most {limit / 2**30:.1f} GiB are read. "
            "Use fewer or smaller images."
        )


def _read_header(stream: IO[bytes], path: Path) -> ArrayHeader:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError("later formats are for structured arrays, which are not images")
    if dtype.hasobject:
        raise DataError(f"{path} holds pickled Python objects, which are never read. Save plain integer arrays in it.")
    if any(length < 0 for length in shape):
        raise ValueError("a negative length")
    return ArrayHeader(tuple(int(length) for length in shape), dtype)


@contextlib.contextmanager
def _words_for(path: Path) -> Iterator[None]:
    """Turn any error from reading an untrusted file into a DataError with one clear message."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Check its name.") from error
    except PermissionError as error:
        raise DataError(f"{path} cannot be read. Check its permissions.") from error
    except _DAMAGE as error:
        reason = str(error).split("\n")[0][:200]
        raise DataError(
            f"{path} is damaged or not a file of numpy arrays ({reason}). Get or write it again."
        ) from error
