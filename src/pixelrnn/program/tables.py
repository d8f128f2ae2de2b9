"""A program as tables of integers, which `kernels` reads: what is done when.

Three things are decided here, from what every number depends on. What is never read is not computed. Of a product, the
part that reads finished rows only is done for a whole row at once, so that its weights are read once per row. And of
every map, the channels that wait for a colour of the pixel itself are computed when that colour is known, the others
before: all passes over the colours of a pixel together compute every number once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelrnn.program import operations as ops
from pixelrnn.program.fusion import fused
from pixelrnn.program.instructions import Instructions, Integers, Operand, consecutive_ranges
from pixelrnn.program.schedule import can_look_ahead, is_read_by_others, needed, segments, split
from pixelrnn.program.steps import Attend, Elements, MakeOfOrder, Map, Phase, Program, Step, UnknownStepError, parts


@dataclass(eq=False)
class Tables:
    """A program as tables; `kernels` explains them."""

    maps: list[Map]  # those that are needed
    operands: list[Operand]
    code: Integers
    chunks: Integers
    places: Integers
    weights: npt.NDArray[Any]
    image: Integers  # (2,): the instructions that are done once per image
    row: Integers  # (segments, 3)
    passes: Integers  # (2, C + 1, 2)
    checks: Integers
    drawn: Integers
    condition: int  # the operand of the condition map, -1 if it is not read
    of_order: list[tuple[Map, MakeOfOrder]]  # maps that depend on the place alone
    products: tuple[int, int]  # multiplications per pixel: in the row's part, and at the pixel
    attention: list[tuple[int, int]]  # of every attention: multiplications for an earlier pixel, and the window
    ahead: bool  # whether several pixels of a row can be computed at once, from guesses

    @property
    def instructions(self) -> int:
        """That are done at every pixel."""
        return int(self.passes[0, -1, 1]) - int(self.passes[0, 0, 0])

    def cost(self, pixels: int) -> int:
        """What a pixel of an image takes, in multiplications: an instruction takes as long as some thousand."""
        earlier = sum(each * min(pixels // 2, window or pixels) for each, window in self.attention)
        return sum(self.products) + earlier + 2000 * self.instructions


def tables(program: Program, number: npt.DTypeLike, vector: int, *, in_rows: bool = True) -> Tables:
    """The tables of a program, with weights as `number` in vectors of so many numbers.

    With `in_rows` what reads finished rows only is done for a row at once, otherwise pixel by pixel like the rest.
    """
    colours = len(program.pmf)
    steps = fused(needed(split(program) if in_rows else program.steps, program.pmf), [program.params, *program.pmf])
    sources = {int(each) for step in steps for read in step.reads() for each in np.unique(parts(read)[0])}
    made = Instructions(program.maps, np.dtype(number), vector)
    kept = [made.maps[index].elements() for index in sorted(sources) if is_read_by_others(made.maps[index])]
    kept_steps = set(map(id, needed(steps, kept)))

    def written(some: list[Step], colour: int | None = None) -> tuple[int, int]:
        begin = len(made.code)
        for step in some:
            made.write(step, colour)
        return begin, len(made.code)

    at_pixel = [step for step in steps if step.out.phase == Phase.PIXEL]
    image = written([step for step in steps if step.out.phase == Phase.IMAGE])
    row = [(*written(some), along) for along, some in segments([step for step in steps if step.out.phase == Phase.ROW])]
    in_row, made.products = made.products, 0
    passes = [[written(at_pixel, colour) for colour in range(colours + 1)]]
    at_the_pixel = made.products
    at_known = [step for step in at_pixel if id(step) in kept_steps]
    passes.append([written(at_known, colour) for colour in range(colours + 1)])
    for colour, pmf in enumerate(program.pmf):
        if made.level(pmf).max() > colour:
            raise UnknownStepError(f"probabilities of colour {colour} that depend on colours that come later")
    checks = []
    for run in _runs(program.params):
        level = made.level(run)
        for begin, end in _same(level):
            checks.append((made.operand(run[begin]), end - begin, int(level[begin])))
    drawn = [
        (made.operand(pmf[0]), *(made.operand(each.elements()[colour]) for each in (program.image, program.pixels)))
        for colour, pmf in enumerate(program.pmf)
    ]
    condition = -1
    if program.condition is not None and any(operand[0] == program.condition.index for operand in made.operands):
        condition = made.operand(program.condition.elements()[0])
    read = {operand[0] for operand in made.operands}
    return Tables(
        [each for each in made.maps if each.index in read],
        made.operands,
        _integers(made.code, ops.FIELDS).ravel(),
        _integers(made.chunks, 3).ravel(),
        _integers(made.places, 2).ravel(),
        np.concatenate([np.zeros(0, made.number), *made.weights]),
        _integers([image], 2)[0],
        _integers(row, 3),
        np.array(passes, dtype=np.int64),
        _integers(checks, 3),
        _integers(drawn, 3),
        condition,
        [(each, make) for each, make in program.of_order if each.index in read],
        (in_row, at_the_pixel),
        [(step.query.size + step.values.size, step.window) for step in steps if isinstance(step, Attend)],
        can_look_ahead(program, at_pixel, passes),
    )


def _integers(rows: Any, columns: int) -> Integers:
    return np.array(list(rows), dtype=np.int64).reshape(-1, columns)


def _same(values: Integers) -> Iterator[tuple[int, int]]:
    """Ranges of equal values."""
    cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    yield from pairwise(cuts)


def _runs(elements: Elements) -> Iterator[Elements]:
    for begin, end in consecutive_ranges(elements):
        yield elements[begin:end]
