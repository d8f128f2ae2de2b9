"""Masks A and B, in space and over colours.

A kernel here ends with its own row (rows below are cut, not masked), so a mask says two things: on that row, which
columns are the past; and at the pixel itself, which colours are. The feature maps of a layer are split into one group
per colour, R before G before B; mask A lets a group see earlier groups, mask B earlier ones and itself.

Source: van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv 1601.06759, section 3.4 and figure 2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Kind = Literal["A", "B"]


def group_of(width: int, groups: int, blocks: int = 1) -> Tensor:
    """The colour group of every feature map: (width,) integers 0..groups-1, in contiguous thirds for RGB.

    A layer whose output is cut into blocks afterwards (tanh and sigmoid half, the gates of an LSTM) has its groups
    inside each block; counted over the whole width, a gate would carry a later colour into an earlier one.
    """
    if width % blocks:
        raise AssertionError(f"{width} feature maps cannot be cut into {blocks} blocks")
    block = width // blocks
    return (torch.arange(block) * groups // block).repeat(blocks)


def colour_mask(kind: Kind, out_width: int, in_width: int, groups: int, blocks: int = 1) -> Tensor:
    """Which feature maps may see which at the pixel itself: (out_width, in_width) bool."""
    out_group, in_group = group_of(out_width, groups, blocks)[:, None], group_of(in_width, groups)[None, :]
    return in_group < out_group if kind == "A" else in_group <= out_group


def causal_mask(
    kind: Kind, out_width: int, in_width: int, kernel: tuple[int, int], centre: int, groups: int, blocks: int = 1
) -> Tensor:
    """The mask of a kernel whose last row is the pixel's own, with the pixel in column `centre`.

    Shape: (out_width, in_width, *kernel) bool.
    """
    mask = torch.ones(out_width, in_width, *kernel, dtype=torch.bool)
    mask[:, :, -1, centre:] = False
    mask[:, :, -1, centre] = colour_mask(kind, out_width, in_width, groups, blocks)
    return mask
