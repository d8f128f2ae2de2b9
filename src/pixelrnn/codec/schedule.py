"""In which order the symbols of images are decoded, and from which stream.

Two pixels of an image can be decoded together if neither is in the field of the other. Of a network whose field ends
`side` columns to the right, row r may begin once row r - 1 is `lag` = side + 1 columns ahead: pixel (r, c) belongs to
front c + lag * r, and a front is decoded at once. A network with a wider field has a lag of the whole width, which is
raster order: each front is one pixel.

    lag 2, width 4:  0 1 2 3        lag 4, width 4:  0 1 2  3
                     2 3 4 5                         4 5 6  7
                     4 5 6 7                         8 9 10 11
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pixelrnn.networks import LocalPixelCNN, Network

BAND = 32
"""Rows that share a stream, where fronts are longer than a pixel: threads can decode streams side by side."""

Numbers = npt.NDArray[np.int64]


class Schedule(NamedTuple):
    """The order for images of one size.

    With `one_by_one` the images of a block follow each other, else they go through their pixels together.

    >>> Schedule(3, 4, lag=2, one_by_one=True).front(3)
    (array([0, 1]), array([3, 1]))
    """

    height: int
    width: int
    lag: int
    one_by_one: bool

    @property
    def rows(self) -> int:
        """Rows of a stream."""
        return self.height if self.lag >= self.width else BAND

    @property
    def streams(self) -> int:
        """Streams of a block of images."""
        return -(-self.height // self.rows)

    @property
    def fronts(self) -> int:
        """Fronts of an image."""
        return self.lag * (self.height - 1) + self.width

    def front(self, index: int) -> tuple[Numbers, Numbers]:
        """Rows and columns of the pixels of a front, from top to bottom."""
        first = max(0, -(-(index - self.width + 1) // self.lag))
        rows = np.arange(first, min(self.height - 1, index // self.lag) + 1)
        return rows, index - self.lag * rows

    def orders(self, images: int, channels: int) -> Iterator[Numbers]:
        """For each stream, the flat indices into (images, channels, H, W) of its symbols, in the order of decoding:
        front by front, in it colour by colour, in that from top to bottom; images come first, or between the last two.
        """
        columns = np.arange(self.width)
        for top in range(0, self.height, self.rows):
            rows = np.arange(top, min(top + self.rows, self.height))
            front = columns + self.lag * rows[:, None]  # (rows, W)
            image, channel = np.arange(images)[:, None, None, None], np.arange(channels)[:, None, None]
            if self.one_by_one:
                turn = (image * self.fronts + front) * channels + channel
            else:
                turn = (front * channels + channel) * images + image
            key = turn * len(rows) + (rows - top)[:, None]
            flat = ((image * channels + channel) * self.height + rows[:, None]) * self.width + columns
            yield flat.ravel()[key.ravel().argsort(kind="stable")]


def schedule_of(network: Network, height: int, width: int) -> Schedule:
    """The order in which a network decodes images of this size."""
    if isinstance(network, LocalPixelCNN) and network.reads_image_alone:
        return Schedule(height, width, min(width, network.side + 1), one_by_one=True)
    return Schedule(height, width, width, one_by_one=False)
