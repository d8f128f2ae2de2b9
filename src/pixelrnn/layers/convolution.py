"""Convolutions that look at the past only, with their neighbourhood from the canvas."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Reach, batch_last
from pixelrnn.layers.masks import Kind, causal_mask


class CausalConv2d(nn.Conv2d):
    r"""A convolution over the window that `reach` names: no mask, every tap is the past.

    The kernel is as large as the window of one pixel: (up + down + 1, left + right + 1).

    Shapes:  x (B, C_in, h, w) or None for the image itself -> (B, C_out, h, w)
    """

    mask: Tensor | None

    def __init__(self, in_channels: int, out_channels: int, reach: Reach) -> None:
        super().__init__(in_channels, out_channels, (reach.up + reach.down + 1, reach.left + reach.right + 1))
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

    def forward(self, x: Tensor | None, canvas: Canvas, plus: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """The convolution, and `plus` (B, C_out, h, w) added to it."""
        near = self.near(x, canvas)
        rows, columns = self.kernel_size
        if near.shape[2] == rows or (rows == columns == 1 and batch_last(near)):
            return self._products(near, canvas.once(self, self._matrices), plus)
        y = F.conv2d(near, self.masked(), self.bias)
        return y if plus is None else y.add_(plus)

    def _matrices(self) -> list[tuple[int, Tensor]]:
        """For every column of the kernel, its taps as one matrix, (C_out, rows * C_in), without rows that are hidden."""
        weight, rows = self.masked(), [0] * self.kernel_size[1]
        for y, x in self.taps():
            rows[x] = max(rows[x], y + 1)
        return [(x, weight[:, :, :seen, x].transpose(1, 2).flatten(1)) for x, seen in enumerate(rows) if seen]

    def _products(self, near: Tensor, matrices: list[tuple[int, Tensor]], plus: Tensor | None) -> Tensor:
        """One row, or pixels that are read alone: a matrix product for each column of the kernel.

        With the batch innermost in memory and rows outside of maps, as a walk keeps them, nothing is copied.
        """
        maps = near.permute(2, 1, 3, 0)  # (rows, C, w, B)
        height = len(maps) - self.kernel_size[0] + 1
        width = maps.shape[2] - self.kernel_size[1] + 1
        if height > 1:  # 1 x 1
            slices = [maps.transpose(0, 1).flatten(1)]
        else:
            seen = [matrix.shape[1] // maps.shape[1] for _, matrix in matrices]
            slices = [
                maps[:rows].flatten(0, 1)[:, x : x + width].flatten(1)
                for rows, (x, _) in zip(seen, matrices, strict=True)
            ]
        bias = None if self.bias is None else self.bias[:, None]
        start = bias if plus is None else plus.permute(1, 2, 3, 0).flatten(1)
        (_, matrix), *others = matrices
        y = matrix @ slices[0] if start is None else torch.addmm(start, matrix, slices[0])
        for (_, matrix), each in zip(others, slices[1:], strict=True):
            y.addmm_(matrix.to(y.dtype), each.to(y.dtype))  # autocast does not look into what happens in place
        if plus is not None and bias is not None:
            y += bias
        return y.view(len(y), height, width, len(near)).permute(3, 0, 1, 2)


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
        self, in_channels: int, out_channels: int, kernel: int, kind: Kind,
        *, groups: int = 1, blocks: int = 1, row: bool = False,
    ) -> None:  # fmt: skip
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
