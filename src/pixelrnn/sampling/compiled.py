"""Compiled: a program of the network draws pixel by pixel, without a guess and without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelrnn.codec.compiled import Coder, coder_of
from pixelrnn.codec.schedule import schedule_of
from pixelrnn.exact import IntegerHead
from pixelrnn.networks.base import Stage
from pixelrnn.program import Machine, Programs
from pixelrnn.sampling.choosers import Chooser, Draw, Guide
from pixelrnn.sampling.stage import Settled, StageWalk, Work, not_finite

_BETWEEN_EVENTS = 1e9  # multiplications: a few hundredths of a second, and then Ctrl-C is heard


class CompiledWalk(StageWalk):
    """A stage that is drawn by a compiled program; the chooser draws, with guidance or without.

    Raises: UnknownStepError if the network has no program
    """

    def __init__(self, stage: Stage, work: Work, settled_before: Tensor, programs: Programs) -> None:
        super().__init__(stage, work, settled_before)
        draw, self.strength, self.copies = drawn_by(self.chooser)
        tables = programs.of(self.network, self.head, self.condition_map)
        self.temperature = draw.temperature
        batch, count = len(self.pixels), len(self.indices)
        any_order = self.network.orders == "any"
        # The pixels as the machine has them: row by row, or all in one row in generation order.
        along = self.order.along.numpy() if any_order else np.arange(count)
        self.ranks = np.empty(count, dtype=np.int64)
        self.ranks[along] = np.arange(count)
        self.places = self.indices[along]
        size = (1, count) if any_order else (self.grid.shape[2], self.grid.shape[3])
        self.row = size[1]
        # Under guidance the two copies of an image, with its condition and without, are neighbours.
        self.images = np.arange(batch).reshape(self.copies, -1).T.flatten()
        self.inverse = np.argsort(self.images)
        self.drawn = np.ascontiguousarray(self.host[:, :, self.places][self.images])
        self.known = np.ascontiguousarray(~self.unknown[:, self.places][self.images])
        self.numbers = np.ascontiguousarray(draw.numbers.numpy()[:, :, self.places])
        s = self.condition_map
        if s is not None:
            s = s[torch.from_numpy(self.images)]
            s = s.flatten(2)[:, :, None, along] if any_order and s.shape[2:] != (1, 1) else s
        self.machine = Machine(
            tables,
            self.head.seen(torch.arange(self.head.levels), self.dtype),
            size,
            batch,
            self.dtype,
            s,
            self.copies,
            self.order,
        )
        cost = tables.cost(count) * -(-batch // self.machine.threads)
        self.span = max(1, int(_BETWEEN_EVENTS / cost))  # pixels of each image

    def events(self) -> Iterator[Settled]:
        """Choose run after run, several at a time where they are short."""
        with self.machine:
            waiting: list[Tensor] = []  # whole runs that will be drawn together
            for run, end in self._ends():
                if end == len(run) and sum(map(len, waiting)) + end <= self.span:
                    waiting.append(run)
                    continue
                yield from self._runs(waiting)
                waiting = []
                if end:
                    yield from self._choose(run[:end])
                if end < len(run):
                    yield from self._known(run[end:])
            yield from self._runs(waiting)

    def _runs(self, runs: list[Tensor]) -> Iterator[Settled]:
        """Whole runs, one after the other, drawn together."""
        if runs:
            self._draw(int(self.ranks[runs[0][0]]), sum(map(len, runs)))
            for run in runs:
                yield from self._drawn(run.numpy())

    def _choose(self, run: Tensor) -> Iterator[Settled]:
        for first in range(0, len(run), self.span):
            some = run[first : first + self.span].numpy()
            self._draw(int(self.ranks[some[0]]), len(some))
            yield from self._drawn(some)

    def _draw(self, first: int, count: int) -> None:
        """Draw some pixels of a row of the machine, or some whole rows."""
        row, column = divmod(first, self.row)
        rows = -(-count // self.row)
        found = self.machine.draw(
            row, rows, column, count // rows, self.drawn, self.known, self.numbers, self.temperature, self.strength
        )
        if found is not None:
            raise not_finite(self.network, int(self.images[found[0]]), int(self.places[found[1]]), self.width)

    def _drawn(self, some: npt.NDArray[np.int64]) -> Iterator[Settled]:
        """These pixels of the stage are final."""
        indices = self.indices[some]
        where = torch.from_numpy(indices)
        values = self.drawn[:, :, self.ranks[some]][self.inverse]
        self._write(indices, where, values)
        yield from self._event(np.arange(len(values)), where, values, np.ones((len(values), len(some)), dtype=bool))


def drawn_by(chooser: Chooser) -> tuple[Draw, float, int]:
    """What draws, the strength of the guidance, and the copies of an image that it takes."""
    if isinstance(chooser, Guide) and isinstance(chooser.chooser, Draw):
        return chooser.chooser, chooser.strength, 2
    if isinstance(chooser, Draw):
        return chooser, 1.0, 1
    raise TypeError(f"a compiled walk draws; it cannot ask {type(chooser).__name__}")


class ExactWalk(StageWalk):
    """A stage of a network in whole numbers, drawn by the compiled code that also decodes, image by image.

    Raises: UnknownStepError if the network has no program
    """

    def __init__(self, stage: Stage, work: Work, settled_before: Tensor, programs: Programs) -> None:
        super().__init__(stage, work, settled_before)
        head = self.head
        assert isinstance(head, IntegerHead)
        draw, _, copies = drawn_by(self.chooser)
        assert draw.temperature == 1 and copies == 1  # noqa: PT018
        height, width = self.grid.shape[2:]
        self.numbers = draw.numbers.numpy().reshape(self.grid.shape)
        self.known = ~self.unknown.reshape(len(self.grid), height, width)

        def coder(pixels: npt.NDArray[np.uint8], some: slice) -> Coder:
            s = None if self.condition_map is None else self.condition_map[some]
            return coder_of(self.network, head, programs, schedule_of(self.network, height, width), pixels, s)

        self.coder = coder

    def events(self) -> Iterator[Settled]:
        """Draw a few images at a time."""
        count, channels, height, width = self.grid.shape
        at_once = max(1, _PIXELS_AT_ONCE // (height * width))
        where = torch.arange(height * width)
        for first in range(0, count, at_once):
            some = slice(first, first + at_once)
            pixels = np.ascontiguousarray(self.host[some].reshape(-1, channels, height, width))
            self.coder(pixels, some).draw(self.numbers[some], self.known[some])
            values = pixels.reshape(len(pixels), channels, -1)
            self.host[some] = values
            images = np.arange(first, first + len(pixels))
            yield from self._event(images, where, values, np.ones((len(pixels), height * width), dtype=bool))

    def _choose(self, run: Tensor) -> Iterator[Settled]:
        raise AssertionError("all pixels of an image are drawn together")


_PIXELS_AT_ONCE = 1 << 16
