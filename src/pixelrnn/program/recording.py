"""The recording canvas: it runs a network once, on nothing, and writes down what the network does (`recorder`)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from pixelrnn.canvas import Canvas, Order, Reach
from pixelrnn.canvas.base import Convolvable, LocallyMasked, Made, MakePositions, Scannable
from pixelrnn.exact import IntegerHead
from pixelrnn.exact.recurrence import IntegerRecurrence
from pixelrnn.heads import Head
from pixelrnn.program.recorder import Recorded, Recorder, elements_of
from pixelrnn.program.steps import (
    Attend,
    Cell,
    Elements,
    Gather,
    GatherEarlier,
    IntegerCell,
    MakeOfOrder,
    Map,
    Phase,
    Program,
    Spread,
    UnknownStepError,
    parts,
    shifted,
)


def record(
    network: Callable[[Canvas], Tensor],
    head: Head,
    dtype: torch.dtype,
    condition: tuple[int, bool],
    *,
    any_order: bool = False,
) -> Program:
    """The program of a network and its head.

    Arguments:
        dtype      of the network's weights
        condition  feature maps of the condition map, 0 for none; whether it is the same at every pixel
        any_order  for a walk along any generation order, as if all pixels stood in one row in that order
    Raises:        UnknownStepError if the network does what no step can do
    """
    recording = Recording(head.channels, dtype, *condition, any_order)
    # In inference mode operations that are made of others are not taken apart.
    with torch.inference_mode(False), torch.no_grad():
        params = network(recording)
        if not isinstance(params, Recorded) or params.shape != (1, head.num_params, 1, 1):
            raise UnknownStepError("parameters that do not depend on the image")
        pixels = recording.stand_in(recording.pixels.elements(), (1, -1, 1, 1), torch.float64)
        if isinstance(head, IntegerHead):  # probabilities are made of the parameters, in whole numbers
            found, double = [head.params_of(params, channel) for channel in range(head.channels)], False
        else:
            found = [head.pmf(params, pixels, channel) for channel in range(head.channels)]
            double = dtype != torch.float64
        pmf = [recording.consecutive(cast("Recorded", each).flat(), double=double) for each in found]
    return Program(
        recording.maps,
        recording.steps,
        recording.image,
        recording.pixels,
        recording.condition,
        recording.of_order,
        params.flat(),
        pmf,
    )


class Recording(Recorder, Canvas):
    """A canvas over one pixel of one image of which nothing is known but its place."""

    def __init__(
        self,
        channels: int,
        dtype: torch.dtype,
        condition_width: int = 0,
        uniform: bool = True,
        any_order: bool = False,
    ) -> None:
        super().__init__(dtype)
        self.any_order = any_order
        self.of_order: list[tuple[Map, MakeOfOrder]] = []
        colours = np.arange(1, channels + 1)  # colour c can be read at the pixel itself once c + 1 colours are known
        self.image = self._new_map(Phase.PIXEL, colours, double=False)
        self.pixels = self._new_map(Phase.PIXEL, colours, double=dtype != torch.float64)
        self.condition: Map | None = None
        if condition_width:
            phase = Phase.IMAGE if uniform else Phase.ROW
            self.condition = self._new_map(phase, np.zeros(condition_width, dtype=np.int64), double=False)
        self._of_row: dict[Hashable, list[Tensor]] = {}
        self._before: Elements | None = None
        self._rank: Elements | None = None
        self._neighbours: dict[tuple[int, int], Elements] = {}  # how far back they are, by kernel and step

    # ---- the verbs of a canvas

    def convolve(self, conv: Convolvable, x: Tensor | None, plus: Tensor | None, overwrite: bool) -> Tensor:
        """A product with the masked weights, tap by tap."""
        self._claim(conv)
        weight, mask, taps, bias = _kernel(conv)
        source = self._padded(self._image_elements() if x is None else elements_of(x, self), conv.reach)
        inputs = np.concatenate(
            [self._beside(source, row - conv.reach.up, column - conv.reach.left) for row, column in taps]
        )
        return self._linear(inputs, weight, mask, bias, plus)

    def look(self, reach: Reach) -> Tensor:
        return self._around(self._padded(self._image_elements(), reach), reach)

    def window(self, key: Hashable, x: Tensor, reach: Reach) -> Tensor:
        self._claim(key)
        return self._around(self._padded(elements_of(x, self), reach), reach)

    def condition_map(self) -> Tensor | None:
        if self.condition is None:
            return None
        here = self.condition.elements()
        here = here if self.condition.phase == Phase.IMAGE else shifted(here, -self.late, 0)
        return self.stand_in(here, (1, -1, 1, 1), self.dtype)

    def per_row(self, key: Hashable, run: Callable[[], list[Tensor]]) -> list[Tensor]:
        """The phase of a step follows from what it reads, so nothing has to be done."""
        self._claim(key)
        self._check_rows()
        self._of_row[key] = run()
        return self._of_row[key]

    def of_row(self, key: Hashable) -> list[Tensor]:
        return self._of_row[key]

    def scan(self, recurrence: Scannable, near: list[Tensor]) -> Tensor:
        """The gates are one product with everything that is read, then the cell."""
        self._claim(recurrence)
        self._check_rows()
        if self.every > 1:
            raise UnknownStepError("a recurrence at a coarser resolution")
        recurring: Any = recurrence
        width: int = recurring.width
        inputs = [
            elements_of(window, self).reshape(window.shape[1:])[:, y, x]
            for window, taps in zip(near, recurring.input_taps, strict=True)
            for y, x in taps
        ]
        weight, mask = recurring.weights(), recurring.weight_mask().numpy()
        before = max(Phase.ROW, self._phase(*inputs))
        along = 0
        if before < Phase.PIXEL and any(not tap.down for tap in recurring.taps):
            along = -1 if recurring.mirrored else 1
        no_levels = np.zeros(width, dtype=np.int64)
        h = self._new_map(before, no_levels, double=False, start=recurring.start_h.detach())
        c = self._new_map(before, no_levels, double=False, start=recurring.start_c.detach())
        inputs += [shifted(h.elements(), down, right) for down, right in recurring.taps]
        gates = elements_of(
            self._linear(np.concatenate(inputs), weight[:, :-1], mask, weight[:, -1], None, along=along), self
        )
        h.level = c.level = self._level(gates).reshape(-1, width).max(0)
        h.phase = c.phase = self.maps[int(parts(gates)[0][0])].phase
        carried = [self._read(shifted(c.elements(), down, right)) for down, right in recurring.carried]
        same: dict[str, Any] = {"out": h, "cell": c, "gates": gates, "carried": carried, "along": along}
        same["product"] = recurring.product
        if isinstance(recurring, IntegerRecurrence):
            limits = torch.tensor([recurring.range, 2.0**-recurring.places, recurring.farthest], dtype=torch.float64)
            cuts, table = recurring.step.flatten(), torch.cat([limits, recurring.table.double()])
            found = [self._constant_map(each.double().numpy(), double=False).elements() for each in (cuts, table)]
            self._add(IntegerCell(**same, cuts=found[0], table=found[1]))
        else:
            self._add(Cell(**same))
        return self.stand_in(h.elements(), (1, -1, 1, 1), self.dtype)

    def scan_both(self, rightward: Scannable, leftward: Scannable, x: Tensor) -> tuple[Tensor, Tensor]:
        def above(row: Tensor) -> Tensor:
            return self.scan(leftward, leftward.near(row, self))

        late = self.row_late((leftward, "late"), above, x, leftward.width)
        return self.scan(rightward, rightward.near(x, self)), late

    def row_late(self, key: Hashable, run: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
        """`run` on the row above; in the first row nothing is done, and zeros are read."""
        self._claim(key)
        self._check_rows()
        if self.every > 1:
            raise UnknownStepError("a row late at a coarser resolution")
        above = shifted(self._padded(elements_of(x, self), Reach(1, 0, 0, 0)), -1, 0)
        self.late += 1
        made = elements_of(run(self.stand_in(above, (1, -1, 1, 1), self.dtype)), self)
        out = self._gathered(made, double=False)  # a map of its own: the states outside the image are not zeros
        self.late -= 1
        return self.stand_in(out, (1, -1, 1, 1), self.dtype)

    def coarser(self, key: Hashable, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        """The steps of a coarse pixel, and a copy of its maps for each pixel that it covers."""
        self._claim(key)
        self._check_rows()
        if self.late:
            raise UnknownStepError("a coarser resolution, a row late")
        self.every *= 2
        maps = np.split(elements_of(run(x), self), 4)
        self.every //= 2
        out = self._new_map(self._phase(*maps), np.stack([self._level(each) for each in maps]).max(0), double=False)
        self._add(Spread(out=out, inputs=maps))
        for each in self.steps[-1].reads():
            self._read(each)
        return self.stand_in(out.elements(), (1, -1, 1, 1), self.dtype)

    def before(self) -> Tensor:
        self._check_all_pixels()
        if self._before is None:
            self._before = shifted(self._kept(self.image.elements()), 0, -1)
        return self.stand_in(self._before, (1, -1, 1, 1), self.dtype)

    def positions(self, key: Hashable, make: MakePositions) -> Tensor:
        self._claim((key, "positions"))

        def along(order: Order) -> Tensor:
            return make(*order.places(), order.size)

        return self.stand_in(self._of_order(along), (1, -1, 1, 1), self.dtype)

    def _of_order(self, make: MakeOfOrder) -> Elements:
        """A map of what depends on the place alone."""
        self._check_all_pixels()
        channels = len(make(Order.raster(1, 1)))
        made = self._new_map(Phase.ROW, np.zeros(channels, dtype=np.int64), double=False, kept=True)
        self.of_order.append((made, make))
        return made.elements()

    def earlier(self, key: Hashable, x: Tensor) -> Tensor:
        self._claim(key)
        self._check_all_pixels()
        return self.stand_in(shifted(self._kept(elements_of(x, self)), 0, -1), tuple(x.shape), self.dtype)

    def convolve_earlier(self, conv: LocallyMasked, x: Tensor | None) -> Tensor:
        """A product with the neighbours that are earlier, and with the pixel itself."""
        self._claim(conv)
        self._check_all_pixels()
        kernel, step = conv.weight.shape[2], conv.step
        here = self.image.elements() if x is None else elements_of(x, self)
        kept = self._kept(here)
        if (kernel, step) not in self._neighbours:
            self._neighbours[kernel, step] = self._of_order(partial(_back, kernel=kernel, step=step))
        back = self._neighbours[kernel, step]
        nothing = np.zeros((kernel**2 - 1) * len(kept), dtype=np.int64)
        out = self._new_map(Phase.PIXEL, nothing, double=False)
        self._add(GatherEarlier(out=out, inputs=kept, back=back))
        for each in self.steps[-1].reads():
            self._read(each)
        weight = conv.weight.flatten(2).transpose(1, 2)  # (C_out, kernel**2, C_in)
        middle = kernel**2 // 2
        parts = [weight[:, :middle], weight[:, middle + 1 :]]
        inputs = [out.elements()]
        if conv.itself:
            parts.append(weight[:, middle : middle + 1])
            inputs.append(here)
        matrix = torch.cat(parts, 1).flatten(1)
        every = np.ones(tuple(matrix.shape), dtype=bool)
        return self._linear(np.concatenate(inputs), matrix, every, conv.bias, None)

    def attend(self, key: Hashable, query: Tensor, keys: Tensor, values: Tensor, heads: int, window: int = 0) -> Tensor:
        self._claim(key)
        self._check_all_pixels()
        if self._rank is None:
            self._rank = self._of_order(_ranks)
        asked = self.consecutive(elements_of(query * (keys.shape[1] // heads) ** -0.5, self), double=False)
        found = [self._kept(elements_of(keys, self), planes=True), self._kept(elements_of(values, self))]
        level = max(int(self._level(each).max()) for each in (asked, *found))
        out = self._new_map(Phase.PIXEL, np.full(values.shape[1], level), double=False)
        scores = self._new_map(Phase.PIXEL, np.full(heads, level), double=False, kept=True, planes=True)
        self._add(
            Attend(out=out, query=asked, keys=found[0], values=found[1], rank=self._rank, scores=scores, window=window)
        )
        for each in self.steps[-1].reads():
            self._read(each)
        return self.stand_in(out.elements(), (1, -1, 1, 1), self.dtype)

    def _kept(self, elements: Elements, *, planes: bool = False) -> Elements:
        """The same numbers in a map that is kept of all pixels: of a single row, every map is."""
        sources = [self.maps[int(each)] for each in np.unique(parts(elements)[0])]
        whole = len(sources) == 1 and len(elements) == sources[0].channels and bool((np.diff(elements) == 1).all())
        if self.any_order and not planes and whole and sources[0].phase == Phase.PIXEL:
            return elements
        out = self._new_map(Phase.PIXEL, self._level(elements), double=False, kept=True, planes=planes)
        self._add(Gather(out=out, inputs=self._read(elements)))
        return out.elements()

    def _check_rows(self) -> None:
        if self.any_order:
            raise UnknownStepError("a look at neighbouring rows and columns in any order")

    def _check_all_pixels(self) -> None:
        if self.every > 1 or self.late:
            raise UnknownStepError("a look at all earlier pixels at a coarser resolution, or a row late")

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        return make()

    # ---- around a pixel

    def _padded(self, elements: Elements, reach: Reach) -> Elements:
        """Elements of maps that are zero outside the image, if other pixels are looked at."""
        if reach.none:
            return elements
        self._check_rows()
        sources = [self.maps[int(each)] for each in np.unique(parts(elements)[0])]
        if all(each.phase == Phase.CONST for each in sources):
            out = self._new_map(Phase.ROW, np.zeros(len(elements), dtype=np.int64), double=False)
            self._add(Gather(out=out, inputs=self._read(elements)))
            return out.elements()
        if any(each.phase < Phase.ROW for each in sources):
            raise UnknownStepError("a look around in a map that is the same at every pixel")
        if any(each.start is not None or each.kept for each in sources):
            return self._gathered(elements, double=False)
        return elements

    def _around(self, elements: Elements, reach: Reach) -> Recorded:
        rows = range(-reach.up, reach.down + 1)
        columns = range(-reach.left, reach.right + 1)
        near = np.stack([np.stack([self._beside(elements, y, x) for x in columns], 1) for y in rows], 1)
        return self.stand_in(near[None], near[None].shape, self.dtype)

    def _beside(self, elements: Elements, dy: int, dx: int) -> Elements:
        """The same channels at another pixel of this resolution."""
        return shifted(elements, dy * self.every, dx * self.every)

    def _image_elements(self) -> Elements:
        if self.every > 1:
            raise AssertionError("a coarser level has no image")
        return shifted(self.image.elements(), -self.late, 0)


def _ranks(order: Order) -> Tensor:
    """How many pixels come before each: (1, H * W) in generation order."""
    return torch.arange(len(order.along))[None].double()


def _back(order: Order, *, kernel: int, step: int) -> Tensor:
    """By how many pixels each earlier neighbour is before, 0 for those that are not: (kernel**2 - 1, H * W)."""
    back = (order.ranks - order.neighbour_ranks(kernel, step)).flatten(1)[:, order.along]
    earlier = order.earlier_neighbours(kernel, step, itself=False).flatten(1)[:, order.along]
    others = torch.arange(kernel**2) != kernel**2 // 2
    return torch.where(earlier, back, 0)[others].double()


def _kernel(conv: Any) -> tuple[Tensor, Any, list[tuple[int, int]], Tensor | None]:
    """Weights (C_out, taps * C_in), where they may be other than zero, the taps (row, column), and the bias."""
    taps = conv.taps()
    every = torch.ones_like(conv.weight, dtype=torch.bool) if conv.mask is None else conv.mask
    weight, mask = (torch.cat([each[:, :, y, x] for y, x in taps], 1) for each in (conv.masked(), every))
    return weight, mask.numpy(), taps, conv.bias
