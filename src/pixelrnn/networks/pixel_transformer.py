"""A causal transformer over pixels, in any generation order.

Sources: the decoder with pre-norm RMSNorm and SwiGLU of arXiv 2302.13971; a token that carries a value, where it was,
and where the next one is to be predicted: the double positional encoding of arXiv 2404.09562; rotary embeddings, along
rows and columns, after arXiv 2104.09864.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Reach, checked_order_name
from pixelrnn.fields import Dropout, Layers, OptionalWidth, Width
from pixelrnn.heads import Head
from pixelrnn.layers.condition import ConditionBias
from pixelrnn.layers.convolution import CausalConv2d, MaskedConv2d, Pointwise
from pixelrnn.networks.base import Network

ITSELF = Reach(0, 0, 0, 0)
Heads = Annotated[int, Field(ge=1, le=256)]
Window = Annotated[int, Field(ge=0)]


class RMSNorm(nn.Module):
    """Feature maps of each pixel divided by their root mean square, times a learned scale.

    Shapes: (B, width, h, w) -> (B, width, h, w)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        square = x.float().square() if x.dtype == torch.bfloat16 else x.square()
        return x * (square.mean(1, keepdim=True) + 1e-6).rsqrt().to(x.dtype) * self.scale


class TransformerBlock(nn.Module):
    """Attention to earlier pixels, then SwiGLU at each pixel, both residual.

    Queries are turned by where a pixel is, keys by where the value that they carry is, so a product of both depends on
    how far one is from the other.

    Shapes: x (B, width, h, w) -> (B, width, h, w)
    """

    def __init__(
        self, width: int, heads: int, size: int, hidden: int, window: int, dropout: float, condition_width: int
    ) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm_attention, self.norm_hidden = RMSNorm(width), RMSNorm(width)
        self.projections = CausalConv2d(width, 3 * heads * size, ITSELF, bias=False)
        self.join = CausalConv2d(heads * size, width, ITSELF, bias=False)
        self.widen = CausalConv2d(width, 2 * hidden, ITSELF, bias=False)
        self.narrow = CausalConv2d(hidden, width, ITSELF, bias=False)
        self.condition_bias = ConditionBias(condition_width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, canvas: Canvas, turns_here: Tensor, turns_there: Tensor) -> Tensor:
        x = self.condition_bias.added(x, canvas)
        query, key, value = self.projections(self.norm_attention(x), canvas).chunk(3, 1)
        query, key = turned(query, turns_here, self.heads), turned(key, turns_there, self.heads)
        attended = canvas.attend(self, query, key, value.to(query.dtype), self.heads, self.window)
        x = x + self.dropout(self.join(attended, canvas))
        gate, content = self.widen(self.norm_hidden(x), canvas).chunk(2, 1)
        return x + self.dropout(self.narrow(F.silu(gate) * content, canvas))


class PixelTransformer(Network):
    r"""A token for each pixel: the value of the pixel before it in generation order, where that was, and where it is.

    Without a window every pixel sees all earlier ones, in whatever order they come, so a model that was trained on many
    orders completes an image from all of its known pixels. Later colours of a pixel see its earlier ones by a layer
    behind the blocks.

    Arguments:
        head             the output distribution
        condition_width  feature maps of the condition map, 0 for none; it adds a bias before every block
        layers           blocks
        width            feature maps
        heads            attention heads, of width / heads feature maps each, rounded up to a multiple of 4
        hidden           feature maps between the two layers at each pixel; 0: 8/3 of the width, a multiple of 8
        window           pixels that a pixel attends to in a block, itself and the last ones before it in generation
                         order (sliding windows as in arXiv 2004.05150): memory and time then grow with the pixels, not
                         with their square; 0: all of them
        dropout          on what a block adds, in training only
        order            the name of the generation order when no other is asked for

    Shapes:  canvas over an image (B, channels, H, W) in -1..1 -> (B, params, H, W)
    Differs: from arXiv 2404.09562 in that positions turn queries and keys (of a key, where its value was), besides
             being added to the tokens

    >>> import pixelrnn
    >>> model = pixelrnn.build("pixel-transformer", size=(5, 5), levels=2, layers=1, width=8, heads=2)
    >>> images = torch.zeros(3, 1, 5, 5, dtype=torch.uint8)
    >>> model.log_prob(images, order=pixelrnn.canvas.Order.from_ranks(torch.randperm(25).view(5, 5))).shape
    torch.Size([3])
    """

    orders = "any"
    remembers = True

    def __init__(
        self,
        head: Head,
        condition_width: int = 0,
        *,
        layers: Layers,
        width: Width,
        heads: Heads = 4,
        hidden: OptionalWidth = 0,
        window: Window = 0,
        dropout: Dropout = 0.0,
        order: str = "raster",
    ) -> None:
        super().__init__()
        self.own_order = checked_order_name(order)
        self.size = -(-width // (4 * heads)) * 4  # of a head: rows and columns turn pairs of feature maps
        hidden = hidden or -(-width // 3) * 8
        self.window = window
        self.value = CausalConv2d(head.channels + 1, width, ITSELF)
        self.place = CausalConv2d(8 * _FREQUENCIES, width, ITSELF)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, self.size, hidden, window, dropout, condition_width) for _ in range(layers)
        )
        self.norm = RMSNorm(width)
        self.features = CausalConv2d(width, width, ITSELF)
        self.colours = MaskedConv2d(head.channels, width, 1, "A", groups=head.groups) if head.groups > 1 else None
        self.params = Pointwise(width, head.num_params, groups=head.groups)

    def forward(self, canvas: Canvas) -> Tensor:
        pixels, positions = canvas.before(), canvas.positions(self, partial(_positions, head_size=self.size))
        first, waves, turns_here, turns_there = positions.split([1, 8 * _FREQUENCIES, self.size, self.size], 1)
        first = first.expand(len(pixels), -1, -1, -1)
        x = self.value(torch.cat([pixels, first], 1), canvas) + self.place(waves, canvas)  # (B, width, h, w)
        for block in self.blocks:
            x = block(x, canvas, turns_here, turns_there)
        x = self.features(self.norm(x), canvas)
        if self.colours is not None:
            x = self.colours(None, canvas, x)
        return self.params(F.silu(x), canvas)

    def field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The receptive field of the parameters at (row, column) in its own order: (height, width) bool."""
        ranks = self.order(height, width).ranks
        here = ranks[row, column]
        return (ranks < here) & (ranks >= here - 1 - self._reach(height, width))

    def _reach(self, height: int, width: int) -> int:
        """How many tokens before its own the parameters of a pixel see."""
        return len(self.blocks) * ((self.window or height * width) - 1)

    def condition_field(self, row: int, column: int, height: int, width: int) -> Tensor:
        """The positions of the condition map that the parameters at (row, column) depend on: (height, width) bool."""
        ranks = self.order(height, width).ranks
        here = ranks[row, column]
        return (ranks <= here) & (ranks >= here - self._reach(height, width))


def turned(x: Tensor, turns: Tensor, heads: int) -> Tensor:
    """Pairs of feature maps of every head, each turned by an angle.

    Shapes: x (B, heads * size, h, w), turns (1, size, h, w) cosines and then sines -> as x
    """
    one, other = x.unflatten(1, (heads, -1)).chunk(2, 2)
    cosine, sine = turns.chunk(2, 1)
    return torch.cat([one * cosine - other * sine, one * sine + other * cosine], 2).flatten(1, 2)


def _positions(here: Tensor, there: Tensor, size: tuple[int, int], *, head_size: int) -> Tensor:
    """Whether a pixel is the first; waves of where it is and where the one before it was; the turns of both."""
    turns = [_angles(places, 1.0, head_size // 4) for places in (here, there)]
    waves = [_angles(places, 2.0, _FREQUENCIES) for places in (here, there)]
    return torch.cat([(there[:1] < 0).double(), *waves, *turns])


def _angles(places: Tensor, fastest: float, count: int) -> Tensor:
    """Cosines and then sines of `count` frequencies, of rows and then of columns (2, n): (4 * count, n)."""
    frequencies = fastest * _LARGEST ** -(torch.arange(count, device=places.device, dtype=torch.float64) / count)
    angles = (places[:, None] * frequencies[None, :, None]).flatten(0, 1)
    return torch.cat([angles.cos(), angles.sin()])


_FREQUENCIES, _LARGEST = 8, 100.0
