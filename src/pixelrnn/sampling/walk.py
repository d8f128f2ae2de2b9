"""The one loop over pixels.

`walk` goes through images in generation order (stage by stage, if the network has several), asks the network for the
probabilities of the next pixels and lets a chooser say what they are. The loop is the same for every network, head and
use, and yields what it settles: sampling, completion, progress bars and the rows of `sample_rows` all read from it.

The next pixels: the network is run on a span of a run (a row, in raster order) in which pixels that are not chosen yet
hold a guess. What is chosen is right up to and including the first pixel where it contradicts the guess (`settle`); all
of it is the guess of the next pass. So the images do not depend on the spans, which only save passes: where a model is
sure of itself, a row takes a few. This is speculative sampling, or Jacobi iteration, with the model as its own draft.

Source: Wiggers and Hoogeboom, Predictive Sampling with Forecasting Autoregressive Models, 2020, arXiv 2002.09928; Song
et al., Accelerating Feedforward Computation via Parallel Nonlinear Equation Solving, 2021, arXiv 2002.03629.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelrnn.canvas import Order, Whole, scale
from pixelrnn.errors import ModelError
from pixelrnn.heads import Head
from pixelrnn.networks import Network
from pixelrnn.networks.base import Stage
from pixelrnn.sampling.choosers import Chooser, Pmf, Span
from pixelrnn.sampling.pace import Pace
from pixelrnn.sampling.runner import Cached, Runner, Uncached
from pixelrnn.sampling.settle import open_positions, settle

Method = Literal["cached", "naive"]


class Settled(NamedTuple):
    """Pixels that have become final in a pass, of some images of the batch. Each pixel of each image does so once."""

    images: npt.NDArray[np.int64]  # (n,) indices into the batch
    where: Tensor  # (w,) flat pixel indices, row * W + column, in generation order
    values: npt.NDArray[np.uint8]  # (n, C, w)
    final: npt.NDArray[np.bool_]  # (n, w): which of them; the others are guesses, or were final before

    def write_to(self, images: Tensor) -> None:
        """Put the pixels into the images of the batch (B, C, H, W), guesses too."""
        images.flatten(2)[torch.from_numpy(self.images)[:, None], :, self.where] = (
            torch.from_numpy(self.values).movedim(1, 2).to(images.device)
        )


@torch.inference_mode()
def walk(
    network: Network,
    head: Head,
    images: Tensor,
    chooser: Chooser,
    *,
    dtype: torch.dtype,
    known: Tensor | None = None,
    order: Order | None = None,
    method: Method = "cached",
    pace: Pace | int | None = None,
    condition_map: Tensor | None = None,
) -> Iterator[Settled]:
    """Choose every pixel of `images` that is not known, in place, in generation order.

    Arguments:
        images   (B, C, H, W) uint8 on the network's device, contiguous
        dtype    of the network's weights
        known    (B, 1, H, W) bool: pixels that keep their value; None for none
        order    the generation order, for a network that takes any; None for the network's own
        method   "cached": every layer keeps its past; "naive": one whole pass per pixel and colour, slow and evident,
                 the oracle for the other
        pace     how wide spans are: a number of pixels, or what chooses it; the images do not depend on it
        condition_map  (B, maps, H, W), or (B, maps, 1, 1) if it is the same everywhere
    Yields:      the pixels that became final, known ones too, pass after pass; those of a run stand in `images` when
                 all of it is final
    Raises:      ModelError if the network gives parameters that are not finite
    """
    known = torch.zeros_like(images[:, :1], dtype=torch.bool) if known is None else known.clone()
    if method == "naive":
        yield from _naive(network, head, images, known, chooser, dtype, order, condition_map)
        return
    settled_before = torch.zeros(images.shape[2:], dtype=torch.bool)
    pace = Pace() if pace is None else pace
    for stage in network.stages():
        walked = _Stage(stage, head, images, known, settled_before, chooser, dtype, pace, order, condition_map)
        yield from walked.events()
        for grid in (known, settled_before):
            grid[..., :: stage.step, :: stage.step] = True


def _naive(
    network: Network,
    head: Head,
    images: Tensor,
    known: Tensor,
    chooser: Chooser,
    dtype: torch.dtype,
    order: Order | None,
    condition_map: Tensor | None,
) -> Iterator[Settled]:
    """The oracle: for every pixel and colour that is not known, the whole network on the whole image."""
    batch, channels, height, width = images.shape
    every, groups = np.arange(batch), head.groups
    for where in (order or network.order(height, width)).ranks.flatten().argsort():
        row, column = divmod(int(where), width)
        here = (..., slice(row, row + 1), slice(column, column + 1))
        pixels = images[here].flatten(2).clone()  # (B, C, 1)
        for group in range(0 if known[here].all() else groups):
            params = network(Whole(scale(images, head.levels, dtype), condition_map, order))[here]
            _check_finite(params[:, :, 0], network, None, where[None], width)
            colours = range(group * channels // groups, (group + 1) * channels // groups)
            open_ = (~known[here][:, 0]).expand(-1, channels, -1)
            chosen = chooser.choose(
                Span(None, where[None].to(images.device), colours, open_, pixels), _pmf(head, params)
            )
            for channel in colours:
                pixels[:, channel] = torch.where(open_[:, channel], chosen[:, channel], pixels[:, channel])
            images[here] = pixels[..., None]
        yield Settled(every, where[None], pixels.cpu().numpy(), np.ones((batch, 1), dtype=bool))


def _pmf(head: Head, params: Tensor) -> Pmf:
    """Probabilities of a line of pixels: params (B, params, 1, w)."""
    return lambda pixels, channel: head.pmf(params, pixels[:, :, None], channel)[:, 0]


class _Stage:
    """One stage: every `step`-th pixel of the image that is not known, run by run, span by span.

    Pixels are settled position by position: pixel by pixel, and within a pixel colour by colour, if the network sees
    earlier colours of the pixel (`groups`). A feature never depends on the last colour of its own pixel, so with the
    pass that settles a pixel its features are final as well.
    """

    def __init__(
        self,
        stage: Stage,
        head: Head,
        images: Tensor,
        known: Tensor,
        settled_before: Tensor,
        chooser: Chooser,
        dtype: torch.dtype,
        pace: Pace | int,
        order: Order | None,
        condition_map: Tensor | None,
    ) -> None:
        self.head, self.chooser, self.pace, self.dtype = head, chooser, pace, dtype
        step, (height, width) = stage.step, images.shape[2:]
        self.pixels = images.flatten(2)  # (B, C, H * W), a view
        self.host = self.pixels.cpu().numpy()  # the same memory, or a copy of what is on an accelerator
        self.unknown = ~known.flatten(1).cpu().numpy()  # (B, H * W)
        self.settled_before = settled_before.flatten().numpy()  # in an earlier stage
        self.later_stage = bool(settled_before.any())
        # The last pixels of a run may be of an earlier stage, and a run of another order may go on in another row: then
        # a row is final before its run is.
        self.writes_each_pass = self.later_stage or order is not None
        self.indices = np.arange(height * width).reshape(height, width)[::step, ::step].flatten()
        self.width = width
        grid = images[:, :, ::step, ::step]
        s = None if condition_map is None else condition_map[:, :, ::step, ::step]
        if stage.condition_map is not None:
            s = stage.condition_map(scale(grid, head.levels, dtype), s)
        self.network = stage.network
        self.order = order or Order.raster(grid.shape[2], grid.shape[3])
        self.columns = grid.shape[3]
        runner = Uncached if stage.network.orders == "any" else Cached
        self.runner: Runner = runner(stage.network, grid, dtype, s, order)

    def events(self) -> Iterator[Settled]:
        """Choose run after run; nothing is run after the last pixel that has to be chosen."""
        somewhere: npt.NDArray[np.bool_] = np.logical_or.reduce(self.unknown)
        left = int(np.count_nonzero(somewhere[self.indices]))  # pixels that must be chosen in some image
        for run in self.order.runs():
            unknown = np.flatnonzero(somewhere[self.indices[run.numpy()]])
            left -= len(unknown)
            end = len(run) if left else int(unknown[-1]) + 1 if len(unknown) else 0
            if end:
                yield from self._choose(run[:end])
            if end < len(run):
                yield from self._known(run[end:])

    def _choose(self, run: Tensor) -> Iterator[Settled]:
        """Choose the pixels of a run, and write them into the images."""
        indices, groups = self.indices[run.numpy()], self.head.groups
        where = torch.from_numpy(indices)
        on_device, end = where.to(self.pixels.device), len(run) * groups
        unknown = self.unknown[:, indices]
        guess = self._guess(run.numpy(), unknown)
        known_by_all, all_open = ~np.logical_or.reduce(unknown), bool(unknown.all())
        self.runner.begin(run)
        self.runner.write(0, self._scaled(guess))
        settled = np.zeros(len(guess), dtype=int)  # positions of the run, of every image
        at_work, images, timed = np.arange(len(guess)), None, False
        while (waiting := settled[at_work] < end).any():
            if 2 * waiting.sum() <= len(at_work):  # the others rest; not one by one, as it takes time
                at_work, waiting = at_work[waiting], waiting[waiting]
                images = torch.from_numpy(at_work).to(self.pixels.device)
                self.runner.only(images)
            old = settled[at_work]
            ahead = old[waiting] // groups
            first = int(ahead.min())
            count = _leading(known_by_all[first:])
            known = count > 0  # in every image: the network is run for what it keeps, nothing is chosen
            count = count or self._width(ahead - first, len(run) - first, len(at_work))
            span, began = slice(first, first + count), time.perf_counter()
            values = guess[at_work, :, span]
            if known:
                self.runner.skip(first, count)
                new = np.maximum(old, (first + count) * groups)
            else:
                open_ = open_positions(
                    old - first * groups, None if all_open else unknown[at_work, span], values.shape, groups
                )
                values, new = self._pass(span, on_device[span], images, values, open_, old)
                guess[at_work, :, span] = values
                if timed and isinstance(self.pace, Pace):  # the first also does what is done once for the run
                    self.pace.time(count, len(at_work), time.perf_counter() - began)
                timed = True
            settled[at_work] = new
            if self.writes_each_pass or (new >= end).all():  # then the images that rest have finished before
                self._write(indices, on_device, guess)
            begins, ends = old[:, None] // groups, new[:, None] // groups
            if (ends > begins).any():
                columns = np.arange(first, first + count)
                yield from self._event(at_work, where[span], values, (columns >= begins) & (columns < ends))

    def _pass(
        self,
        span: slice,
        where: Tensor,
        images: Tensor | None,
        guess: npt.NDArray[np.uint8],
        open_: npt.NDArray[np.bool_],
        settled: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """A pass on the guesses: what the span's pixels are now, and how many positions of the run are settled."""
        first, groups, device = span.start, self.head.groups, where.device
        params = self.runner.params(first, span.stop - first)
        _check_finite(params, self.network, images, where, self.width)
        asked = Span(
            images,
            where,
            range(guess.shape[1]),
            torch.from_numpy(open_).to(device),
            torch.from_numpy(guess).to(device),
        )
        chosen = self.chooser.choose(asked, _pmf(self.head, params[:, :, None]))
        result = settle(guess, chosen.cpu().numpy(), open_, groups)
        self.runner.write(first, self._scaled(result.values))
        new = np.maximum(settled, first * groups + result.settled)
        if isinstance(self.pace, Pace):
            self.pace.learn(int((new - settled).sum()), int(result.wrong.sum()))
        return result.values, new

    def _guess(self, run: npt.NDArray[np.int64], unknown: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
        """What the pixels of a run are at first taken for, where they are not known: those above them, (B, C, w)."""
        above = self.host[:, :, self.indices[np.maximum(run - self.columns, 0)]]
        above[:, :, run < self.columns] = 0
        return above if unknown.all() else np.where(unknown[:, None], above, self.host[:, :, self.indices[run]])

    def _write(self, indices: npt.NDArray[np.int64], where: Tensor, values: npt.NDArray[np.uint8]) -> None:
        """Put final pixels into the images."""
        self.host[:, :, indices] = values
        if self.pixels.device.type != "cpu":
            self.pixels[:, :, where] = torch.from_numpy(values).to(self.pixels.device)

    def _known(self, run: Tensor) -> Iterator[Settled]:
        """Pixels that are known in every image, and behind the last that is not."""
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
        """What became final, without what an earlier stage has settled."""
        if self.later_stage:
            final = final & ~self.settled_before[where.numpy()]
        if not self.later_stage or final.any():
            yield Settled(images, where, values, final)

    def _scaled(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """As the network sees them."""
        return scale(torch.from_numpy(pixels).to(self.pixels.device), self.head.levels, self.dtype)

    def _width(self, ahead: npt.NDArray[np.int64], left: int, images: int) -> int:
        if isinstance(self.pace, int):
            return min(self.pace, left)
        return self.pace.width(ahead, left, images, self.head.groups)


def _leading(known: npt.NDArray[np.bool_]) -> int:
    """How many of the first pixels are known.

    >>> _leading(np.array([True, True, False, True]))
    2
    """
    return int(known.argmin()) if not known.all() else len(known)


def _check_finite(params: Tensor, network: Network, images: Tensor | None, where: Tensor, width: int) -> None:
    """Raises ModelError if parameters (B, params, w) are not finite: a picture of them would be worthless."""
    if math.isfinite(float(params.sum())):  # one quick look: what is not finite stays so in a sum
        return
    if bool(params.isfinite().all()):
        return
    image, _, pixel = (~params.isfinite()).nonzero()[0].tolist()
    image = image if images is None else int(images[image])
    row, column = divmod(int(where[pixel]), width)
    raise ModelError(
        f"{type(network).__name__} gave a parameter that is not finite for the pixel in row {row}, column {column} of "
        f"image {image}: its weights are damaged or its training diverged. Load an earlier checkpoint, or train again "
        "with a lower learning rate."
    )
