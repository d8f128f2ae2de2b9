"""Images that are read only on demand: from an `.npy` file, or from a data set of PyTorch (`from_dataset.py`)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from pixelrnn.data.npz import read_npy
from pixelrnn.data.pixels import Pixels, as_pixels, look_up
from pixelrnn.errors import DataError

Positions: TypeAlias = SupportsIndex | slice | Sequence[int] | npt.NDArray[np.integer[Any]]
"""Indices of images: one, a slice, or a list in any order; negative ones count from the end."""

_CHUNK = 1 << 24  # bytes that `chunks` reads at once


class OnDemand(ABC):
    """Images that are read when they are indexed.

    `images[positions]` reads just these images into an array, as if `images` were one array. Further integers and
    slices may follow: `images[:9, 0]`. `np.asarray` reads everything.

    Arguments:
        shape  (N, C, H, W)
        table  value v becomes table[v] when it is read; None leaves values unchanged
    Shapes:    (N, C, H, W) uint8; table (K,) uint8
    Raises:    when images are read: ImageError if a value is not in the table; IndexError for images that do not exist
    """

    ndim = 4
    dtype = np.dtype(np.uint8)
    fixed = True
    """Whether the images are the same whenever they are read."""

    def __init__(self, shape: tuple[int, int, int, int], table: Pixels | None = None) -> None:
        self.shape, self._table = shape, table

    @abstractmethod
    def _read(self, positions: npt.NDArray[np.int64]) -> Pixels:
        """The images at these positions, each in 0..N-1, with their values as they are: (M,) -> (M, C, H, W)."""

    @abstractmethod
    def _with(self, table: Pixels) -> Self:
        """The same images, with another table."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """The bytes that the images would take in memory."""
        return math.prod(self.shape)

    def __getitem__(self, key: Positions | tuple[Any, ...]) -> Pixels:
        if isinstance(key, tuple):
            return self._inside(*key)
        if isinstance(key, slice):
            return self._levels(np.arange(*key.indices(len(self))))
        positions = np.asarray(key)
        if positions.ndim > 1 or (positions.size and not np.issubdtype(positions.dtype, np.integer)):
            raise IndexError(f"Images are indexed by a number, a slice or a list of numbers, not by {key!r}.")
        positions = positions.astype(np.int64)
        wrong = (positions < -len(self)) | (positions >= len(self))
        if wrong.any():
            raise IndexError(f"There is no image {positions[wrong][0]}: there are {len(self)}.")
        found = self._levels(np.atleast_1d(np.where(positions < 0, positions + len(self), positions)))
        return found if positions.ndim else np.asarray(found[0])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("Images that are read on demand cannot become an array without a copy.")
        return np.asarray(self[:], dtype=dtype)

    def through(self, table: Pixels) -> Self:
        """The same images, with each value v replaced by table[v] as it is read.

        Shapes:  table (K,) uint8
        Raises:  ImageError if there already is a table, and the new one lacks some of its values
        """
        return self._with(table if self._table is None else look_up(self._table, table))

    def _inside(self, positions: Positions = slice(None), *rest: SupportsIndex | slice) -> Pixels:
        """Images, and channels, rows and columns of them, by integers and slices."""
        if not all(isinstance(each, (int, np.integer, slice)) for each in rest):
            raise IndexError("Only integers and slices can follow the index of the images.")
        found = self[positions]
        return np.asarray(found[rest if found.ndim < self.ndim else (slice(None), *rest)])

    def _levels(self, positions: npt.NDArray[np.int64]) -> Pixels:
        found = self._read(positions)
        return found if self._table is None else look_up(found, self._table)


class OnDisk(OnDemand):
    """Images in an `.npy` file, memory-mapped. Only the path is pickled.

    (A `numpy.memmap` would be pickled with its content, and could not map values as they are read.)

    Arguments:
        path       a file with an array that `as_pixels` accepts
        count      number of images in the file
        image      (C, H, W) of every image
        positions  indices of the images that belong to it; None for all
        table      see `OnDemand`
    Shapes:        positions (N,) int64
    Raises:        when images are read: DataError if the file has changed; ImageError if a value is not a byte
    """

    def __init__(
        self,
        path: Path,
        count: int,
        image: tuple[int, int, int],
        positions: npt.NDArray[np.int64] | None = None,
        table: Pixels | None = None,
    ) -> None:
        super().__init__((count if positions is None else len(positions), *image), table)
        self.path, self._positions = path.absolute(), positions
        self._arguments = self.path, count, image, positions, table
        self._array: npt.NDArray[Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return OnDisk, self._arguments

    def _with(self, table: Pixels) -> OnDisk:
        return OnDisk(*self._arguments[:-1], table)

    def _read(self, positions: npt.NDArray[np.int64]) -> Pixels:
        """The file is read from front to back."""
        positions = positions if self._positions is None else self._positions[positions]
        order = np.argsort(positions, kind="stable")
        result = np.empty((len(positions), *self.shape[1:]), dtype=self.dtype)
        result[order] = as_pixels(self._mapped()[positions[order]], self.path.name)
        return result

    def _mapped(self) -> npt.NDArray[Any]:
        if self._array is None:
            _, count, image, *_ = self._arguments
            array = read_npy(self.path)
            if array.shape[:1] != (count,) or as_pixels(array[:0], self.path.name).shape[1:] != image:
                raise DataError(f"{self.path} has changed since it was opened. Load the data set again.")
            self._array = array
        return self._array


def chunks(images: Pixels | OnDemand) -> Iterator[Pixels]:
    """The images in order, in chunks of at most about 16 MB.

    Shapes:  (N, C, H, W) -> (n, C, H, W), the n adding up to N
    """
    step = max(1, _CHUNK // max(1, math.prod(images.shape[1:])))
    for first in range(0, len(images), step):
        yield images[first : first + step]
