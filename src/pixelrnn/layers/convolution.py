"""Convolutions that look at the past only, with their neighbourhood from the canvas."""

from __future__ import annotations

from itertools import pairwise

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

    def forward(self, x: Tensor | None, canvas: Canvas) -> Tensor:  # type: ignore[override]
        near, weight = self.near(x, canvas), self.masked()
        if near.shape[2:] == weight.shape[2:]:  # one pixel: a matrix product, without a convolution's set-up
            return F.linear(near.flatten(1), weight.flatten(1), self.bias)[:, :, None, None]
        if batch_last(near) and weight.shape[2:] == (1, 1):  # it stays batch-last
            maps = near.permute(1, 2, 3, 0)
            out = weight.flatten(1) @ maps.reshape(len(maps), -1)
            if self.bias is not None:
                out += self.bias[:, None]
            return out.view(len(out), *maps.shape[1:]).permute(3, 0, 1, 2)
        return F.conv2d(near, weight, self.bias)


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
