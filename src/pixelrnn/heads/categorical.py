"""A softmax over the levels of every channel.

Source: van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv 1601.06759, section 5.1 (256 values, whose
order the model has to learn).
"""

from __future__ import annotations

from torch import Tensor

from pixelrnn.heads.base import Head, precise


class Categorical(Head):
    """`levels` logits per channel, laid out as [levels of R | levels of G | levels of B].

    The network's masks condition each channel on the earlier ones, so sampling a pixel takes one network pass per
    channel.

    >>> import torch
    >>> head = Categorical(channels=3, levels=256)
    >>> head.num_params
    768
    >>> head.log_prob(torch.zeros(2, 768, 32, 32), torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape
    torch.Size([2, 3, 32, 32])
    >>> head.pmf(torch.zeros(2, 768, 1, 1), torch.zeros(2, 3, 1, 1), channel=2).shape
    torch.Size([2, 1, 1, 256])
    """

    @property
    def num_params(self) -> int:
        return self.channels * self.levels

    @property
    def groups(self) -> int:
        return self.channels

    def log_prob(self, params: Tensor, images: Tensor) -> Tensor:
        logits = precise(params).reshape(len(params), self.channels, self.levels, *params.shape[2:])  # (B, C, K, H, W)
        return logits.log_softmax(2).gather(2, images.long().unsqueeze(2)).squeeze(2)

    def pmf(self, params: Tensor, pixels: Tensor, channel: int) -> Tensor:
        logits = params[:, channel * self.levels : (channel + 1) * self.levels]
        return logits.double().softmax(1).movedim(1, -1)
