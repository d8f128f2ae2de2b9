"""What PixelCNN++ and PixelSNAIL are made of: shifted convolutions, and gated residual layers of them.

Source: Salimans et al., 2017, arXiv 1701.05517, section 2.4, and the authors' code; Chen et al., 2017, arXiv
1712.09763.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Reach
from pixelrnn.heads import Head
from pixelrnn.layers.condition import ConditionBias
from pixelrnn.layers.convolution import CausalConv2d, MaskedConv2d, Pointwise
from pixelrnn.layers.gates import Elu, SigmoidGate
from pixelrnn.layers.normalised import NormalisedConv2d

ITSELF = Reach(0, 0, 0, 0)
DOWN_RIGHT = Reach(1, 0, 1, 0)
"""2 x 2: the pixel, the one to the left, and both above."""
FIRST_OVER, FIRST_LEFT = Reach(1, -1, 1, 1), Reach(1, 0, 1, -1)
"""What the first convolutions see of the image: 1 x 3 in the row above, and 2 x 1 on the left."""


class GatedResidual(nn.Module):
    """Two convolutions, each behind ELUs, a gate, and the sum with the input.

    Arguments:
        reach   what the convolutions see
        aside   feature maps of a second input, 0 for none; a 1 x 1 convolution of it is added to the first one
        concat  ELUs of x and of -x, as in PixelCNN++, not of x alone

    Shapes:  x (B, width, h, w), a (B, aside, h, w) -> (B, width, h, w)
    Source:  arXiv 1701.05517, section 2.4, and the authors' `gated_resnet`
    """

    def __init__(
        self, width: int, reach: Reach, *, aside: int = 0, dropout: float, condition_width: int = 0, concat: bool = True
    ) -> None:
        super().__init__()
        self.activation, self.gate = Elu(both=concat), SigmoidGate()
        times = 2 if concat else 1
        self.first = NormalisedConv2d(times * width, width, reach)
        self.aside = NormalisedConv2d(times * aside, width, ITSELF) if aside else None
        self.second = NormalisedConv2d(times * width, 2 * width, reach, scale=0.1)
        self.condition_bias = ConditionBias(condition_width, 2 * width)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor, canvas: Canvas, a: Tensor | None = None) -> Tensor:
        y = self.first(self.activation(x), canvas)
        if a is not None:
            assert self.aside is not None
            y = self.aside(self.activation(a), canvas, y)
        y = self.condition_bias.added(self.second(self.dropout(self.activation(y)), canvas), canvas)
        return cast("Tensor", x + self.gate(y))


class FirstConv2d(nn.Module):
    """A normalised convolution of the image and of a channel of ones, which marks what is inside it.

    Shapes:  the image of the canvas, plus (B, width, h, w) or None -> (B, width, h, w)
    Differs: the weights of the channel of ones are not normalised with those of the image, and one of them is the bias
    """

    def __init__(self, channels: int, width: int, reach: Reach) -> None:
        super().__init__()
        self.image = NormalisedConv2d(channels, width, reach, bias=False)
        self.inside = CausalConv2d(1, width, reach, bias=False)
        nn.init.normal_(self.inside.weight, std=0.05)
        self.one = 1.0  # what stands for it in the channel of ones

    def forward(self, canvas: Canvas, plus: Tensor | None = None) -> Tensor:
        y = self.image(None, canvas, plus)
        return cast("Tensor", self.inside(torch.ones_like(y[:, :1]) * self.one, canvas, y))


class EluReadout(nn.Module):
    """ELU and a 1 x 1 convolution to the parameters, normalised if there are no colour masks.

    A head whose parameters need colour masks gets a masked 1 x 1 convolution of the image before.

    Shapes:  x (B, width, h, w) -> (B, params, h, w)
    """

    def __init__(self, width: int, head: Head, *, normalised: bool = True) -> None:
        super().__init__()
        masked = head.groups > 1
        self.activation = Elu()
        self.colours = MaskedConv2d(head.channels, width, 1, "A", groups=head.groups) if masked else None
        self.params: nn.Module
        if masked or not normalised:
            self.params = Pointwise(width, head.num_params, groups=head.groups)
        else:
            self.params = NormalisedConv2d(width, head.num_params, ITSELF)

    def forward(self, x: Tensor, canvas: Canvas) -> Tensor:
        if self.colours is not None:
            x = self.colours(None, canvas, x)
        return cast("Tensor", self.params(self.activation(x), canvas))
