"""The one loop over pixels, and what chooses them.

`walk` goes through an image in raster order (stage by stage, if the network has several), asks the network for the
probabilities of the next pixels and lets a chooser say what they are: `Draw` draws them, `Keep` keeps what is known and
draws the rest. The loop is the same for every network, head and use.

The next pixels: the network is run on a span of the row in which pixels that are not chosen yet hold a guess. What the
chooser says is right up to and including the first pixel where it contradicts the guess, because until there the
network was given what it should have been given; all of it is the guess of the next pass. So the images do not depend
on the spans, which only save passes: where a model is sure of itself, a row takes a few.

Source: Wiggers and Hoogeboom, Predictive Sampling with Forecasting Autoregressive Models, 2020, arXiv 2002.09928; Song
et al., Accelerating Feedforward Computation via Parallel Nonlinear Equation Solving, 2021, arXiv 2002.03629.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pixelrnn.canvas import Incremental, Region, Whole, scale
from pixelrnn.heads import Head
from pixelrnn.networks import Network
from pixelrnn.networks.base import Stage
from pixelrnn.sampling.choosers import Chooser, Place
from pixelrnn.sampling.pace import Pace

Method = Literal["cached", "naive"]


@torch.inference_mode()
def walk(
    network: Network,
    head: Head,
    images: Tensor,
    chooser: Chooser,
    *,
    dtype: torch.dtype,
    method: Method = "cached",
    pace: Pace | int | None = None,
    condition_map: Tensor | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Choose every pixel of `images`, in place, in the network's order, which is raster order for most.

    Arguments:
        images   (B, C, H, W) uint8 on the network's device: what the chooser calls given must be there already
        dtype    of the network's weights
        method   "cached": every layer keeps its past; "naive": one whole pass per pixel and colour, slow and evident,
                 the oracle for the other
        pace     how wide spans are: a number of pixels, or what chooses it; the images do not depend on it
        given    the condition, (B, maps, H, W), or (B, maps, 1, 1) if it is the same everywhere
    Yields:      each row when it is final, and that row of the images (B, C, W)
    """
    pace = Pace() if pace is None else pace
    decided = chooser.known_everywhere.clone()
    stages = network.stages()
    for stage in stages:
        known = decided[:: stage.step, :: stage.step]
        if method == "naive":
            rows = _naive(network, head, stage.step, images, known, chooser, dtype, condition_map)
        else:
            rows = _Raster(stage, head, images, known, chooser, dtype, pace, condition_map).rows()
        for row in rows:
            if stage is stages[-1]:
                yield row, images[:, :, row]
        known.fill_(True)


def _naive(
    network: Network,
    head: Head,
    step: int,
    images: Tensor,
    known: Tensor,
    chooser: Chooser,
    dtype: torch.dtype,
    condition_map: Tensor | None,
) -> Iterator[int]:
    """The oracle: for every pixel and colour that is not known, the whole network on the whole image."""
    for row in range(0, images.shape[2], step):
        for column in range(0, images.shape[3], step):
            if known[row // step, column // step]:
                continue
            place = Place(None, row, slice(column, column + 1))
            for channel in range(images.shape[1]):
                if channel < head.groups:
                    params = network(Whole(scale(images, head.levels, dtype), condition_map))
                here = (..., slice(row, row + 1), place.columns)
                pmf = head.pmf(params[here], images[here], channel)[:, 0]
                images[:, channel, row, place.columns] = chooser.choose(pmf, place, channel).to(images.dtype)
        yield row // step


class _Raster:
    """One stage: every `step`-th pixel that is not known, row by row, span by span.

    Pixels are settled place by place: column by column, and within a column colour by colour, if the network sees
    earlier colours of the pixel (`passes`). A feature never depends on the last colour of its own pixel, so with the
    pass that settles a pixel its features are final as well.
    """

    def __init__(
        self,
        stage: Stage,
        head: Head,
        images: Tensor,
        known: Tensor,
        chooser: Chooser,
        dtype: torch.dtype,
        pace: Pace | int,
        condition_map: Tensor | None,
    ) -> None:
        self.network, self.step, self.head, self.chooser, self.pace = stage.network, stage.step, head, chooser, pace
        self.grid = images[:, :, :: stage.step, :: stage.step]  # a view
        self.known = known.numpy()
        self.places = head.groups  # per column
        self.dtype = dtype
        condition_map = None if condition_map is None else condition_map[:, :, :: stage.step, :: stage.step]
        if stage.condition_map is not None:
            condition_map = stage.condition_map(scale(self.grid, head.levels, dtype), condition_map)
        self.canvas = Incremental(tuple(self.grid.shape), dtype, images.device, condition_map)

    def rows(self) -> Iterator[int]:
        """Choose a row, and say which; nothing is run after the last pixel that has to be chosen."""
        height, width = self.known.shape
        unknown = np.flatnonzero(~self.known)
        last = unknown[-1] if len(unknown) else -1
        for row in range(height):
            end = min(width, int(last) + 1 - row * width)
            if end > 0:
                self._choose_row(row, end)
            yield row

    def _choose_row(self, row: int, end: int) -> None:
        """Choose the pixels of a row up to column `end`, and write them into the images."""
        canvas, places = self.canvas, self.places
        canvas.begin(Region(row, 0, end))
        guess = self._guess(row, end)
        self._write(guess)
        settled = np.zeros(len(guess), dtype=int)  # places of every image
        at_work = np.arange(len(guess))
        begun = False
        while (waiting := settled[at_work] < end * places).any():
            if 2 * waiting.sum() <= len(at_work):  # the others rest; not one by one, as it takes time
                at_work, waiting = at_work[waiting], waiting[waiting]
                canvas.only(torch.from_numpy(at_work).to(self.grid.device))
            columns = settled[at_work] // places
            first = int(columns[waiting].min())
            run = _run(self.known[row, first:end])
            if run:  # known in every image
                self._params(Region(row, first, run))
                settled[at_work] = np.maximum(settled[at_work], (first + run) * places)
                continue
            width = self._width(columns[waiting] - first, end - first, len(at_work))
            began = time.perf_counter()
            self._settle(Region(row, first, width), at_work, guess, settled)
            if begun and isinstance(self.pace, Pace):  # the first also does what is done once for the row
                self.pace.time(width, len(at_work), time.perf_counter() - began)
            begun = True
        self.grid[:, :, row, :end] = torch.from_numpy(guess)

    def _settle(self, region: Region, at_work: np.ndarray, guess: np.ndarray, settled: np.ndarray) -> None:
        """A pass on the guesses: what is chosen replaces them and is settled up to the first that was wrong."""
        row, first, width = region
        before, places = guess[at_work, :, first : first + width], self.places
        chosen = self._chosen(self._params(region), before, region)
        chosen = np.where(self.known[row, first : first + width], before, chosen)
        old = settled[at_work]
        open_ = first * places + np.arange(width * places) >= old[:, None]  # in order: (images, places)
        per_place = before.shape[1] // places  # colours that are settled together
        wrong = (chosen != before).transpose(0, 2, 1).reshape(len(before), -1, per_place).any(-1) & open_
        any_wrong = wrong.any(1)
        new = np.maximum(old, first * places + np.where(any_wrong, wrong.argmax(1) + 1, width * places))
        settled[at_work] = new
        # What was settled before stays: it would be chosen again, but for a rounding.
        mask = open_.reshape(len(before), width, places).repeat(per_place, 2).transpose(0, 2, 1)
        after = np.where(mask, chosen, before)
        guess[at_work, :, first : first + width] = after
        self._write(after)
        if isinstance(self.pace, Pace):
            self.pace.learn(int((new - old).sum()), int(any_wrong.sum()))

    def _params(self, region: Region) -> Tensor:
        """The parameters of a region, given its pixels as they were written: (B, params, 1, w)."""
        self.canvas.begin(region)
        with torch.autocast(self.grid.device.type, enabled=False):
            return self.canvas.run(self.network)

    def _write(self, guess: np.ndarray) -> None:
        """Let the network see these pixels of the region."""
        self.canvas.write(scale(torch.from_numpy(guess).to(self.grid.device), self.head.levels, self.dtype))

    def _chosen(self, params: Tensor, guess: np.ndarray, region: Region) -> np.ndarray:
        """What the chooser says: (B, C, w)."""
        pixels = torch.from_numpy(guess).to(params.device)[:, :, None].clone()
        place = self._place(region)
        for channel in range(pixels.shape[1]):
            pmf = self.head.pmf(params, pixels, channel)[:, 0]
            pixels[:, channel, 0] = self.chooser.choose(pmf, place, channel).to(pixels.dtype)
        return pixels[:, :, 0].cpu().numpy()

    def _guess(self, row: int, end: int) -> np.ndarray:
        """What the pixels of a row are at first taken for, where they are not given: those above, (B, C, end)."""
        line = self.grid[:, :, row, :end]
        above = self.grid[:, :, row - 1, :end] if row else torch.zeros_like(line)
        place = self._place(Region(row, 0, end))
        guesses = [self.chooser.guess(place, channel, above[:, channel]) for channel in range(above.shape[1])]
        return np.where(self.known[row, :end], line.cpu().numpy(), torch.stack(guesses, 1).cpu().numpy())

    def _place(self, region: Region) -> Place:
        row, first, width = region
        return Place(
            self.canvas.images, row * self.step, slice(first * self.step, (first + width) * self.step, self.step)
        )

    def _width(self, ahead: np.ndarray, left: int, images: int) -> int:
        if isinstance(self.pace, int):
            return min(self.pace, left)
        return self.pace.width(ahead, left, images, self.places)


def _run(known: np.ndarray) -> int:
    """How many pixels from the first on are known."""
    return int(known.argmin()) if not known.all() else len(known)
