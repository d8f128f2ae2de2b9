"""The multi-directional MDLSTM, an encoder that scans the image from all four corners. It is not causal.

Source: Graves, Fernandez and Schmidhuber, Multi-Dimensional Recurrent Neural Networks, 2007, arXiv 0705.2011; Graves
and Schmidhuber, Offline Handwriting Recognition with Multidimensional Recurrent Neural Networks, 2009.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Whole
from pixelrnn.errors import ConfigError, ImageError
from pixelrnn.layers.convolution import Pointwise
from pixelrnn.layers.recurrence import ABOVE, LEFT, Recurrence


class MultiDirectionalLSTM(nn.Module):
    r"""Layers of four MDLSTMs, one from each corner of the image, combined by a 1 x 1 convolution.

    Every position of the output depends on every pixel, so it cannot predict pixels. It encodes images: the mean over
    rows and columns is an embedding of the image, the map itself has features of every position.

    Arguments:
        channels   channels of the image
        width      feature maps of each direction's hidden state
        out_width  feature maps of the output
        layers     layers of four directions each; between layers, the tanh of a 1 x 1 convolution of the four states

    Shapes:  image (B, channels, H, W), real -> (B, out_width, H, W)
    Raises:  ConfigError for an argument below 1, ImageError for images of another shape
    Source:  arXiv 0705.2011, section 3.2 (2^n hidden layers, one per corner); the cell is that of Graves and
             Schmidhuber, 2009, without peephole connections

    >>> MultiDirectionalLSTM(3, width=8, out_width=16)(torch.zeros(2, 3, 10, 12)).shape
    torch.Size([2, 16, 10, 12])
    """

    def __init__(self, channels: int, *, width: int, out_width: int, layers: int = 1) -> None:
        super().__init__()
        for name, value in {"channels": channels, "width": width, "out_width": out_width, "layers": layers}.items():
            if value < 1:
                raise ConfigError(f"{name} must be 1 or more, not {value}.")
        self.channels = channels
        sizes = [channels, *[width] * (layers - 1)]
        self.corners = nn.ModuleList(
            nn.ModuleList(Recurrence(width, Pointwise(size, 5 * width), [LEFT, ABOVE], [LEFT, ABOVE]) for _ in range(4))
            for size in sizes
        )
        ends = [*[width] * (layers - 1), out_width]
        self.joins = nn.ModuleList(Pointwise(4 * width, end) for end in ends)

    def forward(self, image: Tensor) -> Tensor:
        if image.ndim != 4 or image.shape[1] != self.channels or 0 in image.shape:
            raise ImageError(f"Expected images of shape (B, {self.channels}, H, W), but they are {tuple(image.shape)}.")
        x = image
        for index, (corners, join) in enumerate(zip(self.corners, self.joins, strict=True)):
            states = []
            for flips, corner in zip(_FLIPS, cast("Iterable[Recurrence]", corners), strict=True):
                flipped = x.flip(flips)
                states.append(corner(flipped, Whole(flipped)).flip(flips))
            x = join(torch.cat(states, 1), Whole(x))
            if index < len(self.joins) - 1:
                x = x.tanh()
        return x


_FLIPS: list[list[int]] = [[], [3], [2], [2, 3]]  # the axes to flip so that each corner becomes the top left one
