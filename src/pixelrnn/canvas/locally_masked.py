"""A convolution whose mask differs from pixel to pixel, over whole images: a product for every place of the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pixelrnn.canvas.base import LocallyMasked


def locally_masked(x: Tensor, weight: Tensor, bias: Tensor | None, seen: Tensor, dilation: int) -> Tensor:
    """The convolution of x with a kernel of which every pixel sees some places only.

    What is kept for gradients is x. Gathering the places around every pixel, as `torch.nn.functional.unfold` does,
    would keep kernel**2 times as much.

    Under autocast products are narrow, and what is added up is as wide as the weights.

    Shapes: x (B, C_in, H, W), weight (C_out, C_in, kernel, kernel), bias (C_out,) or None, seen (kernel**2, H, W) bool,
            on the CPU: which places lie inside the image and may be seen -> (B, C_out, H, W)
    """
    wide = weight.dtype
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    made: Tensor = _LocallyMasked.apply(x, weight, bias, seen, dilation, wide)  # type: ignore[no-untyped-call]
    return made


def locally_masked_pixels(conv: LocallyMasked, near: Tensor, matrix: Tensor) -> Tensor:
    """The same for some pixels of a walk, of which all that each may see is at hand.

    Shapes: near (B, C_in, kernel**2, w), zeros where nothing may be seen, matrix (C_out, C_in * kernel**2) the weights
            -> (B, C_out, 1, w)
    """
    y = matrix.to(near.dtype) @ near.flatten(1, 2)
    return (y if conv.bias is None else y + conv.bias[:, None])[:, :, None]


class _LocallyMasked(torch.autograd.Function):
    """One product with all places of the kernel, whose results each place then moves to the pixels that see it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, seen: Tensor, dilation: int, wide: torch.dtype
    ) -> Tensor:
        used = seen.flatten(1).any(1).nonzero()[:, 0].tolist()
        matrix = weight.flatten(2)[:, :, used].permute(1, 2, 0).flatten(1)  # (C_in, places * C_out)
        mask = seen[used, :, :, None].to(x.device, weight.dtype)
        ctx.save_for_backward(x, matrix, mask)
        ctx.used, ctx.dilation, ctx.kernel, ctx.biased = used, dilation, weight.shape[2], bias is not None
        batch, _, height, width = x.shape
        channels = len(weight)
        y = x.new_zeros(batch, height, width, channels, dtype=wide)
        if bias is not None:
            y += bias
        if used:
            each = (x.permute(0, 2, 3, 1) @ matrix).unflatten(3, (len(used), channels))
            for index, (there, here) in enumerate(_moves(used, weight.shape[2], dilation, height, width)):
                y[:, here[0], here[1]].addcmul_(each[:, there[0], there[1], index], mask[index, here[0], here[1]])
        return y.permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]:
        x, matrix, mask = ctx.saved_tensors
        (batch, channels, height, width), kernel, used = grad.shape, ctx.kernel, ctx.used
        grad = grad.permute(0, 2, 3, 1)
        each = x.new_empty(batch, height, width, len(used), channels)
        for index, (there, here) in enumerate(_moves(used, kernel, ctx.dilation, height, width)):
            part, (rows, columns) = each[:, :, :, index], there
            torch.mul(grad[:, here[0], here[1]], mask[index, here[0], here[1]], out=part[:, rows, columns])
            for unread in (part[:, : rows.start], part[:, rows.stop :]):
                unread.zero_()
            for unread in (part[:, :, : columns.start], part[:, :, columns.stop :]):
                unread.zero_()
        each = each.flatten(3)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = (each @ matrix.T).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            found = x.permute(0, 2, 3, 1).flatten(0, 2).T @ each.flatten(0, 2)  # (C_in, places * C_out)
            of_weight = found.new_zeros(channels, x.shape[1], kernel**2)
            of_weight[:, :, used] = found.unflatten(1, (len(used), channels)).permute(2, 0, 1)
            of_weight = of_weight.unflatten(2, (kernel, kernel))
        if ctx.biased and ctx.needs_input_grad[2]:
            of_bias = grad.sum((0, 1, 2))
        return of_x, of_weight, of_bias, None, None, None


Spans = tuple[slice, slice]  # of rows and of columns


def _moves(used: list[int], kernel: int, dilation: int, height: int, width: int) -> Iterator[tuple[Spans, Spans]]:
    """Of every place the pixels that are read, and those that read them."""
    for place in used:
        moves = [(part - kernel // 2) * dilation for part in divmod(place, kernel)]
        sides = [(max(0, -move), min(side, side - move)) for move, side in zip(moves, (height, width), strict=True)]
        rows, columns = (slice(*side) for side in sides)
        there = [slice(first + move, end + move) for (first, end), move in zip(sides, moves, strict=True)]
        yield (there[0], there[1]), (rows, columns)
