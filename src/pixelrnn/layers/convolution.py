"""Causal convolutions: masked kernels that see only earlier pixels; the canvas supplies the neighbourhood."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Prepared, Reach, batch_last
from pixelrnn.layers.masks import Kind, causal_mask


class CausalConv2d(nn.Conv2d):
    r"""A convolution over the window that `reach` describes, without a mask: the window holds only earlier pixels.

    The kernel size is that of the window of one pixel: (up + down + 1, left + right + 1).

    Shapes:  x (B, C_in, h, w) or None for the image itself -> (B, C_out, h, w)

    >>> from pixelrnn.canvas import Reach, Whole
    >>> rows_above = CausalConv2d(1, 8, Reach(up=2, down=-1, left=1, right=1))  # two rows above, three columns
    >>> rows_above.kernel_size
    (2, 3)
    >>> rows_above(None, Whole(torch.zeros(4, 1, 28, 28))).shape
    torch.Size([4, 8, 28, 28])
    """

    mask: Tensor | None

    def __init__(self, in_channels: int, out_channels: int, reach: Reach, *, bias: bool = True) -> None:
        size = (reach.up + reach.down + 1, reach.left + reach.right + 1)
        super().__init__(in_channels, out_channels, size, bias=bias)
        self.reach = reach
        self.register_buffer("mask", None, persistent=False)  # a mask is derived, never loaded

    def near(self, x: Tensor | None, canvas: Canvas) -> Tensor:
        """The input of the kernel, with its margin: (B, C_in, h + up + down, w + left + right)."""
        return canvas.look(self.reach) if x is None else canvas.window(self, x, self.reach)

    def masked(self) -> Tensor:
        """The weight, zero where the mask is: (C_out, C_in, rows, columns)."""
        return self.weight if self.mask is None else self.weight * self.mask

    def taps(self) -> list[tuple[int, int]]:
        """The positions (row, column) of the kernel that are not masked for every feature map."""
        rows, columns = self.kernel_size
        every = [(y, x) for y in range(rows) for x in range(columns)]
        return every if self.mask is None else [tap for tap in every if self.mask[:, :, *tap].any()]

    def forward(  # type: ignore[override]
        self, x: Tensor | None, canvas: Canvas, plus: Tensor | None = None, *, overwrite: bool = False
    ) -> Tensor:
        """The convolution plus `plus` (B, C_out, h, w); with `overwrite` the result may take the memory of `plus`."""
        return canvas.convolve(self, x, plus, overwrite)

    def whole(self, near: Tensor, plus: Tensor | None) -> Tensor:
        """All positions at once: (B, C_in, h + up + down, w + left + right) -> (B, C_out, h, w)."""
        if self.kernel_size == (1, 1) and batch_last(near):  # keep the batch innermost
            maps = near.permute(1, 2, 3, 0)
            more = None if plus is None else plus.permute(1, 2, 3, 0).flatten(1)
            y = self.pixels([maps.flatten(1)], more, self.prepared(), overwrite=False)
            return y.view(len(y), *maps.shape[1:]).permute(3, 0, 1, 2)
        y = F.conv2d(near, self.masked(), self.bias)
        return y if plus is None else y.add_(plus)

    def prepared(self) -> Prepared:
        """The kernel column by column: the taps of each column concatenated into one matrix, without masked rows."""
        weight, rows = self.masked(), [0] * self.kernel_size[1]
        for y, x in self.taps():
            rows[x] = max(rows[x], y + 1)
        columns = tuple((x, seen) for x, seen in enumerate(rows) if seen)
        matrices = [weight[:, :, :seen, x].transpose(1, 2).flatten(1).contiguous() for x, seen in columns]
        return Prepared(columns, matrices, None if self.bias is None else self.bias[:, None])

    def pixels(self, slices: list[Tensor], plus: Tensor | None, prepared: Prepared, overwrite: bool) -> Tensor:
        """The convolution at some pixels: one matrix product per column of the kernel.

        Shapes: slices, the input of each of `prepared.columns`, (rows * C_in, pixels); plus (C_out, pixels)
                -> (C_out, pixels)
        """
        _, (matrix, *matrices), bias = prepared
        start = bias if plus is None else plus
        if start is None:
            y = matrix @ slices[0]
        elif plus is not None and overwrite:
            y = plus.addmm_(matrix, slices[0])
        else:
            y = torch.addmm(start, matrix, slices[0])
        for matrix, each in zip(matrices, slices[1:], strict=True):
            y.addmm_(matrix, each)
        if plus is not None and bias is not None:
            y += bias
        return y


class MaskedConv2d(CausalConv2d):
    r"""A k x k convolution with mask A or B. The rows below the pixel are cut off the kernel rather than masked.

    That leaves a kernel of (k // 2 + 1) x k, with a mask for the pixel's own row and its colour channels. With
    `row=True` the kernel is the pixel's own row up to the pixel, 1 x (k // 2 + 1); if the mask hides the pixel itself
    from every group, that tap is cut off too.

    Arguments:
        kernel  k, odd
        kind    "A" or "B"
        groups  colour groups, one per channel (see `masks`)
        blocks  blocks that the output is split into afterwards: 2 for a gated activation, 4 for an LSTM
        row     keep the pixel's own row only

    Shapes:  x (B, C_in, h, w) or None for the image itself -> (B, C_out, h, w)
    Source:  van den Oord et al., 2016, arXiv 1601.06759, section 3.4. The paper zeroes the weights after each update;
             here forward multiplies them by the mask, which is the same function.

    >>> from pixelrnn.canvas import Whole
    >>> conv = MaskedConv2d(3, 6, 5, "A", groups=3)
    >>> conv(None, Whole(torch.zeros(2, 3, 8, 8))).shape
    torch.Size([2, 6, 8, 8])
    >>> conv.kernel_size                    # not 5 x 5: the two rows below are cut off
    (3, 5)
    >>> conv.mask[2, 0].int()               # from the red channel to a green feature map: the pixel itself is visible
    tensor([[1, 1, 1, 1, 1],
            [1, 1, 1, 1, 1],
            [1, 1, 1, 0, 0]], dtype=torch.int32)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        kind: Kind,
        *,
        groups: int = 1,
        blocks: int = 1,
        row: bool = False,
    ) -> None:
        half = kernel // 2
        # One group and mask A: the pixel is hidden from every feature map, so a row kernel ends left of it.
        right = -1 if kind == "A" and groups == 1 else 0
        reach = Reach(0, 0, half, right) if row else Reach(half, 0, half, half)
        super().__init__(in_channels, out_channels, reach)
        if groups > 1 or reach.right > 0:  # else the kernel covers earlier pixels only, and needs no mask
            size = (reach.up + 1, half + reach.right + 1)
            self.mask = causal_mask(kind, out_channels, in_channels, size, half, groups, blocks)


class Pointwise(MaskedConv2d):
    """A 1 x 1 convolution with mask B over the colour groups; an ordinary one if there is a single group."""

    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1, blocks: int = 1) -> None:
        super().__init__(in_channels, out_channels, 1, "B", groups=groups, blocks=blocks)


class Readout(nn.Module):
    """The output stage: ReLU and a 1 x 1 convolution for each of `widths`, then ReLU and a 1 x 1 to the parameters.

    Shapes:  x (B, width, h, w) -> (B, params, h, w)
    Source:  van den Oord et al., 2016, arXiv 1601.06759, table 1: two 1 x 1 layers between the body and the softmax
    """

    def __init__(self, width: int, widths: tuple[int, ...], params: int, groups: int) -> None:
        super().__init__()
        sizes = [width, *widths, params]
        self.layers = nn.ModuleList(Pointwise(a, b, groups=groups) for a, b in pairwise(sizes))

    def forward(self, x: Tensor, canvas: Canvas) -> Tensor:
        for layer in self.layers:
            x = layer(F.relu(x), canvas)
        return x
