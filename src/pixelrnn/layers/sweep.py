"""Run a recurrence over all positions of an image, one front at a time, with a backward pass derived by hand.

A front is a set of pixels that do not depend on each other: a row or, if a pixel depends on its left neighbour, an
anti-diagonal. The pixels of a 3 x 4 image by front, 3 + 4 - 1 = 6 of them, computed in the order 0 to 5:

    0 1 2 3
    1 2 3 4
    2 3 4 5

A front is a strided view: consecutive pixels of an anti-diagonal are one row less one column apart. So, unlike in the
paper, no image has to be skewed, and no padding is computed. A `Tap` is the offset of a neighbour that is read, and the
neighbours of a front are the same view with another start:

    >>> image = torch.arange(12).reshape(3, 4)
    >>> image.as_strided((3,), (4 - 1,), 3)  # front 3: pixels (0, 3), (1, 2) and (2, 1)
    tensor([3, 6, 9])
    >>> image.as_strided((3,), (4 - 1,), 3 - 1)  # Tap(0, -1), the pixels to the left of it
    tensor([2, 5, 8])

States have a margin with the initial states, for neighbours outside the image.

Per front, the inputs and states that are read are gathered into a buffer, one matrix product gives all the gates, and
the LSTM cell writes h and c. The gate activations, h and c are saved for the backward pass, which gathers the buffer
again; so neither the input-to-state feature maps nor their gradients ever exist for the full image.

In memory the batch is innermost: (maps, rows, columns, batch).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor


class Tap(NamedTuple):
    """The offset of a neighbour: (-1, 0) is the pixel above, (0, -1) the one to the left."""

    down: int
    right: int


class Swept(Protocol):
    """What `sweep` needs of a recurrence (see `layers.recurrence.Recurrence`)."""

    width: int
    margin: int
    mirrored: bool
    unmirrored: tuple[tuple[Tap, ...], tuple[Tap, ...]]  # neighbours whose h is read, and those whose c is carried
    start_h: Tensor
    start_c: Tensor

    @property
    def window(self) -> tuple[int, int]:
        """Kernel size of the input-to-state convolution: (rows, columns)."""

    @property
    def input_taps(self) -> list[list[tuple[int, int]]]:
        """For each input, the kernel positions (row, column) that are read."""

    def weights(self) -> Tensor:
        """The matrix from everything a pixel reads, and a 1 for the bias, to its gates: (gates * h, reads + 1)."""

    def cell(self, gates: Tensor, cells: list[Tensor], h: Tensor, c: Tensor) -> None:
        """One LSTM step: activates the gates in place, writes h and c."""

    def cell_backward(
        self,
        gates: Tensor,
        cells: list[Tensor],
        h: Tensor,
        c: Tensor,
        dh: Tensor,
        dc: Tensor,
        dcells: list[Tensor],
        dgates: Tensor,
    ) -> None:
        """Backward through `cell`."""


def sweep(ways: Sequence[Swept], near: Sequence[list[Tensor]]) -> list[Tensor]:
    """Run recurrences that differ only in direction and weights over all positions of an image, in parallel.

    Shapes: near, the windows of the inputs of each recurrence, (B, maps, rows, columns) each
            -> the hidden states of each, (B, h, H, W), with the batch innermost in memory
    """
    weights = torch.stack([way.weights() for way in ways])
    starts = [torch.stack([way.start_h for way in ways]), torch.stack([way.start_c for way in ways])]
    inputs = [each.permute(1, 2, 3, 0).contiguous() for windows in near for each in windows]
    graph = torch.is_grad_enabled() and any(each.requires_grad for each in [weights, *starts, *inputs])
    states: Tensor = _Sweep.apply(ways, graph, weights, *starts, *inputs)  # type: ignore[no-untyped-call]
    turned = [each.flip(2) if way.mirrored else each for way, each in zip(ways, states, strict=True)]
    return [each.permute(3, 0, 1, 2) for each in turned]


class _Sweep(torch.autograd.Function):
    """weights (ways, gates * h, reads + 1), start_h and start_c (ways, h), inputs of all ways -> h (ways, h, H, W, B).

    A way is one of the recurrences that run together: one direction of a Diagonal BiLSTM.
    """

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
        for gates, seen, near, cells, (h_here,), (c_here,) in rounds:
            for matrix, read, out in zip(weights, buffer.filled(seen, near), gates.flatten(2), strict=True):
                torch.mm(matrix, read, out=out)
            ways[0].cell(gates, cells, h_here, c_here)
            kept.append(gates)
        if graph:
            ctx.save_for_backward(weights, h, c, *inputs, *kept)
            ctx.plan = plan
        return plan.inside(h)

    @staticmethod
    def backward(ctx: Any, dh_out: Tensor) -> tuple[Tensor | None, ...]:
        """The fronts in reverse order."""
        if torch.is_grad_enabled():
            raise RuntimeError("Recurrences do not support second derivatives; call without create_graph=True.")
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
        for gates, dgates, seen, near, dseen, dnear, cells, dcells, *own in reversed(list(rounds)):
            (h_here,), (c_here,), (dh_here,), (dc_here,) = own
            plan.ways[0].cell_backward(gates, cells, h_here, c_here, dh_here, dc_here, dcells, dgates)
            read, back_read = buffer.filled(seen, near), back_buffer.shaped(seen, near)
            for way, flat in enumerate(dgates.flatten(2)):  # one product per way is faster here than a batched one
                dweights[way].addmm_(flat, read[way].t())
                torch.mm(back[way], flat, out=back_read[way])
            back_buffer.add_to(dseen, dnear, once)
        starts = []  # gradients in the margin are those of the initial states
        for gradient in (dh, dc):
            plan.inside(gradient).zero_()
            starts.append(gradient.sum((2, 3, 4)))
        return None, None, dweights, *starts, *dinputs


Seen = tuple[tuple[Tensor, ...], ...]  # for every way, the inputs that a front reads: (maps, n, B) each


class _Plan:
    """The order of the fronts, and views of the pixels of each front and of their neighbours.

    A front is a line of `count` pixels that starts at (row, column) and goes along the row, or one down and one to the
    left per pixel; `lines` has (row, column, count) of each. For a 3 x 4 image and anti-diagonals:
    (0, 0, 1), (0, 1, 2), (0, 2, 3), (0, 3, 3), (1, 3, 2), (2, 3, 1).

    The states of a mirrored way are stored mirrored, so that a front has the same position in the states of every way;
    its inputs are not.
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
        """For every front the inputs that every way reads, (maps, n, B) each: views of the windows."""
        each = len(windows) // len(self.ways)
        of_ways = []
        for index, way in enumerate(self.ways):
            mine = zip(windows[index * each : (index + 1) * each], way.input_taps, strict=True)
            of_ways.append(
                zip(*(self._views(x, y, x_, way.mirrored) for x, taps in mine for y, x_ in taps), strict=True)
            )
        return list(zip(*of_ways, strict=True))

    def states(self, image: Tensor, taps: Sequence[Tap] = (Tap(0, 0),)) -> list[list[Tensor]]:
        """For every front the states at the taps, (ways, h, n, B) each: views of an image of states with a margin."""
        views = (self._views(image, 1 + down, self.margin + right, False) for down, right in taps)
        return [list(each) for each in zip(*views, strict=True)]

    def blocks(self, weights: Tensor, *, keep: bool) -> list[Tensor]:
        """Memory for the gates of every front, (ways, gates * h, n, B) each; the fronts share it unless `keep`."""
        sizes = [(*weights.shape[:2], count, self.batch) for _, _, count in self.lines]
        if keep:  # one tensor per front: a single large one would be cleared by the system at every allocation
            return [weights.new_empty(size) for size in sizes]
        memory = weights.new_empty(max(math.prod(size) for size in sizes))
        return [memory[: math.prod(size)].view(size) for size in sizes]

    def with_margin(self, start: Tensor) -> Tensor:
        """States (ways, h, 1 + H, margin + W + margin, B): uninitialised inside, the initial states in the margin."""
        wide = self.margin + self.width + self.margin
        states = start.new_empty(*start.shape, 1 + self.height, wide, self.batch)
        start = start.detach()[:, :, None, None, None]
        states[:, :, :1] = start
        states[..., : self.margin, :] = start
        states[..., self.margin + self.width :, :] = start
        return states

    def clear_margin(self, states: Tensor) -> None:
        """Zero the margin."""
        states[:, :, :1] = 0
        states[..., : self.margin, :] = 0
        states[..., self.margin + self.width :, :] = 0

    def once(self, inputs: Sequence[Tensor]) -> bool:
        """Whether every position of every input is read exactly once, so that its gradient is not a sum."""
        size = (self.height, self.width)
        taps = [taps for way in self.ways for taps in way.input_taps]
        return all(len(some) == 1 and each.shape[1:3] == size for each, some in zip(inputs, taps, strict=True))

    def inside(self, states: Tensor) -> Tensor:
        """States without their margin: (ways, h, H, W, B)."""
        return states[:, :, 1:, self.margin : self.margin + self.width]

    def _views(self, image: Tensor, down: int, right: int, mirrored: bool) -> list[Tensor]:
        """For every front, its pixels moved by (down, right), as strided views of an image (..., rows, columns, B)."""
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
    """The inputs and states that a front reads, concatenated: (ways, reads, n * B); with `bias`, a row of ones more."""

    def __init__(self, plan: _Plan, weights: Tensor, *, bias: bool) -> None:
        self.bias, self.count = bias, 0
        self.reads = weights.shape[2] if bias else weights.shape[2] - 1
        self.size = (len(weights), self.reads)
        self.memory = weights.new_empty(len(weights) * self.reads * plan.longest * plan.batch)

    def shaped(self, seen: Seen, near: list[Tensor]) -> Tensor:
        """The buffer in the shape for this front, which may be shorter than the last."""
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
        """The buffer with the inputs and states of this front copied into it."""
        flat = self.shaped(seen, near)
        for parts, reads in zip([*self.seen, self.near], [*seen, near], strict=True):
            for part, read in zip(parts, reads, strict=True):
                part.copy_(read)
        return flat

    def add_to(self, seen: Seen, near: list[Tensor], once: bool) -> None:
        """Scatter the buffer, which holds gradients, to where its values were read: add, or write inputs read once."""
        for parts, targets in zip(self.seen, seen, strict=True):
            for part, target in zip(parts, targets, strict=True):
                target.copy_(part) if once else target.add_(part)
        for part, target in zip(self.near, near, strict=True):
            target.add_(part)
