"""Two-dimensional LSTMs: one recurrence for all of them, which runs over a full image or over a part of one row.

At every pixel a `Recurrence` reads its input and the states of a few neighbouring pixels. The LSTMs of this family
differ in the neighbours and the gates:

    network            hidden states read at              forget gates      h
    Row LSTM           k pixels of the row above          the one above     o tanh(c)
    Diagonal BiLSTM    the pixels to the left and above   the one left      o tanh(c)
    MDLSTM             the pixels to the left and above   one for each      o tanh(c)
    Spatial LSTM       the pixels to the left and above   one for each      tanh(o c)

In training (`sweep`) pixels that do not depend on each other are computed in parallel, one front at a time: a row, or
an anti-diagonal if a pixel depends on its left neighbour. A 28 x 28 image takes 28 steps for a Row LSTM and
28 + 28 - 1 = 55 for the others. In sampling (`span`) the recurrence runs over some pixels of one row.

The batch is the innermost dimension in memory, (maps, rows, columns, batch). So a front is a strided view of the image,
no image has to be skewed, and each gate is contiguous.
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
    """The `kernel` nearest pixels of the row above, left to right.

    >>> [tuple(tap) for tap in row_above(3)]
    [(-1, -1), (-1, 0), (-1, 1)]
    """
    return tuple(Tap(-1, right) for right in range(-(kernel // 2), kernel // 2 + 1))


class Recurrence(nn.Module):
    r"""A two-dimensional LSTM layer: the gates are linear in the input and in the hidden states of neighbouring pixels.

        [o, f.., i, g] = K * x + W [h of the neighbours] + b,   sigmoid for o, f and i, tanh for g
        c = sum over neighbours of f . c, + i . g
        h = o . tanh(c), or tanh(o . c)

    Outside the image, hidden and cell states are the initial states, which are the same at every position.

    Arguments:
        width            h, the feature maps of the hidden state
        into             K, the input-to-state convolution to (3 + number of forget gates) * h feature maps
        taps             the neighbours whose hidden state is read: in rows above, or further left in the same row
        carried          those whose cell state is carried over, each with a forget gate of its own
        condition_width  feature maps of the condition map, 0 for none; its bias is added to the gates
        mirrored         run from right to left, with mirrored taps; only finished rows can be read so (`row_late`)
        product          h = tanh(o . c) instead of o . tanh(c)
        learned          learn the initial states; otherwise they stay zero

    Shapes:  x (B, maps, h, w), or None for the image itself -> (B, width, h, w)
    Source:  van den Oord et al., 2016, arXiv 1601.06759, sections 3.1, 3.2 and 3.6, equation 3; Graves and Schmidhuber,
             2009; Theis and Bethge, 2015, arXiv 1506.03478, equations 6 to 8

    A Row LSTM layer with h = 8 has four gates, and reads 8 input feature maps and 3 * 8 hidden ones:

    >>> from pixelrnn.canvas import Whole
    >>> from pixelrnn.layers.convolution import Pointwise
    >>> row_lstm = Recurrence(8, Pointwise(8, 4 * 8), row_above(3), [ABOVE])
    >>> row_lstm.weight.shape  # state to state
    torch.Size([32, 24])
    >>> x = torch.zeros(2, 8, 28, 28)
    >>> row_lstm(x, Whole(x)).shape
    torch.Size([2, 8, 28, 28])
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
        if condition_width:  # section 3.6: an unmasked 1 x 1 convolution
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
        """The windows of the inputs: of x (B, maps, h, w), or of the image if x is None, and of the condition map."""
        window = self.convolutions[0].near(x if x is None else self.bounded(x, 0), canvas)
        if not self.condition_width:
            return [window]
        batch, _, height, width = window.shape
        size = (batch, self.condition_width, height - self.window[0] + 1, width - self.window[1] + 1)
        s = canvas.condition_map()
        if s is None:  # zeros add nothing to the gates
            return [window, window.new_zeros(()).expand(size)]
        seen = canvas.window((self, "condition"), self.bounded(s, 1), self.convolutions[1].reach)
        return [window, seen.expand(size)]

    def bounded(self, x: Tensor, index: int) -> Tensor:
        """An input as it is read, where its size matters: by integers."""
        return x

    def sweep(self, near: list[Tensor]) -> Tensor:
        """All positions of an image: the windows of the inputs -> (B, h, H, W), with the batch innermost in memory."""
        return sweep([self], [near])[0]

    def sweep_both(self, other: Recurrence, near: list[Tensor], other_near: list[Tensor]) -> list[Tensor]:
        """Run this and a recurrence of the other direction front by front together: fewer and larger operations."""
        return sweep([self, other], [near, other_near])

    def prepared(self) -> list[Tensor]:
        """The weights for `span`: the matrix of the inputs and the row above, the bias, a matrix per tap of the row."""
        above = [tap for tap in self.taps if tap.down]
        along = [self._state_matrix(tap) for tap in self.taps if not tap.down]
        return [self._matrix(above), self._bias()[:, None], *along]

    def span(self, near: list[Tensor], h: Tensor, c: Tensor, column: int, prepared: list[Tensor]) -> Tensor:
        """Run over w pixels of a row from `column` on, writing their states into h and c.

        Shapes: near, the windows of the inputs around these pixels; h and c (h, 2, margin + W + margin, B), the row
                above and this one -> (1, h, 1, w * B), a view of h
        """
        matrix, bias, *row_matrices = prepared
        wide, batch = near[0].shape[3] - self.window[1] + 1, len(near[0])
        first = self.margin + column
        reads = [
            window[:, :, y, x : x + wide].permute(1, 2, 0)
            for window, taps in zip(near, self.input_taps, strict=True)
            for y, x in taps
        ]
        # The row above is finished, so its part of the gates is computed for all pixels at once.
        reads += [h[:, 0, first + right : first + right + wide] for down, right in self.taps if down]
        gates = torch.addmm(bias, matrix, torch.cat(reads).flatten(1)).view(-1, wide, batch)
        steps = [slice(0, wide)]
        if row_matrices:  # one pixel at a time
            order = range(wide - 1, -1, -1) if self.mirrored else range(wide)
            steps = [slice(pixel, pixel + 1) for pixel in order]
        along = [tap for tap in self.taps if not tap.down]
        for step in steps:
            here = slice(first + step.start, first + step.stop)
            some = gates[:, step]
            for row_matrix, tap in zip(row_matrices, along, strict=True):
                some[:, 0].addmm_(row_matrix, h[:, 1, here.start + tap.right])
            cells = [c[:, 1 + down, here.start + right : here.stop + right] for down, right in self.carried]
            self.cell(some, cells, h[:, 1, here], c[:, 1, here])
        return h[:, 1, first : first + wide].flatten(1)[None, :, None]

    def cell(self, gates: Tensor, cells: list[Tensor], h: Tensor, c: Tensor) -> None:
        """One LSTM step: turn the pre-activations `gates` into gate activations in place, and write the new h and c.

        Shapes: gates (..., gates * h, n, B); cells, the carried cell states of the neighbours, and h, c: (..., h, n, B)
        """
        self._sigmoid_gates(gates).sigmoid_()
        output_gate, *forget_gates, input_gate, candidate = gates.split(self.width, -3)
        torch.mul(input_gate, candidate.tanh_(), out=c)
        for forget_gate, cell in zip(forget_gates, cells, strict=True):
            c.addcmul_(forget_gate, cell)
        if self.product:
            torch.mul(output_gate, c, out=h).tanh_()
        else:
            torch.mul(torch.tanh(c), output_gate, out=h)

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
        """Backward through `cell`: write the gradients of the pre-activations into `dgates`.

        Shapes: as for `cell`, with gates the activations; dh, dc are the gradients of the new h and c, dcells those of
                the carried cell states; dc and dcells are accumulated in place, dgates (..., gates * h, n, B) is
                overwritten
        """
        output_gate, *forget_gates, input_gate, candidate = gates.split(self.width, -3)
        doutput_gate, *dforget_gates, dinput_gate, dcandidate = dgates.split(self.width, -3)
        if self.product:
            inner = torch.ops.aten.tanh_backward(dh, h)
            torch.mul(inner, c, out=doutput_gate)
            dc.addcmul_(inner, output_gate)
        else:
            tanh_c = torch.tanh(c)
            torch.mul(dh, tanh_c, out=doutput_gate)
            inner = torch.mul(dh, output_gate)
            dc.add_(_tanh_backward(inner, tanh_c, grad_input=inner))
        for dforget_gate, cell in zip(dforget_gates, cells, strict=True):
            torch.mul(dc, cell, out=dforget_gate)
        torch.mul(dc, candidate, out=dinput_gate)
        torch.mul(dc, input_gate, out=dcandidate)
        sigmoids, dsigmoids = self._sigmoid_gates(gates), self._sigmoid_gates(dgates)
        _sigmoid_backward(dsigmoids, sigmoids, grad_input=dsigmoids)
        _tanh_backward(dcandidate, candidate, grad_input=dcandidate)
        for forget_gate, dcell in zip(forget_gates, dcells, strict=True):
            dcell.addcmul_(dc, forget_gate)

    def _sigmoid_gates(self, gates: Tensor) -> Tensor:
        """The output, forget and input gates: all but the last block, the candidate, which has a tanh."""
        return gates.narrow(-3, 0, gates.shape[-3] - self.width)

    @property
    def convolutions(self) -> list[CausalConv2d]:
        return cast("list[CausalConv2d]", list(self.inputs))

    @property
    def window(self) -> tuple[int, int]:
        """Kernel size of the input-to-state convolution: (rows, columns)."""
        rows, columns = self.convolutions[0].kernel_size
        return rows, columns

    @cached_property
    def input_taps(self) -> list[list[tuple[int, int]]]:
        """For each input, the kernel positions (row, column) that are read."""
        return [conv.taps() for conv in self.convolutions]

    def weights(self) -> Tensor:
        """The matrix from everything a pixel reads, and a 1 for the bias, to its gates: (gates * h, reads + 1)."""
        return torch.cat([self._matrix(self.taps), self._bias()[:, None]], 1)

    def weight_mask(self) -> Tensor:
        """Which of `weights` may be other than zero, without the bias: (gates * h, reads) bool."""
        parts = []
        for conv, taps in zip(self.convolutions, self.input_taps, strict=True):
            mask = torch.ones_like(conv.weight, dtype=torch.bool) if conv.mask is None else conv.mask
            parts += [mask[:, :, y, x] for y, x in taps]
        return torch.cat([*parts, torch.ones_like(self.weight, dtype=torch.bool)], 1)

    def _matrix(self, taps: Sequence[Tap]) -> Tensor:
        """The matrix from the inputs at all their taps and the hidden states at `taps`, concatenated, to the gates."""
        inputs = zip((conv.masked() for conv in self.convolutions), self.input_taps, strict=True)
        parts = [weight[:, :, y, x] for weight, taps in inputs for y, x in taps]
        parts += [self._state_matrix(tap) for tap in taps]
        return torch.cat(parts, 1)

    def _state_matrix(self, tap: Tap) -> Tensor:
        begin = self.taps.index(tap) * self.width
        return self.weight[:, begin : begin + self.width]

    def _bias(self) -> Tensor:
        return cast("Tensor", self.convolutions[0].bias)
