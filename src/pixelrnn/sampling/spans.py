"""Spans: the network is run on several pixels of a run at once, and guesses that were right are settled.

Pixels that are not chosen yet hold a guess. The choices are right up to and including the first pixel that contradicts
its guess (`settle`); the others are the guess of the next pass. So the images do not depend on the spans, which only
save passes: where a model is confident, a row takes only a few. This is speculative sampling, or Jacobi iteration, with
the model as its own draft model.

Source: Wiggers and Hoogeboom, Predictive Sampling with Forecasting Autoregressive Models, 2020, arXiv 2002.09928; Song
et al., Accelerating Feedforward Computation via Parallel Nonlinear Equation Solving, 2021, arXiv 2002.03629.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelrnn.heads import Head
from pixelrnn.networks.base import Stage
from pixelrnn.sampling.choosers import Pmf, Span
from pixelrnn.sampling.pace import Pace
from pixelrnn.sampling.runner import Cached, CachedAlongOrder, Runner, Uncached
from pixelrnn.sampling.settle import open_positions, settle
from pixelrnn.sampling.stage import Settled, StageWalk, Work, check_finite


def pmf_of(head: Head, params: Tensor) -> Pmf:
    """Probabilities of a line of pixels: params (B, params, 1, w)."""
    return lambda pixels, channel: head.pmf(params, pixels[:, :, None], channel)[:, 0]


class SpanWalk(StageWalk):
    """Walks over a stage in spans, with PyTorch.

    Pixels are settled position by position: pixel by pixel, and within a pixel colour by colour, if the network sees
    earlier colours of the pixel (`groups`). A feature never depends on the last colour of its own pixel, so the
    features of a pixel are final after the pass that settles it.
    """

    def __init__(self, stage: Stage, work: Work, settled_before: Tensor, pace: Pace | int) -> None:
        super().__init__(stage, work, settled_before)
        self.pace = pace
        # The last pixels of a run may belong to an earlier stage, and in another order a run may continue in another
        # row: then a row is final before its run is.
        self.writes_each_pass = self.later_stage or work.order is not None
        runner: Callable[..., Runner] = Cached
        if stage.network.orders == "any":
            runner = CachedAlongOrder if stage.network.remembers else Uncached
        self.runner = runner(stage.network, self.grid, work.dtype, self.condition_map, work.order)

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
            if 2 * waiting.sum() <= len(at_work):  # drop finished images, but not one by one, as that takes time
                at_work, waiting = at_work[waiting], waiting[waiting]
                images = torch.from_numpy(at_work).to(self.pixels.device)
                self.runner.only(images)
            old = settled[at_work]
            ahead = old[waiting] // groups
            first = int(ahead.min())
            count = _leading(known_by_all[first:])
            known = count > 0  # in every image: the network only fills its cache, nothing is chosen
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
                if timed and isinstance(self.pace, Pace):  # the first pass also does what is done once per run
                    self.pace.time(count, len(at_work), time.perf_counter() - began)
                timed = True
            settled[at_work] = new
            if self.writes_each_pass or (new >= end).all():  # the inactive images have finished before
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
        """One pass over the guesses: the new pixels of the span, and how many positions of the run are settled."""
        first, groups, device = span.start, self.head.groups, where.device
        params = self.runner.params(first, span.stop - first)
        check_finite(params, self.network, images, where, self.width)
        asked = Span(
            images,
            where,
            range(guess.shape[1]),
            torch.from_numpy(open_).to(device),
            torch.from_numpy(guess).to(device),
        )
        chosen = self.chooser.choose(asked, pmf_of(self.head, params[:, :, None]))
        result = settle(guess, chosen.cpu().numpy(), open_, groups)
        self.runner.write(first, self._scaled(result.values))
        new = np.maximum(settled, first * groups + result.settled)
        if isinstance(self.pace, Pace):
            self.pace.learn(int((new - settled).sum()), int(result.wrong.sum()))
        return result.values, new

    def _guess(self, run: npt.NDArray[np.int64], unknown: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
        """The first guess for the pixels of a run, (B, C, w): the known pixels, and elsewhere those above."""
        above = self.host[:, :, self.indices[np.maximum(run - self.columns, 0)]]
        above[:, :, run < self.columns] = 0
        return above if unknown.all() else np.where(unknown[:, None], above, self.host[:, :, self.indices[run]])

    def _scaled(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """The pixels as the network sees them."""
        return self.head.seen(torch.from_numpy(pixels).to(self.pixels.device), self.dtype)

    def _width(self, ahead: npt.NDArray[np.int64], left: int, images: int) -> int:
        if isinstance(self.pace, int):
            return min(self.pace, left)
        return self.pace.width(ahead, left, images, self.head.groups)


def _leading(known: npt.NDArray[np.bool_]) -> int:
    """The number of leading pixels that are known.

    >>> _leading(np.array([True, True, False, True]))
    2
    """
    return int(known.argmin()) if not known.all() else len(known)
