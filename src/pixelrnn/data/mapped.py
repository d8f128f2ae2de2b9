"""Images that stay on disk: an array of them over `.npy` files, of which only what is asked for is read."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from pixelrnn.data.images import Pixels
from pixelrnn.data.npz import read_npy
from pixelrnn.data.pixels import as_pixels, look_up
from pixelrnn.errors import DataError

Places: TypeAlias = SupportsIndex | slice | Sequence[int] | npt.NDArray[np.integer[Any]]
"""Which images: one, a slice, or a list in any order, counted from 0, negative ones from the end."""

_OPEN = 256  # files of a data set that are mapped at a time: systems allow a process about 1,000
_CHUNK = 1 << 24  # bytes that `chunks` reads at once


class Shards:
    """Images in one or more `.npy` files, which are memory-mapped and read when they are asked for.

    `images[places]` are just these images, an array in memory, as if `images` were one array. Further numbers and
    slices may follow: `images[:9, 0]`. `np.asarray` reads everything. It is pickled by its paths.

    Arguments:
        files   path and number of images of each file, in order; arrays of any order that `as_pixels` knows
        image   (C, H, W) of every image
        places  the images that belong to it, counted through all files; None for all
        table   value v becomes table[v] when it is read; None leaves values as they are
    Shapes:     (N, C, H, W) uint8; places (N,) int64; table (K,) uint8
    Raises:     when images are read: DataError if a file is not what it was any more; ImageError if a value is no byte
                or the table lacks it; IndexError for images that are not there
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        files: Sequence[tuple[Path, int]],
        image: tuple[int, int, int],
        places: npt.NDArray[np.int64] | None = None,
        table: Pixels | None = None,
    ) -> None:
        files = tuple((path.absolute(), count) for path, count in files)
        self._arguments = files, image, places, table
        self._ends = np.cumsum([count for _, count in files])
        self._places, self._table = places, table
        self.shape = (int(self._ends[-1]) if places is None else len(places), *image)
        self._map = functools.lru_cache(_OPEN)(lambda number: _mapped(*files[number], image))

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """What the images would take in memory."""
        return math.prod(self.shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return Shards, self._arguments

    def __getitem__(self, key: Places | tuple[Any, ...]) -> Pixels:
        if isinstance(key, tuple):
            return self._inside(*key)
        if isinstance(key, slice):
            return self._read(np.arange(*key.indices(len(self))))
        places = np.asarray(key)
        if places.ndim > 1 or (places.size and not np.issubdtype(places.dtype, np.integer)):
            raise IndexError(f"Images are asked for by a number, a slice or a list of numbers, not by {key!r}.")
        places = places.astype(np.int64)
        wrong = (places < -len(self)) | (places >= len(self))
        if wrong.any():
            raise IndexError(f"There is no image {places[wrong][0]}: there are {len(self)}.")
        found = self._read(np.atleast_1d(np.where(places < 0, places + len(self), places)))
        return found if places.ndim else np.asarray(found[0])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("Images on disk cannot be an array without a copy.")
        whole = np.empty(self.shape, dtype=self.dtype if dtype is None else dtype)
        done = 0
        for part in chunks(self):
            whole[done : done + len(part)] = part
            done += len(part)
        return whole

    def through(self, table: Pixels) -> Shards:
        """The same images, their values v replaced by table[v] when they are read.

        Shapes:  table (K,) uint8
        Raises:  ImageError if values go through a table already, and this one lacks some of that one's
        """
        files, image, places, before = self._arguments
        return Shards(files, image, places, table if before is None else look_up(before, table))

    def _inside(self, places: Places = slice(None), *rest: SupportsIndex | slice) -> Pixels:
        """Images, and of them rows, columns and channels by numbers and slices."""
        if not all(isinstance(each, (int, np.integer, slice)) for each in rest):
            raise IndexError("Only numbers and slices can follow the choice of images.")
        found = self[places]
        return np.asarray(found[rest if found.ndim < self.ndim else (slice(None), *rest)])

    def _read(self, places: npt.NDArray[np.int64]) -> Pixels:
        """(M,) places, each in 0..N-1 -> (M, C, H, W); every file is read once, from its beginning to its end."""
        places = places if self._places is None else self._places[places]
        order = np.argsort(places, kind="stable")
        ascending = places[order]
        result = np.empty((len(places), *self.shape[1:]), dtype=self.dtype)
        numbers, firsts = np.unique(np.searchsorted(self._ends, ascending, side="right"), return_index=True)
        lasts = np.append(firsts, len(places))[1:]
        for number, first, last in zip(numbers.tolist(), firsts, lasts, strict=True):
            path, count = self._arguments[0][number]
            part = self._map(number)[ascending[first:last] - (self._ends[number] - count)]
            result[order[first:last]] = as_pixels(part, path.name)
        return result if self._table is None else look_up(result, self._table)


def chunks(images: Pixels | Shards) -> Iterator[Pixels]:
    """The images in order, some at a time: no more than about 16 MB are in memory.

    Shapes:  (N, C, H, W) -> (n, C, H, W), the n adding up to N
    """
    step = max(1, _CHUNK // max(1, math.prod(images.shape[1:])))
    for first in range(0, len(images), step):
        yield images[first : first + step]


def _mapped(path: Path, count: int, image: tuple[int, int, int]) -> npt.NDArray[Any]:
    array = read_npy(path)
    if array.shape[:1] != (count,) or as_pixels(array[:0], path.name).shape[1:] != image:
        raise DataError(f"{path} has changed since it was opened. Load the data set again.")
    return array
