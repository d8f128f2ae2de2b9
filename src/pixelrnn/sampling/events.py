"""What is made of the pixels that a walk settles: rows, progress, the time that it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from torch import Tensor

from pixelrnn.sampling.stage import Settled

Row = tuple[int, int, Tensor]  # index of the first image of a batch, row, that row of the images
OnRow = Callable[[int, int, Tensor], None]
OnProgress = Callable[[int, int], None]
"""Called with (final pixels, all pixels), counted over all images."""


def rows(images: Tensor, batch_size: int, events: Iterator[Settled]) -> Iterator[Row]:
    """Each row of each batch, from top to bottom, once its pixels and those of the rows above are final."""
    count, _, height, width = images.shape
    first, row, left = -1, 0, np.empty(0)
    for event in events:
        begin = int(event.images[0]) // batch_size * batch_size
        if begin != first:  # another batch
            first, row = begin, 0
            left = np.full(height, min(batch_size, count - first) * width)  # pixels that are not final yet
        np.subtract.at(left, event.where.numpy() // width, event.final.sum(0))
        while row < height and not left[row]:
            yield first, row, images[first : first + batch_size, :, row]
            row += 1


def timed(events: Iterator[Settled], spent: list[float]) -> Iterator[Settled]:
    """Adds up the seconds that the events took, without those of whoever reads them."""
    while True:
        began = time.perf_counter()
        event = next(events, None)
        spent[0] += time.perf_counter() - began
        if event is None:
            return
        yield event


def counted(events: Iterator[Settled], total: int, on_progress: OnProgress) -> Iterator[Settled]:
    """Calls back with the pixels that are final."""
    done = 0
    for event in events:
        done += int(event.final.sum())
        on_progress(done, total)
        yield event
