"""A Bernoulli distribution per channel, for binary images.

Source: van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv 1601.06759, table 1 (binary MNIST).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.heads.base import Head, precise


class Bernoulli(Head):
    """One logit per channel, whose sigmoid is the probability of level 1. The number of levels must be 2.

    >>> head = Bernoulli(channels=1, levels=2)
    >>> logits = torch.zeros(4, head.num_params, 28, 28)
    >>> images = torch.ones(4, 1, 28, 28, dtype=torch.uint8)
    >>> bool((head.log_prob(logits, images).exp() == 0.5).all())  # a logit of 0 is a probability of one half
    True
    """

    @property
    def num_params(self) -> int:
        return self.channels

    @property
    def groups(self) -> int:
        return self.channels

    def log_prob(self, params: Tensor, images: Tensor) -> Tensor:
        logits = precise(params)
        return F.logsigmoid(torch.where(images.bool(), logits, -logits))

    def pmf(self, params: Tensor, pixels: Tensor, channel: int) -> Tensor:
        logit = params[:, channel].double()
        return torch.stack([(-logit).sigmoid(), logit.sigmoid()], -1)
