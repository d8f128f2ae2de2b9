"""Masks A and B, over space and over colour channels.

Kernels here end with the pixel's own row (the rows below are cut off, not masked). So a mask says two things: which
columns of that row are visible, and at the pixel itself, which colours are. A 5 x 5 kernel with one colour group:

    mask A:  1 1 1 1 1      mask B:  1 1 1 1 1
             1 1 1 1 1               1 1 1 1 1
             1 1 0 0 0               1 1 1 0 0

With several colours, the feature maps of a layer are split into one group per colour, R before G before B. At the pixel
itself mask A lets a group see the earlier groups (G sees R, B sees R and G), mask B the earlier groups and its own.

Source: van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv 1601.06759, section 3.4 and figure 2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Kind = Literal["A", "B"]


def group_of(width: int, groups: int, blocks: int = 1) -> Tensor:
    """The colour group of every feature map: (width,) integers 0..groups-1, in contiguous thirds for RGB.

    If the output of a layer is split into blocks afterwards (the tanh and the sigmoid half, the gates of an LSTM), each
    block has all the groups; with groups over the full width, a gate would leak a later colour into an earlier one.

    >>> group_of(6, groups=3)
    tensor([0, 0, 1, 1, 2, 2])
    >>> group_of(12, groups=3, blocks=2)
    tensor([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2])
    """
    if width % blocks:
        raise AssertionError(f"{width} feature maps cannot be split into {blocks} blocks")
    block = width // blocks
    return (torch.arange(block) * groups // block).repeat(blocks)


def colour_mask(kind: Kind, out_width: int, in_width: int, groups: int, blocks: int = 1) -> Tensor:
    """Which input feature maps each output feature map may see at the pixel itself: (out_width, in_width) bool.

    >>> colour_mask("A", 3, 3, groups=3).int()  # one feature map per colour: R sees nothing, G sees R, B sees R and G
    tensor([[0, 0, 0],
            [1, 0, 0],
            [1, 1, 0]], dtype=torch.int32)
    """
    out_group, in_group = group_of(out_width, groups, blocks)[:, None], group_of(in_width, groups)[None, :]
    return in_group < out_group if kind == "A" else in_group <= out_group


def causal_mask(
    kind: Kind, out_width: int, in_width: int, kernel: tuple[int, int], centre: int, groups: int, blocks: int = 1
) -> Tensor:
    """The mask of a kernel whose last row is the pixel's own row, with the pixel in column `centre`.

    Shape: (out_width, in_width, *kernel) bool

    >>> causal_mask("B", 1, 1, kernel=(2, 3), centre=1, groups=1)[0, 0].int()
    tensor([[1, 1, 1],
            [1, 1, 0]], dtype=torch.int32)
    """
    mask = torch.ones(out_width, in_width, *kernel, dtype=torch.bool)
    mask[:, :, -1, centre:] = False
    mask[:, :, -1, centre] = colour_mask(kind, out_width, in_width, groups, blocks)
    return mask
