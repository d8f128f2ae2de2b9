"""Encoders: from an image to its code, a vector that a model can be conditioned on."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pixelrnn.networks import MultiDirectionalLSTM


class ConvEncoder(nn.Module):
    """Three 3 x 3 convolutions, the second and third with stride 2, and two linear layers.

    Arguments:
        channels   channels of the image
        size       (H, W) of the image
        code_size  length of the code
        unit       normalise codes to unit length

    Shapes:    image (B, channels, H, W) in -1..1 -> (B, code_size)
    Source:    arXiv 1606.05328, sections 2.4 and 3.4: a convolutional encoder, whose size is not given

    >>> import torch
    >>> ConvEncoder(1, (28, 28), code_size=32, unit=False)(torch.zeros(4, 1, 28, 28)).shape
    torch.Size([4, 32])
    """

    def __init__(self, channels: int, size: tuple[int, int], code_size: int, *, unit: bool) -> None:
        super().__init__()
        self.unit = unit
        widths = [channels, 32, 64, 64]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=stride, padding=1)
            for before, after, stride in zip(widths[:-1], widths[1:], (1, 2, 2), strict=True)
        )
        rows, columns = -(-size[0] // 4), -(-size[1] // 4)
        self.hidden = nn.Linear(widths[-1] * rows * columns, 256)
        self.code = nn.Linear(256, code_size)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for layer in self.layers:
            x = F.relu(layer(x))
        return _code(self.code(F.relu(self.hidden(x.flatten(1)))), self.unit)


class RecurrentEncoder(nn.Module):
    """A `MultiDirectionalLSTM` over 2 x 2 blocks of pixels, the mean over positions, and a linear layer.

    Arguments and shapes: as for `ConvEncoder`; images may have any size

    >>> import torch
    >>> RecurrentEncoder(1, (10, 12), code_size=32, unit=True)(torch.zeros(4, 1, 10, 12)).shape
    torch.Size([4, 32])
    """

    def __init__(self, channels: int, size: tuple[int, int], code_size: int, *, unit: bool) -> None:
        super().__init__()
        self.unit = unit
        self.scan = MultiDirectionalLSTM(4 * channels, width=32, out_width=128)
        self.code = nn.Linear(128, code_size)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        blocks = F.pixel_unshuffle(F.pad(image, (0, width % 2, 0, height % 2)), 2)
        return _code(self.code(F.relu(self.scan(blocks)).mean((2, 3))), self.unit)


def _code(code: Tensor, unit: bool) -> Tensor:
    return F.normalize(code) if unit else code


ENCODERS: dict[str, type[ConvEncoder] | type[RecurrentEncoder]] = {"conv": ConvEncoder, "mdrnn": RecurrentEncoder}
