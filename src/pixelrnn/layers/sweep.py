"""A recurrence over a whole image, front by front, with its backward derived by hand.

Pixels of one front do not wait for each other: a front is a row or, where a pixel waits for the one on its left, an
anti-diagonal. With the batch innermost in memory, (maps, rows, columns, batch), a front is a strided view of the image,
so nothing has to be skewed, and there are no padding cells to be computed.

Per front: what is read is copied side by side, one matrix product gives all gates, the cell writes h and c into images
with a margin of initial states. Kept for backward are the opened gates, h and c; what was read is copied again there,
so neither the input-to-state maps nor their gradients are ever whole images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class Tap(NamedTuple):
    """A neighbour, seen from the pixel: (-1, 0) is the one above."""

    down: int
    right: int


class Swept(Protocol):
    """What a sweep asks of a recurrence (`layers.recurrence.Recurrence` explains it)."""

    width: int
    margin: int
    mirrored: bool
    unmirrored: tuple[tuple[Tap, ...], tuple[Tap, ...]]  # neighbours whose h is read, and whose c is carried
    start_h: Tensor
    start_c: Tensor

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of what the first input is read through."""

    @property
    def input_taps(self) -> list[list[tuple[int, int]]]:
        """Which places of its window each input is read at."""

    def weights(self) -> Tensor:
        """From what a pixel reads, and a one, to its gates."""

    def cell(self, gates: Tensor, memories: list[Tensor], h: Tensor, c: Tensor) -> None:
        """Opens the gates in place, writes h and c."""

    def cell_backward(
        self,
        gates: Tensor,
        memories: list[Tensor],
        h: Tensor,
        c: Tensor,
        dh: Tensor,
        dc: Tensor,
        dmemories: list[Tensor],
        dgates: Tensor,
    ) -> None:
        """Backward through `cell`."""


def sweep(ways: Sequence[Swept], near: Sequence[list[Tensor]]) -> list[Tensor]:
    """Recurrences that differ in direction and weights only, side by side over whole images.

    Shapes: near, for each of them the windows of its inputs, (B, maps, rows, columns) each
            -> for each the states (B, h, H, W), with the batch innermost in memory
    """
    weights = torch.stack([way.weights() for way in ways])
    starts = [torch.stack([way.start_h for way in ways]), torch.stack([way.start_c for way in ways])]
    inputs = [each.permute(1, 2, 3, 0).contiguous() for windows in near for each in windows]
    graph = torch.is_grad_enabled() and any(each.requires_grad for each in [weights, *starts, *inputs])
    states: Tensor = _Sweep.apply(ways, graph, weights, *starts, *inputs)  # type: ignore[no-untyped-call]
    turned = [each.flip(2) if way.mirrored else each for way, each in zip(ways, states, strict=True)]
    return [each.permute(3, 0, 1, 2) for each in turned]


class _Sweep(torch.autograd.Function):
    """Weights (ways, gates * h, reads + 1), starts (ways, h), inputs of all ways -> h (ways, h, H, W, B)."""

    @staticmethod
    def forward(
        ctx: Any,
        ways: Sequence[Swept],
        graph: bool,
        weights: Tensor,
        start_h: Tensor,
        start_c: Tensor,
        *inputs: Tensor,
    ) -> Tensor:
        plan = _Plan(ways, inputs[0])
        h, c = (plan.with_margin(start) for start in (start_h, start_c))
        buffer = _Buffer(plan, weights, bias=True)
        rounds = zip(
            plan.blocks(weights, keep=graph),
            plan.inputs(inputs),
            plan.states(h, plan.taps),
            plan.states(c, plan.carried),
            plan.states(h),
            plan.states(c),
            strict=True,
        )
        kept = []
        for gates, seen, near, memories, (h_here,), (c_here,) in rounds:
            for matrix, read, out in zip(weights, buffer.filled(seen, near), gates.flatten(2), strict=True):
                torch.mm(matrix, read, out=out)
            ways[0].cell(gates, memories, h_here, c_here)
            kept.append(gates)
        if graph:
            ctx.save_for_backward(weights, h, c, *inputs, *kept)
            ctx.plan = plan
        return plan.inside(h)

    @staticmethod
    def backward(ctx: Any, dh_out: Tensor) -> tuple[Tensor | None, ...]:
        """The fronts in the opposite order; then the gradient of all weights as one product over all of them."""
        if torch.is_grad_enabled():
            raise RuntimeError("A recurrence has no second derivative; call without create_graph=True.")
        plan: _Plan = ctx.plan
        weights, h, c, *others = ctx.saved_tensors
        kept, inputs = others[-len(plan.lines) :], others[: -len(plan.lines)]
        dh, dc = torch.empty_like(h), torch.zeros_like(c)
        plan.clear_margin(dh)
        plan.inside(dh).copy_(dh_out)
        once = plan.once(inputs)
        dinputs = [torch.empty_like(each) if once else torch.zeros_like(each) for each in inputs]
        back = weights[:, :, :-1].transpose(1, 2).contiguous()
        buffer, back_buffer = _Buffer(plan, weights, bias=True), _Buffer(plan, weights, bias=False)
        dweights = torch.zeros_like(weights)
        rounds = zip(
            kept,
            plan.blocks(weights, keep=False),
            plan.inputs(inputs),
            plan.states(h, plan.taps),
            plan.inputs(dinputs),
            plan.states(dh, plan.taps),
            plan.states(c, plan.carried),
            plan.states(dc, plan.carried),
            *(plan.states(each) for each in (h, c, dh, dc)),
            strict=True,
        )
        for gates, dgates, seen, near, dseen, dnear, memories, dmemories, *own in reversed(list(rounds)):
            (h_here,), (c_here,), (dh_here,), (dc_here,) = own
            plan.ways[0].cell_backward(gates, memories, h_here, c_here, dh_here, dc_here, dmemories, dgates)
            read, back_read = buffer.filled(seen, near), back_buffer.shaped(seen, near)
            for way, flat in enumerate(dgates.flatten(2)):  # a product for each: faster here than one of the batch
                dweights[way].addmm_(flat, read[way].t())
                torch.mm(back[way], flat, out=back_read[way])
            back_buffer.add_to(dseen, dnear, once)
        starts = []  # what flowed over the border belongs to the initial states
        for gradient in (dh, dc):
            plan.inside(gradient).zero_()
            starts.append(gradient.sum((2, 3, 4)))
        return None, None, dweights, *starts, *dinputs


Seen = tuple[tuple[Tensor, ...], ...]  # of every way, what a front reads of its inputs: (maps, n, B) each


class _Plan:
    """The order of a sweep, and where a front's pixels and their neighbours are.

    A front is a line of pixels from (row, column) on: along the row, or one down and one left. The states of a mirrored
    way are kept mirrored, so that one front is the same place in the states of every way; its inputs are not.
    """

    def __init__(self, ways: Sequence[Swept], window: Tensor) -> None:
        self.ways, self.margin, (self.taps, self.carried) = ways, ways[0].margin, ways[0].unmirrored
        rows, columns = ways[0].window
        self.height, self.width, self.batch = window.shape[1] - rows + 1, window.shape[2] - columns + 1, window.shape[3]
        self.down = int(any(not tap.down for tap in self.taps))
        self.lines = [(row, 0, self.width) for row in range(self.height)]
        if self.down:
            fronts = range(self.height + self.width - 1)
            spans = [(max(0, front - self.width + 1), min(self.height - 1, front)) for front in fronts]
            self.lines = [(top, front - top, end - top + 1) for front, (top, end) in zip(fronts, spans, strict=True)]
        self.longest = max(count for _, _, count in self.lines)

    def inputs(self, windows: Sequence[Tensor]) -> list[Seen]:
        """For every front what every way reads of its inputs, (maps, n, B) each: views of the windows."""
        each = len(windows) // len(self.ways)
        of_ways = []
        for index, way in enumerate(self.ways):
            mine = zip(windows[index * each : (index + 1) * each], way.input_taps, strict=True)
            of_ways.append(
                zip(*(self._views(x, y, x_, way.mirrored) for x, taps in mine for y, x_ in taps), strict=True)
            )
        return list(zip(*of_ways, strict=True))

    def states(self, image: Tensor, taps: Sequence[Tap] = (Tap(0, 0),)) -> list[list[Tensor]]:
        """For every front its states at the taps, (ways, h, n, B) each: views of an image of states with its margin."""
        views = (self._views(image, 1 + down, self.margin + right, False) for down, right in taps)
        return [list(each) for each in zip(*views, strict=True)]

    def blocks(self, weights: Tensor, *, keep: bool) -> list[Tensor]:
        """Memory for the gates of every front, (ways, gates * h, n, B) each; not to be kept, it is the same for all."""
        sizes = [(*weights.shape[:2], count, self.batch) for _, _, count in self.lines]
        if keep:  # a piece for each: one that holds all is so large that the system clears it anew every time
            return [weights.new_empty(size) for size in sizes]
        memory = weights.new_empty(max(math.prod(size) for size in sizes))
        return [memory[: math.prod(size)].view(size) for size in sizes]

    def with_margin(self, start: Tensor) -> Tensor:
        """States (ways, h, 1 + H, margin + W + margin, B), not yet computed inside, the initial ones around it."""
        wide = self.margin + self.width + self.margin
        states = start.new_empty(*start.shape, 1 + self.height, wide, self.batch)
        start = start.detach()[:, :, None, None, None]
        states[:, :, :1] = start
        states[..., : self.margin, :] = start
        states[..., self.margin + self.width :, :] = start
        return states

    def clear_margin(self, states: Tensor) -> None:
        """Zeros around the inside."""
        states[:, :, :1] = 0
        states[..., : self.margin, :] = 0
        states[..., self.margin + self.width :, :] = 0

    def once(self, inputs: Sequence[Tensor]) -> bool:
        """Whether every place of every input is read exactly once: then its gradient need not be added up."""
        size = (self.height, self.width)
        taps = [taps for way in self.ways for taps in way.input_taps]
        return all(len(some) == 1 and each.shape[1:3] == size for each, some in zip(inputs, taps, strict=True))

    def inside(self, states: Tensor) -> Tensor:
        """States without their margin: (ways, h, H, W, B)."""
        return states[:, :, 1:, self.margin : self.margin + self.width]

    def _views(self, image: Tensor, down: int, right: int, mirrored: bool) -> list[Tensor]:
        """For every front the pixels `down` and `right` of its own in an image (..., maps, rows, columns, B)."""
        *outer, rows, columns, single = image.stride()
        sign = -1 if mirrored else 1
        step = (*outer, rows - sign * columns if self.down else columns, single)
        begin = image.storage_offset() + down * rows + (right + (self.width - 1 if mirrored else 0)) * columns
        shape = image.shape[:-3]
        return [
            image.as_strided((*shape, count, self.batch), step, begin + row * rows + sign * column * columns)
            for row, column, count in self.lines
        ]


class _Buffer:
    """What a front reads, side by side: (ways, reads, n * B); with the bias, one more that is one."""

    def __init__(self, plan: _Plan, weights: Tensor, *, bias: bool) -> None:
        self.bias, self.count = bias, 0
        self.reads = weights.shape[2] if bias else weights.shape[2] - 1
        self.size = (len(weights), self.reads)
        self.memory = weights.new_empty(len(weights) * self.reads * plan.longest * plan.batch)

    def shaped(self, seen: Seen, near: list[Tensor]) -> Tensor:
        """The buffer for a front of this many pixels."""
        _, width, count, batch = near[0].shape
        if count != self.count:
            self.count = count
            space = self.memory[: self.size[0] * self.size[1] * count * batch].view(*self.size, count, batch)
            if self.bias:
                space[:, -1] = 1
            sizes = [len(each) for each in seen[0]]
            self.seen = [way[: sum(sizes)].split(sizes) for way in space]
            self.near = space[:, sum(sizes) : sum(sizes) + len(near) * width].split(width, 1)
            self.flat = space.flatten(2)
        return self.flat

    def filled(self, seen: Seen, near: list[Tensor]) -> Tensor:
        """Copies of what is read."""
        flat = self.shaped(seen, near)
        for parts, reads in zip([*self.seen, self.near], [*seen, near], strict=True):
            for part, read in zip(parts, reads, strict=True):
                part.copy_(read)
        return flat

    def add_to(self, seen: Seen, near: list[Tensor], once: bool) -> None:
        """Add what the buffer holds where it was read; an input that is read once is not added to but written."""
        for parts, targets in zip(self.seen, seen, strict=True):
            for part, target in zip(parts, targets, strict=True):
                target.copy_(part) if once else target.add_(part)
        for part, target in zip(self.near, near, strict=True):
            target.add_(part)
