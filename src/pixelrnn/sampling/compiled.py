"""Compiled: a program of the network draws pixel by pixel, without a guess and without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pixelrnn.networks.base import Stage
from pixelrnn.program import Machine, Programs
from pixelrnn.sampling.choosers import Chooser, Draw, Guide
from pixelrnn.sampling.stage import Settled, StageWalk, Work, not_finite

_PRODUCTS = 1e9  # multiplications between two events: a few hundredths of a second, and then Ctrl-C is heard


class CompiledWalk(StageWalk):
    """A stage that is drawn by a compiled program; the chooser draws, with guidance or without.

    Raises: UnknownStepError if the network has no program
    """

    def __init__(self, stage: Stage, work: Work, settled_before: Tensor, programs: Programs) -> None:
        super().__init__(stage, work, settled_before)
        draw, self.strength, self.copies = drawn_by(self.chooser)
        made = programs.of(self.network, self.head, self.condition_map)
        self.temperature = draw.temperature
        batch = len(self.pixels)
        # Under guidance the two copies of an image, with its condition and without, are neighbours.
        self.images = np.arange(batch).reshape(self.copies, -1).T.flatten()
        self.drawn = np.ascontiguousarray(self.host[:, :, self.indices][self.images])
        self.known = np.ascontiguousarray(~self.unknown[:, self.indices][self.images])
        self.numbers = np.ascontiguousarray(draw.numbers.numpy()[:, :, self.indices])
        s = self.condition_map
        s = None if s is None else s[torch.from_numpy(self.images)]
        self.machine = Machine(
            made.tables, self.head.levels, self.columns, batch, self.dtype, s, made.condition, self.copies
        )
        self.span = max(1, int(_PRODUCTS / (1 + sum(made.tables.products) * -(-batch // self.machine.threads))))

    def events(self) -> Iterator[Settled]:
        with self.machine:
            yield from super().events()

    def _choose(self, run: Tensor) -> Iterator[Settled]:
        row = int(run[0]) // self.columns
        inverse = np.argsort(self.images)
        for first in range(0, len(run), self.span):
            some = run[first : first + self.span].numpy()
            found = self.machine.draw(
                row, first, len(some), self.drawn, self.known, self.numbers, self.temperature, self.strength
            )
            indices = self.indices[some]
            if found is not None:
                raise not_finite(self.network, int(self.images[found[0]]), int(indices[found[1] - first]), self.width)
            where = torch.from_numpy(indices)
            values = self.drawn[:, :, some][inverse]
            self._write(indices, where, values)
            yield from self._event(np.arange(len(values)), where, values, np.ones((len(values), len(some)), dtype=bool))


def drawn_by(chooser: Chooser) -> tuple[Draw, float, int]:
    """What draws, the strength of the guidance, and the copies of an image that it takes."""
    if isinstance(chooser, Guide) and isinstance(chooser.chooser, Draw):
        return chooser.chooser, chooser.strength, 2
    if isinstance(chooser, Draw):
        return chooser, 1.0, 1
    raise TypeError(f"a compiled walk draws; it cannot ask {type(chooser).__name__}")
