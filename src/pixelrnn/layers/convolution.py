"""Convolutions that look at the past only, with their neighbourhood from the canvas."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Prepared, Reach, batch_last
from pixelrnn.layers.masks import Kind, causal_mask


class CausalConv2d(nn.Conv2d):
    r"""A convolution over the window that `reach` names: no mask, every tap is the past.

    The kernel is as large as the window of one pixel: (up + down + 1, left + right + 1).

    Shapes:  x (B, C_in, h, w) or None for the image itself -> (B, C_out, h, w)
    """

    mask: Tensor | None

    def __init__(self, in_channels: int, out_channels: int, reach: Reach, *, bias: bool = True) -> None:
        size = (reach.up + reach.down + 1, reach.left + reach.right + 1)
        super().__init__(in_channels, out_channels, size, bias=bias)
        self.reach = reach
        self.register_buffer("mask", None, persistent=False)  # a mask is derived, never loaded

    def near(self, x: Tensor | None, canvas: Canvas) -> Tensor:
        """What the kernel moves over: (B, C_in, h + up + down, w + left + right)."""
        return canvas.look(self.reach) if x is None else canvas.window(self, x, self.reach)

    def masked(self) -> Tensor:
        """The weight without what the mask hides: (C_out, C_in, rows, columns)."""
        return self.weight if self.mask is None else self.weight * self.mask

    def taps(self) -> list[tuple[int, int]]:
        """The places (row, column) of the kernel that some feature map may see."""
        rows, columns = self.kernel_size
        every = [(y, x) for y in range(rows) for x in range(columns)]
        return every if self.mask is None else [tap for tap in every if self.mask[:, :, *tap].any()]

    def forward(  # type: ignore[override]
        self, x: Tensor | None, canvas: Canvas, plus: Tensor | None = None, *, overwrite: bool = False
    ) -> Tensor:
        """The convolution, and `plus` (B, C_out, h, w) added to it; `plus` may be overwritten if that is allowed."""
        return canvas.convolve(self, x, plus, overwrite)

    def whole(self, near: Tensor, plus: Tensor | None) -> Tensor:
        """Over the window of a whole map, (B, C_in, h + up + down, w + left + right) -> (B, C_out, h, w)."""
        if self.kernel_size == (1, 1) and batch_last(near):  # it stays batch-last
            maps = near.permute(1, 2, 3, 0)
            more = None if plus is None else plus.permute(1, 2, 3, 0).flatten(1)
            y = self.pixels([maps.flatten(1)], more, self.prepared(), overwrite=False)
            return y.view(len(y), *maps.shape[1:]).permute(3, 0, 1, 2)
        y = F.conv2d(near, self.masked(), self.bias)
        return y if plus is None else y.add_(plus)

    def prepared(self) -> Prepared:
        """For every column of the kernel its taps side by side as one matrix; nothing for rows that a mask hides."""
        weight, rows = self.masked(), [0] * self.kernel_size[1]
        for y, x in self.taps():
            rows[x] = max(rows[x], y + 1)
        columns = tuple((x, seen) for x, seen in enumerate(rows) if seen)
        matrices = [weight[:, :, :seen, x].transpose(1, 2).flatten(1).contiguous() for x, seen in columns]
        return Prepared(columns, matrices, None if self.bias is None else self.bias[:, None])

    def pixels(self, slices: list[Tensor], plus: Tensor | None, prepared: Prepared, overwrite: bool) -> Tensor:
        """Over some pixels: a matrix product for each column of the kernel.

        Shapes: slices, what each of `prepared.columns` reads, (rows * C_in, pixels); plus (C_out, pixels)
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
    r"""A k x k convolution with mask A or B; the rows below the pixel are cut from the kernel.

    What is left is (k // 2 + 1) x k with a mask for the pixel's own row and its colours. A `row` convolution keeps the
    pixel's own row only, and there nothing right of the pixel: 1 x (k // 2 + 1); if its mask hides the pixel itself
    from every group, that tap is cut too.

    Arguments: kernel k, odd; kind "A" or "B"; groups of colours; blocks that the output is cut into (2 for a gate).
    Shapes:  x (B, C_in, h, w) or None for the image itself -> (B, C_out, h, w)
    Source:  van den Oord et al., 2016, arXiv 1601.06759, section 3.4. The paper sets weights to zero after an update;
             here the mask multiplies in forward, which is the same function.
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
        # One group and mask A: the pixel is hidden from everybody, so a row's kernel ends left of it.
        right = -1 if kind == "A" and groups == 1 else 0
        reach = Reach(0, 0, half, right) if row else Reach(half, 0, half, half)
        super().__init__(in_channels, out_channels, reach)
        if groups > 1 or reach.right > 0:  # else the kernel holds nothing but the past
            size = (reach.up + 1, half + reach.right + 1)
            self.mask = causal_mask(kind, out_channels, in_channels, size, half, groups, blocks)


class Pointwise(MaskedConv2d):
    """A 1 x 1 convolution with mask B over colours; plain if there is one group."""

    def __init__(self, in_channels: int, out_channels: int, *, groups: int = 1, blocks: int = 1) -> None:
        super().__init__(in_channels, out_channels, 1, "B", groups=groups, blocks=blocks)


class Readout(nn.Module):
    """The end of every network: ReLU and a 1 x 1 layer for each of `widths`, then ReLU and the parameters.

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
