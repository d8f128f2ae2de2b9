"""A softmax over the levels of every colour.

Source: van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv 1601.06759, section 5.1 (256 values; no order
among them is assumed).
"""

from __future__ import annotations

from torch import Tensor

from pixelrnn.heads.base import Head, precise


class Categorical(Head):
    """`levels` logits per colour, laid out [levels of R | levels of G | levels of B].

    Colours are conditioned on earlier ones by the network's masks, so a pixel takes one pass per colour.
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
