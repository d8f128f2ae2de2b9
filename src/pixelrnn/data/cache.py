"""Decoded arrays on disk: slow sources (LZMA, gzip, tar) are unpacked once and memory-mapped from then on.

The folder is the one named by the environment variable PIXELRNN_CACHE, or the operating system's usual cache folder.
Everything in it can be deleted at any time; it is rebuilt when needed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelrnn.errors import DataError
from pixelrnn.files import replacing

_FORMAT = 1  # raised whenever the meaning of a cached array changes


def cache_folder() -> Path:
    """The folder for decoded arrays and downloads; it need not exist yet."""
    chosen = os.environ.get("PIXELRNN_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("pixelrnn"))


def cached_array(source_file: Path, key: str, make: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The array that `make` decodes from `source_file`, memory-mapped read-only from the cache.

    It is decoded again if the source's path, size or modification time has changed, or the cached file is damaged.
    If the cache cannot be written, the array is returned in memory.

    Raises:  DataError if the source file cannot be read; whatever `make` raises
    """
    path = cache_folder() / "arrays" / _file_name(source_file, key)
    cached = _mapped(path)
    if cached is not None:
        return cached
    array = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            np.save(stream, array, allow_pickle=False)
    except OSError:
        return array  # a full or read-only disk only costs time at the next start
    cached = _mapped(path)
    return array if cached is None else cached


def _file_name(source_file: Path, key: str) -> str:
    try:
        real = source_file.resolve()
        state = real.stat()
    except OSError as error:
        raise DataError(f"{source_file} cannot be read: {error.strerror or error}.") from error
    identity = f"{_FORMAT}\n{real}\n{state.st_size}\n{state.st_mtime_ns}\n{key}"
    return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:40] + ".npy"


def _mapped(path: Path) -> npt.NDArray[Any] | None:
    """The cached array; None if the file is missing, truncated or not an array."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if isinstance(array, np.ndarray):
        return array
    array.close()  # an archive of arrays was not written here
    return None
