"""The canvas of the parallel pass: every position at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.canvas.base import Canvas, Convolvable, LocallyMasked, Made, MakePositions, Reach, Scannable
from pixelrnn.canvas.locally_masked import locally_masked
from pixelrnn.canvas.order import Order


class Whole(Canvas):
    """The parallel pass: every position of `image` (B, C, H, W) at once, and nothing is remembered.

    condition_map (B, maps, H, W) is what the image is conditioned on, for a network that asks for it; order is the
    generation order, for a network that takes any.

    >>> import torch
    >>> Whole(torch.ones(1, 1, 2, 2)).look(Reach(1, -1, 1, 0))  # the row above, with one more column on the left
    tensor([[[[0., 0., 0.],
              [0., 1., 1.]]]])
    """

    def __init__(self, image: Tensor, condition_map: Tensor | None = None, order: Order | None = None) -> None:
        super().__init__(condition_map, order)
        self.image = image
        self._stride = 1
        self._of_row: dict[Hashable, list[Tensor]] = {}

    def convolve(self, conv: Convolvable, x: Tensor | None, plus: Tensor | None, overwrite: bool) -> Tensor:
        return conv.whole(self.look(conv.reach) if x is None else self.window(conv, x, conv.reach), plus)

    def look(self, reach: Reach) -> Tensor:
        assert self._stride == 1, "a coarser level has no image"
        return F.pad(self.image, (reach.left, reach.right, reach.up, reach.down))

    def window(self, key: Hashable, x: Tensor, reach: Reach) -> Tensor:
        self._claim(key)
        return x if reach.none else _grown(x, reach)

    def per_row(self, key: Hashable, run: Callable[[], list[Tensor]]) -> list[Tensor]:
        self._claim(key)
        self._of_row[key] = run()
        return self._of_row[key]

    def of_row(self, key: Hashable) -> list[Tensor]:
        return self._of_row[key]

    def scan(self, recurrence: Scannable, near: list[Tensor]) -> Tensor:
        self._claim(recurrence)
        return recurrence.sweep(near)

    def scan_both(self, rightward: Scannable, leftward: Scannable, x: Tensor) -> tuple[Tensor, Tensor]:
        self._claim(rightward)
        ways = rightward.sweep_both(leftward, rightward.near(x, self), leftward.near(x, self))
        return ways[0], self.row_late(leftward, lambda _: ways[1], x, leftward.width)

    def row_late(self, key: Hashable, run: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
        self._claim(key)
        return _grown(run(x), Reach(1, -1, 0, 0))

    def coarser(self, key: Hashable, x: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        self._claim(key)
        self._stride *= 2
        coarse = run(x[:, :, ::2, ::2])
        self._stride //= 2
        return F.pixel_shuffle(_four_last(coarse), 2)[:, :, : x.shape[2], : x.shape[3]]

    def condition_map(self) -> Tensor | None:
        s = self._condition_map
        return s if s is None else s[:, :, :: self._stride, :: self._stride]

    def before(self) -> Tensor:
        return self._moved(self.image)

    def positions(self, key: Hashable, make: MakePositions) -> Tensor:
        self._claim((key, "positions"))
        size = (self.image.shape[2], self.image.shape[3])
        order = self.order or Order.raster(*size)
        here, there = (each.to(self.image.device) for each in order.places())
        maps = make(here, there, size)
        maps = maps if order.is_raster else maps[:, order.ranks.flatten().to(maps.device)]
        return maps.to(self.image.dtype).unflatten(1, size)[None]

    def earlier(self, key: Hashable, x: Tensor) -> Tensor:
        self._claim(key)
        return self._moved(x)

    def _moved(self, x: Tensor) -> Tensor:
        """All pixels, moved by one in generation order."""
        if self.order is None or self.order.is_raster:
            return F.pad(x.flatten(2), (1, -1)).view_as(x)
        sequence = self.order.along.to(x.device)
        return F.pad(x.flatten(2)[:, :, sequence], (1, -1))[:, :, sequence.argsort()].view_as(x)

    def convolve_earlier(self, conv: LocallyMasked, x: Tensor | None) -> Tensor:
        self._claim(conv)
        x = self.image if x is None else x
        order = self.order or Order.raster(*x.shape[2:])
        seen = order.earlier_neighbours(conv.weight.shape[2], conv.step, conv.itself)
        return locally_masked(x, conv.weight, conv.bias, seen, conv.step)

    def attend(self, key: Hashable, query: Tensor, keys: Tensor, values: Tensor, heads: int, window: int = 0) -> Tensor:
        """In generation order, with a causal mask."""
        self._claim(key)
        order = None if self.order is None or self.order.is_raster else self.order.along.to(query.device)
        parts = [each.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3) for each in (query, keys, values)]
        # Feature maps innermost, or PyTorch would keep the weights of all pairs of pixels, as it does where values have
        # another size than keys.
        parts = [(each if order is None else each[:, :, order]).contiguous() for each in parts]
        if 0 < window < parts[0].shape[2]:
            found = _attend_nearby(parts, window)
        else:
            found = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        if order is not None:
            found = found[:, :, order.argsort()]
        return found.transpose(2, 3).reshape(values.shape)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        return make()


def _attend_nearby(parts: list[Tensor], window: int) -> Tensor:
    """Attention of every pixel to itself and to the window - 1 before it, block by block of so many pixels: those of a
    block see it and the block before, so what is kept grows with the pixels times the window.

    Shapes: queries, keys, values (B, heads, pixels, size) each, in generation order -> as the values
    """
    count = parts[0].shape[2]
    blocks = -(-count // window)
    padded = [F.pad(each, (0, 0, 0, blocks * window - count)).unflatten(2, (blocks, window)) for each in parts]
    keys, values = (torch.cat([F.pad(each, (0, 0, 0, 0, 1, -1)), each], 3) for each in padded[1:])
    here = torch.arange(window, device=keys.device)[:, None]
    there = torch.arange(-window, window, device=keys.device)[None]
    seen = ((there <= here) & (there > here - window)).repeat(blocks, 1, 1)
    seen[0] &= there >= 0  # there is no block before the first
    found = F.scaled_dot_product_attention(padded[0], keys, values, attn_mask=seen)  # (B, heads, blocks, window, size)
    return found.flatten(2, 3)[:, :, :count]


def batch_last(x: Tensor) -> bool:
    """True if the batch is innermost in memory, as recurrences leave it."""
    return x.stride(0) == 1 and len(x) > 1


def _four_last(x: Tensor) -> Tensor:
    """Maps of four pixels one after the other, as `pixel_shuffle` needs them: the four of each map together."""
    return x.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2)


def _grown(x: Tensor, reach: Reach) -> Tensor:
    """A map with zeros around it, or cropped; the batch stays innermost in memory if it is."""
    if batch_last(x):
        return F.pad(x.permute(1, 2, 3, 0), (0, 0, *reach[2:], *reach[:2])).permute(3, 0, 1, 2)
    return F.pad(x, (*reach[2:], *reach[:2]))
