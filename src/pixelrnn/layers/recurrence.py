"""Long short-term memory over an image: one recurrence, one cell, two passes.

A `Recurrence` reads at every pixel its inputs and the states of a few neighbours; the LSTMs of this family differ in
which:

    network            reads the states at                forget gates     output
    Row LSTM           k pixels of the row above          for the middle   o tanh(c)
    Diagonal BiLSTM    the pixel left and the one above   for the left     o tanh(c)
    MDLSTM             the pixel left and the one above   one for each     o tanh(c)
    Spatial LSTM       the pixel left and the one above   one for each     tanh(o c)

Over a whole image (`sweep`) it runs front by front: pixels that do not wait for each other are computed at once, a row,
or, where a pixel waits for the one on its left, an anti-diagonal. In a walk (`span`) it runs over some pixels of a row.

In memory the batch is innermost, (maps, rows, columns, batch): then a front is a strided view of the image, nothing has
to be skewed, and each gate is one long run of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pixelrnn.canvas import Canvas, Reach
from pixelrnn.layers.convolution import CausalConv2d

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


class Tap(NamedTuple):
    """A neighbour, seen from the pixel: (-1, 0) is the one above."""

    down: int
    right: int


HERE, LEFT, ABOVE = Tap(0, 0), Tap(0, -1), Tap(-1, 0)


def row_above(kernel: int) -> tuple[Tap, ...]:
    """The `kernel` nearest pixels of the row above, left to right."""
    return tuple(Tap(-1, right) for right in range(-(kernel // 2), kernel // 2 + 1))


def bias_of(given: int, gates: int) -> list[CausalConv2d]:
    """The input-to-state convolution of a condition with `given` maps, if there is one: 1 x 1, without a mask.

    Source: van den Oord et al., 2016, arXiv 1601.06759, section 3.6
    """
    return [CausalConv2d(given, gates, Reach(0, 0, 0, 0))] if given else []


class Recurrence(nn.Module):
    r"""Input to state and state to state: every gate is a matrix times what it reads.

        [o, f.., i, g] = convolutions of the inputs + W [h of the neighbours];  sigmoid for o, f, i, tanh for g
        c = sum of f . c of its neighbour, + i . g
        h = o . tanh(c), or tanh(o . c)

    Outside the image the states are the initial ones, the same at every place.

    Arguments:
        width     h, maps of the state
        inputs    input-to-state convolutions to gates * h maps, one for each input; computed within the recurrence
        taps      the neighbours whose h is read: rows above, or the same row further left
        carried   those of them whose c is carried on, each by a forget gate of its own
        mirrored  from right to left: the taps are mirrored. Only a finished row can be read that way (`row_late`).
        product   h = tanh(o . c) instead of o . tanh(c)
        learned   learn the initial states; else they stay zero

    Shapes:  inputs (B, maps, h, w) each, None for the image itself -> (B, width, h, w)
    Source:  van den Oord et al., 2016, arXiv 1601.06759, sections 3.1 and 3.2, equation 3; Graves and Schmidhuber,
             2009; Theis and Bethge, 2015, arXiv 1506.03478, equations 6 to 8
    """

    start_h: Tensor
    start_c: Tensor

    def __init__(
        self, width: int, inputs: Iterable[CausalConv2d], taps: Sequence[Tap], carried: Sequence[Tap],
        *, mirrored: bool = False, product: bool = False, learned: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width, self.mirrored, self.product = width, mirrored, product
        sign = -1 if mirrored else 1
        self.taps = tuple(Tap(down, sign * right) for down, right in taps)
        self.carried = tuple(self.taps[taps.index(tap)] for tap in carried)
        self.margin = max(abs(tap.right) for tap in self.taps)
        self.inputs = nn.ModuleList(inputs)
        self.weight = nn.Parameter(torch.empty((3 + len(carried)) * width, len(taps) * width))
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        for name in ("start_h", "start_c"):
            if learned:
                self.register_parameter(name, nn.Parameter(torch.zeros(width)))
            else:
                self.register_buffer(name, torch.zeros(width), persistent=False)

    def forward(self, inputs: Sequence[Tensor | None], canvas: Canvas) -> Tensor:
        near = [conv.near(x, canvas) for conv, x in zip(self.convolutions, inputs, strict=True)]
        return canvas.scan(self, near)

    def sweep(self, near: list[Tensor]) -> Tensor:
        """Over a whole image: the windows of the inputs -> (B, h, H, W), with the batch innermost in memory."""
        matrix, bias = self._matrix(self.taps), self._bias()
        needed = [matrix, bias, self.start_h, self.start_c, *near]
        graph = torch.is_grad_enabled() and any(each.requires_grad for each in needed)
        inner = [each.permute(1, 2, 3, 0).contiguous() for each in near]
        starts = (self.start_h, self.start_c)
        states: Tensor = _Sweep.apply(self, graph, matrix, bias, *starts, *inner)  # type: ignore[no-untyped-call]
        return states.permute(3, 0, 1, 2)

    def prepared(self) -> list[Tensor]:
        """For `span`: the matrix of the inputs and the row above, the bias, a matrix for each tap along the row."""
        above = [tap for tap in self.taps if tap.down]
        along = [self._state_matrix(tap) for tap in self.taps if not tap.down]
        return [self._matrix(above), self._bias()[:, None], *along]

    def span(self, near: list[Tensor], h: Tensor, c: Tensor, column: int, prepared: list[Tensor]) -> Tensor:
        """Over some pixels of a row, whose states are written where they belong.

        Shapes: near, the windows of the inputs around them; h and c (h, 2, margin + W + margin, B): the row above and
                this one -> (B, h, 1, w), a view of h
        """
        matrix, bias, *row_matrices = prepared
        wide, batch = near[0].shape[3] - self.convolutions[0].kernel_size[1] + 1, len(near[0])
        first = self.margin + column
        reads = [
            window[:, :, y, x : x + wide].permute(1, 2, 0)
            for window, taps in zip(near, self.input_taps, strict=True)
            for y, x in taps
        ]
        # The row above is finished, so what it tells is computed for all pixels at once.
        reads += [h[:, 0, first + right : first + right + wide] for down, right in self.taps if down]
        gates = torch.addmm(bias, matrix, torch.cat(reads).flatten(1)).view(-1, wide, batch)
        places = [slice(0, wide)]
        if row_matrices:  # one pixel after the other
            order = range(wide - 1, -1, -1) if self.mirrored else range(wide)
            places = [slice(place, place + 1) for place in order]
        along = [tap for tap in self.taps if not tap.down]
        for place in places:
            here = slice(first + place.start, first + place.stop)
            some = gates[:, place]
            for row_matrix, tap in zip(row_matrices, along, strict=True):
                some[:, 0].addmm_(row_matrix, h[:, 1, here.start + tap.right])
            memories = [c[:, 1 + down, here.start + right : here.stop + right] for down, right in self.carried]
            self.cell(some, memories, h[:, 1, here], c[:, 1, here])
        return h[:, 1, first : first + wide].permute(2, 0, 1)[:, :, None]

    def cell(self, gates: Tensor, memories: list[Tensor], h: Tensor, c: Tensor) -> None:
        """The cell: open the gates in place, write the new h and c.

        Shapes: gates (gates * h, n, B); memories, the carried c of the neighbours, and h, c: (h, n, B)
        """
        gates[: -self.width].sigmoid_()
        out, *keeps, let_in, content = gates.split(self.width)
        torch.mul(let_in, content.tanh_(), out=c)
        for keep, memory in zip(keeps, memories, strict=True):
            c.addcmul_(keep, memory)
        if self.product:
            torch.mul(out, c, out=h).tanh_()
        else:
            torch.mul(torch.tanh(c), out, out=h)

    def cell_backward(
        self, gates: Tensor, memories: list[Tensor], h: Tensor, c: Tensor, dh: Tensor, dc: Tensor,
        dmemories: list[Tensor], dgates: Tensor,
    ) -> None:  # fmt: skip
        """Backward through `cell`: write the gradient of what the gates were before they were opened.

        Shapes: as for `cell`; dh, dc (h, n, B) are the gradients of the new h and c, dmemories those of the carried c;
                dc and dmemories are added to in place, dgates (gates * h, n, B) is written
        """
        out, *keeps, let_in, content = gates.split(self.width)
        dout, *dkeeps, dlet_in, dcontent = dgates.split(self.width)
        if self.product:
            inner = torch.ops.aten.tanh_backward(dh, h)
            torch.mul(inner, c, out=dout)
            dc.addcmul_(inner, out)
        else:
            squashed = torch.tanh(c)
            torch.mul(dh, squashed, out=dout)
            inner = torch.mul(dh, out)
            dc.add_(_tanh_backward(inner, squashed, grad_input=inner))
        for dkeep, memory in zip(dkeeps, memories, strict=True):
            torch.mul(dc, memory, out=dkeep)
        torch.mul(dc, content, out=dlet_in)
        torch.mul(dc, let_in, out=dcontent)
        _sigmoid_backward(dgates[: -self.width], gates[: -self.width], grad_input=dgates[: -self.width])
        _tanh_backward(dcontent, content, grad_input=dcontent)
        for keep, dmemory in zip(keeps, dmemories, strict=True):
            dmemory.addcmul_(dc, keep)

    @property
    def convolutions(self) -> list[CausalConv2d]:
        return cast("list[CausalConv2d]", list(self.inputs))

    @cached_property
    def input_taps(self) -> list[list[tuple[int, int]]]:
        """Which places of its window each input is read at."""
        return [conv.taps() for conv in self.convolutions]

    def _matrix(self, taps: Sequence[Tap]) -> Tensor:
        """From the inputs at all their taps and the states at `taps`, side by side, to the gates."""
        inputs = zip((conv.masked() for conv in self.convolutions), self.input_taps, strict=True)
        parts = [weight[:, :, y, x] for weight, taps in inputs for y, x in taps]
        parts += [self._state_matrix(tap) for tap in taps]
        return torch.cat(parts, 1)

    def _state_matrix(self, tap: Tap) -> Tensor:
        begin = self.taps.index(tap) * self.width
        return self.weight[:, begin : begin + self.width]

    def _bias(self) -> Tensor:
        biases = [cast("Tensor", conv.bias) for conv in self.convolutions]
        return sum(biases[1:], biases[0])


class _Fronts:
    """The order of a sweep: pixels of one front do not wait for each other.

    A front is a line of `n` pixels from (row, column) on. In an image (maps, rows, columns, batch) it is a strided
    view, and so are its neighbours.
    """

    def __init__(self, recurrence: Recurrence, height: int, width: int) -> None:
        self.step = (0, 1)  # along a row
        self.lines = [(row, 0, width) for row in range(height)]
        if any(tap.down == 0 for tap in recurrence.taps):
            self.step = (1, 1) if recurrence.mirrored else (1, -1)
            self.lines = []
            for front in range(height + width - 1):
                first, last = max(0, front - width + 1), min(height - 1, front)
                column = front - first
                self.lines.append((first, width - 1 - column if recurrence.mirrored else column, last - first + 1))
        self.counts = [count for _, _, count in self.lines]

    def of(self, image: Tensor, down: int, right: int) -> list[Tensor]:
        """For every front the pixels `down` and `right` of its own: (maps, n, B) each, views of the image."""
        maps, rows, columns, single = image.stride()
        step = (maps, self.step[0] * rows + self.step[1] * columns, single)
        begin = image.storage_offset() + down * rows + right * columns
        many, batch = image.shape[0], image.shape[3]
        return [
            image.as_strided((many, count, batch), step, begin + row * rows + column * columns)
            for row, column, count in self.lines
        ]

    def blocks(self, memory: Tensor, maps: int, batch: int) -> list[Tensor]:
        """A long vector cut into one (maps, n, B) for every front."""
        sizes = [maps * count * batch for count in self.counts]
        return [part.view(maps, -1, batch) for part in memory.split(sizes)]

    def states(self, recurrence: Recurrence, states: Tensor, taps: Sequence[Tap]) -> list[tuple[Tensor, ...]]:
        """For every front its states at `taps`, from an image of states with its margin."""
        return list(zip(*(self.of(states, 1 + down, recurrence.margin + right) for down, right in taps), strict=True))


class _Sweep(torch.autograd.Function):
    """The recurrence over a whole image, with its backward derived by hand.

    Per front: what is read is copied side by side, one matrix product gives all gates, the cell writes h and c into
    images with a margin of initial states. Kept for backward are the opened gates, h and c; what was read is copied
    again there, so neither the input-to-state maps nor their gradients are ever whole images.
    """

    @staticmethod
    def forward(
        ctx: Any, recurrence: Recurrence, graph: bool, matrix: Tensor, bias: Tensor, start_h: Tensor, start_c: Tensor,
        *inputs: Tensor,
    ) -> Tensor:  # fmt: skip
        margin = recurrence.margin
        rows, columns = recurrence.convolutions[0].kernel_size
        height, width, batch = inputs[0].shape[1] - rows + 1, inputs[0].shape[2] - columns + 1, inputs[0].shape[3]
        fronts = _Fronts(recurrence, height, width)
        h, c = (_with_margin(start, height, width, margin, batch) for start in (start_h, start_c))
        reads = _reads(recurrence, fronts, inputs, h)
        buffer = _Buffer(matrix, fronts, batch)
        weights = torch.cat([matrix, bias[:, None]], 1)
        memories = fronts.states(recurrence, c, recurrence.carried)
        new = zip(fronts.states(recurrence, h, [HERE]), fronts.states(recurrence, c, [HERE]), strict=True)
        kept = h.new_empty(len(matrix) * batch * (height * width if graph else max(fronts.counts)))
        blocks = fronts.blocks(kept, len(matrix), batch) if graph else _reused(kept, fronts, len(matrix), batch)
        for count, read, memory, ((h_here,), (c_here,)), gates in zip(
            fronts.counts, reads, memories, new, blocks, strict=True
        ):
            torch.mm(weights, buffer.filled(count, read), out=gates.flatten(1))
            recurrence.cell(gates, list(memory), h_here, c_here)
        if graph:
            ctx.save_for_backward(matrix, h, c, kept, *inputs)
            ctx.recurrence, ctx.fronts = recurrence, fronts
        return h[:, 1:, margin : margin + width]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_out: Tensor) -> tuple[Tensor | None, ...]:
        recurrence, fronts = ctx.recurrence, ctx.fronts
        margin, batch = recurrence.margin, dh_out.shape[3]
        matrix, h, c, kept, *inputs = ctx.saved_tensors
        inside = (slice(None), slice(1, None), slice(margin, h.shape[2] - margin))
        dh, dc = torch.zeros_like(h), torch.zeros_like(c)
        dh[inside] = dh_out
        dinputs = [torch.zeros_like(each) for each in inputs]
        buffer = _Buffer(matrix, fronts, batch)
        back = matrix.t().contiguous()
        dweights = matrix.new_zeros(len(matrix), matrix.shape[1] + 1)
        scratch = h.new_empty(len(matrix) * batch * max(fronts.counts))
        here = [fronts.states(recurrence, image, [HERE]) for image in (h, c, dh, dc)]
        rounds = zip(
            fronts.counts,
            fronts.blocks(kept, len(matrix), batch),
            _reused(scratch, fronts, len(matrix), batch),
            _reads(recurrence, fronts, inputs, h),
            _reads(recurrence, fronts, dinputs, dh),
            fronts.states(recurrence, c, recurrence.carried),
            fronts.states(recurrence, dc, recurrence.carried),
            *here,
            strict=True,
        )
        for count, gates, dgates, read, dread, memory, dmemory, *own in reversed(list(rounds)):
            recurrence.cell_backward(gates, list(memory), *(each[0] for each in own), list(dmemory), dgates)
            flat, near = dgates.flatten(1), buffer.filled(count, read)
            dweights.addmm_(flat, near.t())
            torch.mm(back, flat, out=near[:-1])  # what was read is of no more use here
            for target, part in zip(dread, buffer.parts, strict=False):
                target.add_(part)
        starts = []  # what flowed over the border belongs to the initial states
        for gradient in (dh, dc):
            gradient[inside] = 0
            starts.append(gradient.sum((1, 2, 3)))
        return None, None, dweights[:, :-1], dweights[:, -1], *starts, *dinputs


class _Buffer:
    """What a front reads, side by side: (maps + 1, n * B), of which the last is one, for the bias."""

    def __init__(self, matrix: Tensor, fronts: _Fronts, batch: int) -> None:
        self.maps, self.batch, self.count = matrix.shape[1] + 1, batch, 0
        self.memory = matrix.new_empty(self.maps * max(fronts.counts) * batch)

    def filled(self, count: int, reads: tuple[Tensor, ...]) -> Tensor:
        if count != self.count:
            self.count = count
            self.near = self.memory[: self.maps * count * self.batch].view(self.maps, count, self.batch)
            self.near[-1] = 1
            self.parts = self.near.split([*(len(each) for each in reads), 1])
        for part, read in zip(self.parts, reads, strict=False):
            part.copy_(read)
        return self.near.flatten(1)


def _reused(memory: Tensor, fronts: _Fronts, maps: int, batch: int) -> list[Tensor]:
    """The beginning of one memory as (maps, n, B) for every front."""
    return [memory[: maps * count * batch].view(maps, count, batch) for count in fronts.counts]


def _with_margin(start: Tensor, height: int, width: int, margin: int, batch: int) -> Tensor:
    """States (h, 1 + H, margin + W + margin, B), not yet computed inside, the initial ones around it."""
    states = start.new_empty(len(start), height + 1, width + 2 * margin, batch)
    start = start.detach()[:, None, None, None]
    states[:, :1] = start
    states[:, :, :margin] = start
    states[:, :, margin + width :] = start
    return states


def _reads(
    recurrence: Recurrence, fronts: _Fronts, inputs: Sequence[Tensor], h: Tensor
) -> list[tuple[Tensor, ...]]:  # fmt: skip
    """For every front what it reads, in the order of the matrix."""
    reads = [fronts.of(x, *tap) for x, taps in zip(inputs, recurrence.input_taps, strict=True) for tap in taps]
    reads += [fronts.of(h, 1 + tap.down, recurrence.margin + tap.right) for tap in recurrence.taps]
    return list(zip(*reads, strict=True))
