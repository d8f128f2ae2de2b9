"""Networks that no paper has, for contracts that no network in the table needs yet; and a chooser with a state."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Order, Reach
from pixelrnn.heads import Head
from pixelrnn.layers.convolution import MaskedConv2d, Pointwise
from pixelrnn.model import PixelModel
from pixelrnn.networks.base import Network
from pixelrnn.sampling.choosers import Pmf, Span


class AnyOrder(Network):
    """Logits that are linear in all pixels of a lower rank and in the earlier colours of the pixel itself."""

    orders = "any"

    def __init__(self, head: Head, condition_width: int = 0, *, height: int, width: int) -> None:
        super().__init__()
        self.channels, self.height, self.width = head.channels, height, width
        pixels = height * width
        self.weight = nn.Parameter(torch.randn(pixels, head.num_params, pixels, head.channels) * 1.5)
        self.bias = nn.Parameter(torch.randn(pixels, head.num_params))

    def forward(self, canvas: Canvas) -> Tensor:
        image = canvas.look(Reach(0, 0, 0, 0)).flatten(2)  # (B, C, H * W)
        rank = (canvas.order or Order.raster(self.height, self.width)).ranks.flatten()
        per_colour = self.weight.shape[1] // self.channels
        colour = torch.arange(self.weight.shape[1]) // per_colour
        earlier = (rank[None] < rank[:, None])[:, None, :, None].expand(self.weight.shape)
        itself = torch.eye(len(rank), dtype=torch.bool)[:, None, :, None]
        before = (torch.arange(self.channels)[None] < colour[:, None])[None, :, None]
        params = torch.einsum("pkqc,bcq->bkp", self.weight * (earlier | (itself & before)), image)
        return (params + self.bias.T).unflatten(2, (self.height, self.width))

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        return torch.arange(height * width).reshape(height, width) < row * width + column


class TwoResolutions(Network):
    """A masked convolution, a coarser level with one of its own and a condition, and a sum of both.

    The four pixels that a coarse pixel covers get different maps of it.
    """

    def __init__(self, head: Head, condition_width: int = 0, *, width: int = 6) -> None:
        super().__init__()
        groups = head.groups
        self.first = MaskedConv2d(head.channels, width, 3, "A", groups=groups)
        self.coarse = MaskedConv2d(width, width, 3, "B", groups=groups)
        self.coarser_still = MaskedConv2d(width, width, 3, "B", groups=groups)
        self.bias = nn.Conv2d(condition_width, width, 1, bias=False) if condition_width else None
        self.last = Pointwise(width, head.num_params, groups=groups)

    def forward(self, canvas: Canvas) -> Tensor:
        x = self.first(None, canvas)

        def half(y: Tensor) -> Tensor:
            y = self.coarse(y, canvas).relu()
            s = canvas.condition_map()
            y = y if s is None or self.bias is None else y + self.bias(s)
            y = y + canvas.coarser((self, "still"), y, lambda z: four(self.coarser_still(z, canvas).tanh()))
            return four(y)

        def four(y: Tensor) -> Tensor:
            return torch.cat([y, 2 * y, -y, y / 2], 1)

        return self.last(x + canvas.coarser((self, "half"), x, half), canvas)

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        raise NotImplementedError


def with_network(model: PixelModel, network: Network) -> PixelModel:
    """The model with another network inside."""
    model.network = network
    return model.double().eval()


class Stream:
    """A chooser with a state, as a decoder has: it pops the symbols of every image from a list, in generation order.

    `symbols` (B, positions) are those of open positions; `popped` counts how often each position was popped.
    """

    def __init__(self, symbols: Tensor, groups: int) -> None:
        self.left = [list(row) for row in symbols.tolist()]
        self.groups = groups
        self.popped: list[list[tuple[int, int]]] = [[] for _ in self.left]

    def choose(self, span: Span, pmf: Pmf) -> Tensor:
        """Pop until the first symbol that contradicts its guess."""
        pixels = span.guess.clone()
        for channel in span.channels:
            assert pmf(pixels, channel).shape[:2] == span.open[:, channel].shape
        images = range(len(pixels)) if span.images is None else span.images.tolist()
        per_group = pixels.shape[1] // self.groups
        for line, image in enumerate(images):
            for column, group in ((w, g) for w in range(len(span.where)) for g in range(self.groups)):
                channels = [c for c in range(group * per_group, (group + 1) * per_group) if c in span.channels]
                if not any(span.open[line, channel, column] for channel in channels):
                    continue
                for channel in channels:
                    pixels[line, channel, column] = self.left[image].pop(0)
                    self.popped[image].append((int(span.where[column]), channel))
                if (pixels[line, channels, column] != span.guess[line, channels, column]).any():
                    break
        return pixels

    def assert_popped_once(self, expected: list[list[tuple[int, int]]]) -> None:
        """Every open position of every image exactly once, in order, and nothing is left."""
        for image, popped in enumerate(self.popped):
            assert not [place for place, times in Counter(popped).items() if times > 1], f"image {image}: popped twice"
            assert popped == expected[image], f"image {image}: out of order"
            assert not self.left[image], f"image {image}: not all of the stream was read"
