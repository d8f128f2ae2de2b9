"""What is made of the pixels that a walk settles: rows, progress, the time that it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from pixelrnn.sampling.stage import Settled

Row = tuple[int, int, Tensor]  # index of the first image of a batch, row, that row of the images
OnRow = Callable[[int, int, Tensor], None]
OnProgress = Callable[[int, int], None]
"""Called with (final pixels, all pixels), counted over all images."""


def batches(count: int, batch_size: int, masks: Tensor | None) -> Iterator[slice]:
    """The batches of so many images; those of a batch have the same mask (N, 1, H, W).

    >>> masks = torch.tensor([1, 1, 0]).view(3, 1, 1, 1)
    >>> [(part.start, part.stop) for part in batches(3, 2, None)], [part.stop for part in batches(3, 8, masks)]
    ([(0, 2), (2, 3)], [2, 3])
    """
    first = 0
    for index in range(1, count + 1):
        changes = index < count and masks is not None and not torch.equal(masks[index], masks[index - 1])
        if index == count or index - first == batch_size or changes:
            yield slice(first, index)
            first = index


def rows(images: Tensor, parts: Iterable[slice], events: Iterator[Settled]) -> Iterator[Row]:
    """Each row of each batch, from top to bottom, once its pixels and those of the rows above are final.

    Arguments: parts, the batches of `images`, whose events follow each other
    """
    height, width = images.shape[2:]
    for part in parts:
        row, left = 0, np.full(height, (part.stop - part.start) * width)  # pixels that are not final yet
        while row < height:
            event = next(events)
            np.subtract.at(left, event.where.numpy() // width, event.final.sum(0))
            while row < height and not left[row]:
                yield part.start, row, images[part, :, row]
                row += 1
    for _ in events:
        pass  # none, but those who made them may have something to do


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
