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

from collections.abc import Sequence
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Reach
from pixelrnn.layers.convolution import CausalConv2d
from pixelrnn.layers.sweep import Tap, sweep

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


LEFT, ABOVE = Tap(0, -1), Tap(-1, 0)


def row_above(kernel: int) -> tuple[Tap, ...]:
    """The `kernel` nearest pixels of the row above, left to right."""
    return tuple(Tap(-1, right) for right in range(-(kernel // 2), kernel // 2 + 1))


class Recurrence(nn.Module):
    r"""Input to state and state to state: every gate is a matrix times what it reads.

        [o, f.., i, g] = convolution of the input + W [h of the neighbours];  sigmoid for o, f, i, tanh for g
        c = sum of f . c of its neighbour, + i . g
        h = o . tanh(c), or tanh(o . c)

    Outside the image the states are the initial ones, the same at every place.

    Arguments:
        width     h, maps of the state
        into      the input-to-state convolution, to gates * h maps; it is computed within the recurrence
        taps      the neighbours whose h is read: rows above, or the same row further left
        carried   those of them whose c is carried on, each by a forget gate of its own
        condition_width  maps of a condition, 0 for none; a 1 x 1 convolution of it is added to the input-to-state map
        mirrored  from right to left: the taps are mirrored. Only a finished row can be read that way (`row_late`).
        product   h = tanh(o . c) instead of o . tanh(c)
        learned   learn the initial states; else they stay zero

    Shapes:  x (B, maps, h, w), or None for the image itself -> (B, width, h, w)
    Source:  van den Oord et al., 2016, arXiv 1601.06759, sections 3.1, 3.2 and 3.6, equation 3; Graves and Schmidhuber,
             2009; Theis and Bethge, 2015, arXiv 1506.03478, equations 6 to 8
    """

    start_h: Tensor
    start_c: Tensor

    def __init__(
        self,
        width: int,
        into: CausalConv2d,
        taps: Sequence[Tap],
        carried: Sequence[Tap],
        *,
        condition_width: int = 0,
        mirrored: bool = False,
        product: bool = False,
        learned: bool = True,
    ) -> None:
        super().__init__()
        self.width, self.mirrored, self.product = width, mirrored, product
        sign = -1 if mirrored else 1
        self.unmirrored = (tuple(taps), tuple(carried))
        self.taps, self.carried = (tuple(Tap(down, sign * right) for down, right in some) for some in (taps, carried))
        self.margin = max(abs(tap.right) for tap in self.taps)
        self.condition_width = condition_width
        self.inputs = nn.ModuleList([into])
        if condition_width:  # section 3.6: 1 x 1, without a mask
            self.inputs.append(CausalConv2d(condition_width, into.out_channels, Reach(0, 0, 0, 0), bias=False))
        self.weight = nn.Parameter(torch.empty((3 + len(carried)) * width, len(taps) * width))
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        for name in ("start_h", "start_c"):
            if learned:
                self.register_parameter(name, nn.Parameter(torch.zeros(width)))
            else:
                self.register_buffer(name, torch.zeros(width), persistent=False)

    def forward(self, x: Tensor | None, canvas: Canvas) -> Tensor:
        return canvas.scan(self, self.near(x, canvas))

    def near(self, x: Tensor | None, canvas: Canvas) -> list[Tensor]:
        """The windows of the inputs: x (B, maps, h, w), or None for the image itself, and the condition."""
        window = self.convolutions[0].near(x, canvas)
        if not self.condition_width:
            return [window]
        batch, _, height, width = window.shape
        size = (batch, self.condition_width, height - self.window[0] + 1, width - self.window[1] + 1)
        s = canvas.condition_map()
        if s is None:  # its share of the product is zero then
            return [window, window.new_zeros(()).expand(size)]
        return [window, canvas.window((self, "condition"), s, self.convolutions[1].reach).expand(size)]

    def sweep(self, near: list[Tensor]) -> Tensor:
        """Over a whole image: the windows of the inputs -> (B, h, H, W), with the batch innermost in memory."""
        return sweep([self], [near])[0]

    def sweep_both(self, other: Recurrence, near: list[Tensor], other_near: list[Tensor]) -> list[Tensor]:
        """Two that differ in direction and weights only, front by front together: fewer, larger operations."""
        return sweep([self, other], [near, other_near])

    def prepared(self) -> list[Tensor]:
        """For `span`: the matrix of the inputs and the row above, the bias, a matrix for each tap along the row."""
        above = [tap for tap in self.taps if tap.down]
        along = [self._state_matrix(tap) for tap in self.taps if not tap.down]
        return [self._matrix(above), self._bias()[:, None], *along]

    def span(self, near: list[Tensor], h: Tensor, c: Tensor, column: int, prepared: list[Tensor]) -> Tensor:
        """Over some pixels of a row, whose states are written where they belong.

        Shapes: near, the windows of the inputs around them; h and c (h, 2, margin + W + margin, B): the row above and
                this one -> (1, h, 1, w * B), a view of h
        """
        matrix, bias, *row_matrices = prepared
        wide, batch = near[0].shape[3] - self.window[1] + 1, len(near[0])
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
        return h[:, 1, first : first + wide].flatten(1)[None, :, None]

    def cell(self, gates: Tensor, memories: list[Tensor], h: Tensor, c: Tensor) -> None:
        """The cell: open the gates in place, write the new h and c.

        Shapes: gates (..., gates * h, n, B); memories, the carried c of the neighbours, and h, c: (..., h, n, B)
        """
        self._valves(gates).sigmoid_()
        out, *keeps, let_in, content = gates.split(self.width, -3)
        torch.mul(let_in, content.tanh_(), out=c)
        for keep, memory in zip(keeps, memories, strict=True):
            c.addcmul_(keep, memory)
        if self.product:
            torch.mul(out, c, out=h).tanh_()
        else:
            torch.mul(torch.tanh(c), out, out=h)

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
        """Backward through `cell`: write the gradient of what the gates were before they were opened.

        Shapes: as for `cell`; dh, dc are the gradients of the new h and c, dmemories those of the carried c; dc and
                dmemories are added to in place, dgates (..., gates * h, n, B) is written
        """
        out, *keeps, let_in, content = gates.split(self.width, -3)
        dout, *dkeeps, dlet_in, dcontent = dgates.split(self.width, -3)
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
        valves, dvalves = self._valves(gates), self._valves(dgates)
        _sigmoid_backward(dvalves, valves, grad_input=dvalves)
        _tanh_backward(dcontent, content, grad_input=dcontent)
        for keep, dmemory in zip(keeps, dmemories, strict=True):
            dmemory.addcmul_(dc, keep)

    def _valves(self, gates: Tensor) -> Tensor:
        """All gates but the last, which holds the content."""
        return gates.narrow(-3, 0, gates.shape[-3] - self.width)

    @property
    def convolutions(self) -> list[CausalConv2d]:
        return cast("list[CausalConv2d]", list(self.inputs))

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of what the first input is read through."""
        rows, columns = self.convolutions[0].kernel_size
        return rows, columns

    @cached_property
    def input_taps(self) -> list[list[tuple[int, int]]]:
        """Which places of its window each input is read at."""
        return [conv.taps() for conv in self.convolutions]

    def weights(self) -> Tensor:
        """From what a pixel reads, and a one for the bias, to its gates: (gates * h, reads + 1)."""
        return torch.cat([self._matrix(self.taps), self._bias()[:, None]], 1)

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
        return cast("Tensor", self.convolutions[0].bias)
