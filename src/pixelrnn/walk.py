"""The one loop over pixels, and what chooses them.

`walk` goes through an image in raster order (stage by stage, if the network has several), asks the network for the
probabilities of the next pixel and lets a chooser say what it is: `Draw` draws it, `Keep` keeps what is known and draws
the rest. The loop is the same for every network, head and use, and also for the naive sampler, which differs only in
how it gets the parameters: a whole pass per pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from pixelrnn.canvas import Region, Walk, Whole, scale
from pixelrnn.heads import Head
from pixelrnn.networks import Network
from pixelrnn.networks.base import Stage

Method = Literal["cached", "naive"]
OnRow = Callable[[int, Tensor], None]


class Chooser(Protocol):
    """What decides the pixels of a walk."""

    given: Tensor  # (H, W) bool: the pixels that are already right in every image of the batch

    def choose(self, pmf: Tensor, row: int, column: int, channel: int) -> Tensor:
        """The level of one pixel and colour in every image: pmf (B, levels) float64 -> (B,) int64."""


def uniforms(seed: int, indices: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """The random numbers of some images: (len(indices), C, H, W) float64 in [0, 1).

    Those of an image depend on the seed and on its own index, and on nothing else: the same image comes out whatever
    the batch, the device or the algorithm.
    """
    streams = (np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index]))) for index in indices)
    return torch.from_numpy(np.stack([stream.random(shape) for stream in streams]))


class Draw:
    """Draws every pixel by inverse CDF from fixed uniform numbers (B, C, H, W).

    `temperature` T draws from p^(1/T), normalised: below 1 safer images, 0 always the most probable level.
    """

    def __init__(self, numbers: Tensor, temperature: float = 1.0) -> None:
        self.numbers, self.temperature = numbers, temperature
        self.given = torch.zeros(numbers.shape[2:], dtype=torch.bool)

    def choose(self, pmf: Tensor, row: int, column: int, channel: int) -> Tensor:
        """The first level whose cumulated probability exceeds the uniform number of that place."""
        if self.temperature == 0:
            return pmf.argmax(-1)
        if self.temperature != 1:
            logits = pmf.log()
            pmf = ((logits - logits.amax(-1, keepdim=True)) / self.temperature).softmax(-1)
        number = self.numbers[:, channel, row, column].to(pmf.device)
        cumulated = pmf.cumsum(-1)
        # Times the sum, which rounding may leave below one: a level of probability zero is never drawn.
        return (cumulated <= number[:, None] * cumulated[:, -1:]).sum(-1)


class Keep:
    """Keeps the known pixels of `images` and draws the others."""

    def __init__(self, images: Tensor, known: Tensor, draw: Draw) -> None:
        self.images, self.known, self.draw = images, known, draw  # known: (B, 1, H, W) bool
        self.given = known.all(0)[0].cpu()

    def choose(self, pmf: Tensor, row: int, column: int, channel: int) -> Tensor:
        """The known level where there is one, else what `Draw` draws."""
        drawn = self.draw.choose(pmf, row, column, channel)
        return torch.where(self.known[:, 0, row, column], self.images[:, channel, row, column].long(), drawn)


@torch.inference_mode()
def walk(
    network: Network, head: Head, images: Tensor, chooser: Chooser, *, dtype: torch.dtype, method: Method = "cached",
    on_row: OnRow | None = None,
) -> Tensor:  # fmt: skip
    """Choose every pixel of `images` in the network's order, which is raster order for most, and return them.

    Arguments:
        images   (B, C, H, W) uint8 on the network's device: what the chooser calls given must be there already
        dtype    of the network's weights
        method   "cached": every layer keeps its past, each pixel is computed once; "naive": one whole pass per pixel
                 and colour, slow and evident, the oracle for the other
        on_row   called with (row, that row of the images so far (B, C, W)) when a row is final
    Returns:     (B, C, H, W) uint8
    """
    images = images.clone()
    decided = chooser.given.clone()
    stages = network.stages()
    for stage in stages:
        past: _Cached | _Naive
        if method == "cached":
            past = _Cached(stage, head.levels, images, dtype)
        else:
            past = _Naive(network, stage.step, head.levels, images, dtype)
        report = on_row if stage is stages[-1] else None
        _raster(past, head, stage.step, images, decided[:: stage.step, :: stage.step], chooser, report)
        decided[:: stage.step, :: stage.step] = True
    return images


def _raster(
    past: _Cached | _Naive, head: Head, step: int, images: Tensor, given: Tensor, chooser: Chooser,
    on_row: OnRow | None,
) -> None:  # fmt: skip
    """Choose every `step`-th pixel that is not given, row by row."""
    grid = images[:, :, ::step, ::step]  # a view: earlier colours are read from it
    unknown = (~given).flatten().nonzero()
    last = int(unknown[-1]) if len(unknown) else -1
    for row in range(grid.shape[2]):
        for column, width, known in _spans(given[row].tolist(), last - row * grid.shape[3]):
            region = Region(row, column, width)
            if known:
                past.take(region)
                continue
            pixel = grid[:, :, row : row + 1, column : column + 1]
            for channel in range(images.shape[1]):
                if channel < head.passes:
                    params = past.params(region)
                pmf = head.pmf(params, pixel, channel)[:, 0, 0]
                pixel[:, channel, 0, 0] = chooser.choose(pmf, row * step, column * step, channel).to(images.dtype)
                past.write(region, channel)
        if on_row is not None:
            on_row(row, images[:, :, row])


def _spans(given: list[bool], last: int) -> list[tuple[int, int, bool]]:
    """The spans of a row, left to right: (column, width, given).

    Given pixels are only passed through the network, as many at once as stand side by side; any other is chosen, alone.
    Nothing is run after the `last` pixel that has to be chosen.
    """
    spans: list[tuple[int, int, bool]] = []
    for column, known in enumerate(given[: max(0, last + 1)]):
        if known and spans and spans[-1][2]:
            spans[-1] = (spans[-1][0], spans[-1][1] + 1, True)
        else:
            spans.append((column, 1, known))
    return spans


class _Cached:
    """Parameters of a region from a `Walk`: every layer keeps its past, only the region is computed.

    A feature never depends on the last colour of its own pixel, so after a pixel's last pass all of its features are
    final, and the next pixel may read them.
    """

    def __init__(self, stage: Stage, levels: int, images: Tensor, dtype: torch.dtype) -> None:
        self.network, self.levels, self.dtype = stage.network, levels, dtype
        self.images = images[:, :, :: stage.step, :: stage.step]
        given = None if stage.given is None else stage.given(scale(self.images, levels, dtype))
        self.canvas = Walk(tuple(self.images.shape), dtype, images.device, given)

    def params(self, region: Region) -> Tensor:
        self.canvas.begin(region)
        return self.network(self.canvas)

    def write(self, region: Region, channel: int) -> None:
        pixels = self.images[:, channel, region.row, region.column : region.column + region.width]
        self.canvas.begin(region)
        self.canvas.write(channel, scale(pixels, self.levels, self.dtype))

    def take(self, region: Region) -> None:
        for channel in range(self.images.shape[1]):
            self.write(region, channel)
        self.params(region)


class _Naive:
    """Parameters of a region from the whole image, computed anew every time: the oracle."""

    def __init__(self, network: Network, step: int, levels: int, images: Tensor, dtype: torch.dtype) -> None:
        self.network, self.step, self.levels, self.images, self.dtype = network, step, levels, images, dtype

    def params(self, region: Region) -> Tensor:
        row, column, width = region
        everywhere = self.network(Whole(scale(self.images, self.levels, self.dtype)))
        return everywhere[:, :, :: self.step, :: self.step][:, :, row : row + 1, column : column + width]

    def write(self, region: Region, channel: int) -> None:
        """Nothing is kept."""

    def take(self, region: Region) -> None:
        """Nothing is kept."""
