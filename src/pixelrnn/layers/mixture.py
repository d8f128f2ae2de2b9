"""The output layer that maps features to the parameters of a mixture of conditional Gaussian scale mixtures (MCGSM).

Source: Theis and Bethge, Generative Image Modeling Using Spatial LSTMs, 2015, arXiv 1506.03478, equations 4 and 5;
Theis, Hosseini and Bethge, 2012.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas
from pixelrnn.heads import MCGSM
from pixelrnn.layers.condition import ConditionBias
from pixelrnn.layers.convolution import CausalConv2d


class ScaleMixture(nn.Module):
    r"""Means, weights and precisions from features v, for every colour channel:

        mean of component c                       a_c . v + u_c
        log-weight of component c at scale s      eta_cs - 1/2 e^alpha_cs  sum over n of beta_cn^2 (b_n . v)^2
        log-precision of component c at scale s   alpha_cs

    Arguments:
        head             an MCGSM, which sets the numbers of components and scales
        predict          convolution from v to the means, colours * components feature maps: a and u
        describe         convolution from v to colours * features feature maps: b
        features         n, per colour
        condition_width  feature maps of the condition map, 0 for none; biases computed from it are added to a . v + u
                         and to b . v

    Shapes:  v (B, maps, h, w), or None for the image itself -> (B, head.num_params, h, w)
    Source:  arXiv 1506.03478, equations 4 and 5

    >>> from pixelrnn.canvas import Whole
    >>> from pixelrnn.layers.convolution import MaskedConv2d
    >>> head = MCGSM(channels=1, levels=256, components=8, scales=4)
    >>> means, described = (MaskedConv2d(1, maps, 5, "A") for maps in (8, 16))
    >>> ScaleMixture(head, means, described, features=16)(None, Whole(torch.zeros(2, 1, 8, 8))).shape
    torch.Size([2, 72, 8, 8])
    """

    def __init__(
        self, head: MCGSM, predict: CausalConv2d, describe: CausalConv2d, features: int, condition_width: int = 0
    ) -> None:
        super().__init__()
        self.predict, self.describe = predict, describe
        self.describe.bias = None  # the energy is a quadratic form of v
        self.bias_means, self.bias_features = (
            ConditionBias(condition_width, predict.out_channels),
            ConditionBias(condition_width, describe.out_channels),
        )
        colours, components, scales = head.channels, head.components, head.scales
        self.sizes = (colours, components, features)
        self.eta = nn.Parameter(torch.zeros(colours, components, scales))
        # Initial standard deviations: from a quarter of the range of pixel values down to a hundredth of it.
        self.alpha = nn.Parameter(torch.linspace(1.4, 7.8, scales).expand(colours, components, scales).clone())
        self.beta = nn.Parameter(torch.empty(colours, components, features))
        nn.init.normal_(self.beta, 0.0, 0.02)  # small, so that the energy does not rule out the finest scale at once

    def forward(self, v: Tensor | None, canvas: Canvas) -> Tensor:
        colours, components, features = self.sizes
        with torch.autocast(self.eta.device.type, enabled=False):  # half precision would round the means to few levels
            v = None if v is None else v.to(self.eta.dtype)
            means = self.predict(v, canvas, self.bias_means(canvas))
            described = self.describe(v, canvas, self.bias_features(canvas))
            batch, _, *size = means.shape
            means = means.reshape(batch, colours, components, *size)
            energy = torch.einsum("kcn,bknhw->bkchw", self.beta**2, described.unflatten(1, (colours, features)) ** 2)
            alpha = self.alpha[None, :, :, :, None, None]
            weights = self.eta[None, :, :, :, None, None] - 0.5 * alpha.exp() * energy[:, :, :, None]
            precisions = alpha.expand(batch, -1, -1, -1, *size)
            parts = [weights.flatten(2, 3), means, precisions.flatten(2, 3)]
            return torch.cat(parts, 2).flatten(1, 2)
