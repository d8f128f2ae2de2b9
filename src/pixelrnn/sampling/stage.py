"""One stage of a walk: what all methods of choosing the pixels of a run share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelrnn.canvas import Order
from pixelrnn.errors import ModelError
from pixelrnn.heads import Head
from pixelrnn.networks import Network
from pixelrnn.networks.base import Stage
from pixelrnn.sampling.choosers import Chooser


class Settled(NamedTuple):
    """Pixels that became final in a pass, in some images of the batch. Each pixel of each image does so once."""

    images: npt.NDArray[np.int64]  # (n,) indices into the batch
    where: Tensor  # (w,) flat pixel indices, row * W + column, in generation order
    values: npt.NDArray[np.uint8]  # (n, C, w)
    final: npt.NDArray[np.bool_]  # (n, w): which of them; the others are guesses, or were final before

    def write_to(self, images: Tensor) -> None:
        """Write the pixels into the images of the batch (B, C, H, W), guesses included."""
        images.flatten(2)[torch.from_numpy(self.images)[:, None], :, self.where] = (
            torch.from_numpy(self.values).movedim(1, 2).to(images.device)
        )


class Work(NamedTuple):
    """The arguments of `walk` that every stage needs."""

    head: Head
    images: Tensor
    known: Tensor
    chooser: Chooser
    dtype: torch.dtype
    order: Order | None
    condition_map: Tensor | None


class StageWalk(ABC):
    """A walk over one stage: every `step`-th pixel of the image that is not known, run by run."""

    def __init__(self, stage: Stage, work: Work, settled_before: Tensor) -> None:
        self.head, self.chooser, self.dtype = work.head, work.chooser, work.dtype
        step, (height, width) = stage.step, work.images.shape[2:]
        self.pixels = work.images.flatten(2)  # (B, C, H * W), a view
        self.host = self.pixels.cpu().numpy()  # shares memory with `pixels`, or is a copy if they are on an accelerator
        self.unknown = ~work.known.flatten(1).cpu().numpy()  # (B, H * W)
        self.settled_before = settled_before.flatten().numpy()  # (H * W,) in an earlier stage
        self.later_stage = bool(settled_before.any())
        self.indices = np.arange(height * width).reshape(height, width)[::step, ::step].flatten()
        self.width = width
        grid = work.images[:, :, ::step, ::step]
        s = None if work.condition_map is None else work.condition_map[:, :, ::step, ::step]
        if stage.condition_map is not None:
            s = stage.condition_map(self.head.seen(grid, self.dtype), s)
        self.condition_map = s  # of this stage's network
        self.network = stage.network
        self.order = work.order or Order.raster(grid.shape[2], grid.shape[3])
        self.grid = grid
        self.columns = grid.shape[3]

    def events(self) -> Iterator[Settled]:
        """Choose run after run."""
        for run, end in self._ends():
            if end:
                yield from self._choose(run[:end])
            if end < len(run):
                yield from self._known(run[end:])

    def _ends(self) -> Iterator[tuple[Tensor, int]]:
        """Each run, and up to where the network is run: not behind the last pixel that has to be chosen."""
        somewhere: npt.NDArray[np.bool_] = np.logical_or.reduce(self.unknown)
        left = int(np.count_nonzero(somewhere[self.indices]))  # pixels that must be chosen in some image
        for run in self.order.runs():
            unknown = np.flatnonzero(somewhere[self.indices[run.numpy()]])
            left -= len(unknown)
            yield run, len(run) if left else int(unknown[-1]) + 1 if len(unknown) else 0

    @abstractmethod
    def _choose(self, run: Tensor) -> Iterator[Settled]:
        """Choose the pixels of a run, and write them into the images."""

    def _write(self, indices: npt.NDArray[np.int64], where: Tensor, values: npt.NDArray[np.uint8]) -> None:
        """Write final pixels into the images."""
        self.host[:, :, indices] = values
        if self.pixels.device.type != "cpu":
            self.pixels[:, :, where] = torch.from_numpy(values).to(self.pixels.device)

    def _known(self, run: Tensor) -> Iterator[Settled]:
        """Pixels that are known in every image, after the last one that is not."""
        indices = self.indices[run.numpy()]
        values = self.host[:, :, indices]
        final = np.ones((len(values), len(run)), dtype=bool)
        yield from self._event(np.arange(len(values)), torch.from_numpy(indices), values, final)

    def _event(
        self,
        images: npt.NDArray[np.int64],
        where: Tensor,
        values: npt.NDArray[np.uint8],
        final: npt.NDArray[np.bool_],
    ) -> Iterator[Settled]:
        """The event for what became final, without what an earlier stage has settled."""
        if self.later_stage:
            final = final & ~self.settled_before[where.numpy()]
        if not self.later_stage or final.any():
            yield Settled(images, where, values, final)


def check_finite(params: Tensor, network: Network, images: Tensor | None, where: Tensor, width: int) -> None:
    """Raises ModelError if parameters (B, params, w) are not finite: samples would be meaningless."""
    if math.isfinite(float(params.sum())):  # a quick check: a sum with a non-finite term is not finite
        return
    if bool(params.isfinite().all()):
        return
    image, _, pixel = (~params.isfinite()).nonzero()[0].tolist()
    image = image if images is None else int(images[image])
    raise not_finite(network, image, int(where[pixel]), width)


def not_finite(network: Network, image: int, where: int, width: int) -> ModelError:
    """The error for parameters that are not finite."""
    row, column = divmod(where, width)
    return ModelError(
        f"{type(network).__name__} gave a parameter that is not finite for the pixel in row {row}, column {column} of "
        f"image {image}: its weights are damaged or its training diverged. Load an earlier checkpoint, or train again "
        "with a lower learning rate."
    )
