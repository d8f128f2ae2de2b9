"""Images that stay on disk: an `.npy` file that is read only on demand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from pixelrnn.data.npz import read_npy
from pixelrnn.data.pixels import Pixels, as_pixels, look_up
from pixelrnn.errors import DataError

Positions: TypeAlias = SupportsIndex | slice | Sequence[int] | npt.NDArray[np.integer[Any]]
"""Indices of images: one, a slice, or a list in any order; negative ones count from the end."""

_CHUNK = 1 << 24  # bytes that `chunks` reads at once


class OnDisk:
    """Images in an `.npy` file, memory-mapped and read on demand.

    `images[positions]` reads just these images into an array, as if `images` were one array. Further integers and
    slices may follow: `images[:9, 0]`. `np.asarray` reads everything. Only the path is pickled. (A `numpy.memmap`
    would be pickled with its content, and could not map values as they are read.)

    Arguments:
        path       a file with an array that `as_pixels` accepts
        count      number of images in the file
        image      (C, H, W) of every image
        positions  indices of the images that belong to it; None for all
        table      value v becomes table[v] when it is read; None leaves values unchanged
    Shapes:        (N, C, H, W) uint8; positions (N,) int64; table (K,) uint8
    Raises:        when images are read: DataError if the file has changed; ImageError if a value is not a byte or not
                   in the table; IndexError for images that do not exist
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        path: Path,
        count: int,
        image: tuple[int, int, int],
        positions: npt.NDArray[np.int64] | None = None,
        table: Pixels | None = None,
    ) -> None:
        self.path, self._positions, self._table = path.absolute(), positions, table
        self._arguments = self.path, count, image, positions, table
        self.shape = (count if positions is None else len(positions), *image)
        self._array: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """The bytes that the images would take in memory."""
        return math.prod(self.shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return OnDisk, self._arguments

    def __getitem__(self, key: Positions | tuple[Any, ...]) -> Pixels:
        if isinstance(key, tuple):
            return self._inside(*key)
        if isinstance(key, slice):
            return self._read(np.arange(*key.indices(len(self))))
        positions = np.asarray(key)
        if positions.ndim > 1 or (positions.size and not np.issubdtype(positions.dtype, np.integer)):
            raise IndexError(f"Images are indexed by a number, a slice or a list of numbers, not by {key!r}.")
        positions = positions.astype(np.int64)
        wrong = (positions < -len(self)) | (positions >= len(self))
        if wrong.any():
            raise IndexError(f"There is no image {positions[wrong][0]}: there are {len(self)}.")
        found = self._read(np.atleast_1d(np.where(positions < 0, positions + len(self), positions)))
        return found if positions.ndim else np.asarray(found[0])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("Images on disk cannot become an array without a copy.")
        return np.asarray(self[:], dtype=dtype)

    def through(self, table: Pixels) -> OnDisk:
        """The same images, with each value v replaced by table[v] as it is read.

        Shapes:  table (K,) uint8
        Raises:  ImageError if there already is a table, and the new one lacks some of its values
        """
        path, count, image, positions, before = self._arguments
        return OnDisk(path, count, image, positions, table if before is None else look_up(before, table))

    def _inside(self, positions: Positions = slice(None), *rest: SupportsIndex | slice) -> Pixels:
        """Images, and channels, rows and columns of them, by integers and slices."""
        if not all(isinstance(each, (int, np.integer, slice)) for each in rest):
            raise IndexError("Only integers and slices can follow the index of the images.")
        found = self[positions]
        return np.asarray(found[rest if found.ndim < self.ndim else (slice(None), *rest)])

    def _read(self, positions: npt.NDArray[np.int64]) -> Pixels:
        """(M,) positions, each in 0..N-1 -> (M, C, H, W); the file is read from front to back."""
        positions = positions if self._positions is None else self._positions[positions]
        order = np.argsort(positions, kind="stable")
        result = np.empty((len(positions), *self.shape[1:]), dtype=self.dtype)
        result[order] = as_pixels(self._mapped()[positions[order]], self.path.name)
        return result if self._table is None else look_up(result, self._table)

    def _mapped(self) -> npt.NDArray[Any]:
        if self._array is None:
            _, count, image, *_ = self._arguments
            array = read_npy(self.path)
            if array.shape[:1] != (count,) or as_pixels(array[:0], self.path.name).shape[1:] != image:
                raise DataError(f"{self.path} has changed since it was opened. Load the data set again.")
            self._array = array
        return self._array


def chunks(images: Pixels | OnDisk) -> Iterator[Pixels]:
    """The images in order, in chunks of at most about 16 MB.

    Shapes:  (N, C, H, W) -> (n, C, H, W), the n adding up to N
    """
    step = max(1, _CHUNK // max(1, math.prod(images.shape[1:])))
    for first in range(0, len(images), step):
        yield images[first : first + step]
