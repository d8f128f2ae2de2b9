"""Generation order: which pixel comes when, and which pixels are walked together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.errors import ConfigError, unknown


@dataclass(frozen=True, eq=False)
class Order:
    """The order in which the pixels of an image are generated.

    A pixel may depend on those of a lower rank only. A run is a piece of the order that is walked together: its pixels
    are guessed and checked at once (`pixelrnn.sampling.walk`). In raster order a run is a row.

    Attributes:
        size      (H, W)
        sequence  (H * W,) flat pixel indices, row * W + column, in generation order; None: raster order
        lengths   of the runs, which add up to H * W; None: the longest pieces that go along a row, left to right

    >>> order = Order.from_ranks(torch.tensor([[0, 1, 4], [2, 3, 5]]))
    >>> order.sequence.tolist()
    [0, 1, 3, 4, 2, 5]
    >>> [run.tolist() for run in order.runs()]
    [[0, 1], [3, 4], [2], [5]]
    >>> Order.raster(2, 3).ranks.tolist()
    [[0, 1, 2], [3, 4, 5]]
    """

    size: tuple[int, int]
    sequence: Tensor | None = None
    lengths: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.lengths is not None and (
            sum(self.lengths) != self.size[0] * self.size[1] or min(self.lengths, default=0) < 1
        ):
            raise ConfigError(
                f"The runs of an order of {self.size[0]}x{self.size[1]} pixels must add up to all of them, but their "
                f"lengths are {self.lengths}."
            )

    @classmethod
    @lru_cache(maxsize=16)
    def raster(cls, height: int, width: int) -> Order:
        """Rows from top to bottom, each from left to right."""
        return cls((height, width))

    @classmethod
    def from_ranks(cls, ranks: Tensor) -> Order:
        """The order in which pixel (row, column) has the rank ranks[row, column]: (H, W), 0..H*W-1, each once.

        Raises: ConfigError if that is no order
        """
        ranks, count = ranks.cpu(), ranks.numel()
        if ranks.ndim != 2 or not torch.equal(ranks.flatten().sort().values.long(), torch.arange(count)):
            raise ConfigError(
                f"An order needs ranks (H, W) that hold each of 0..H*W-1 once, but got others, of shape "
                f"{tuple(ranks.shape)}."
            )
        return cls((ranks.shape[0], ranks.shape[1]), ranks.flatten().long().argsort())

    @classmethod
    def named(cls, name: str, height: int, width: int) -> Order:
        """An order by its name, one of `ORDERS`.

        Raises: ConfigError for an unknown name

        >>> Order.named("s-curve-0", 2, 3).ranks.tolist()
        [[0, 1, 2], [5, 4, 3]]
        """
        kind, _, number = checked_order_name(name).rpartition("-")
        if name == "raster":
            return cls.raster(height, width)
        if kind == "s-curve":
            return cls.from_ranks(_s_curve(int(number), height, width))
        chance = torch.Generator().manual_seed(int(number))
        return cls((height, width), torch.randperm(height * width, generator=chance))

    @property
    def is_raster(self) -> bool:
        """Whether this is raster order."""
        return self.sequence is None or torch.equal(self.sequence, torch.arange(len(self.sequence)))

    @cached_property
    def ranks(self) -> Tensor:
        """When each pixel is generated: (H, W) int64, 0 for the first."""
        with torch.inference_mode(False):  # it is kept, and may later be needed for gradients
            sequence = self.along.clone()
            ranks = torch.empty_like(sequence)
            ranks[sequence] = torch.arange(len(sequence))
            return ranks.view(self.size)

    def runs(self) -> Iterator[Tensor]:
        """The flat indices of each run, in generation order."""
        height, width = self.size
        if self.sequence is None and self.lengths is None:
            yield from (torch.arange(row * width, (row + 1) * width) for row in range(height))
            return
        yield from self.along.split(self._pieces() if self.lengths is None else list(self.lengths))

    def earlier_neighbours(self, kernel: int, dilation: int, itself: bool) -> Tensor:
        """Which of the places around each pixel are inside the image and earlier: (kernel**2, H, W) bool.

        >>> Order.raster(2, 2).earlier_neighbours(3, 1, itself=False)[:, 1, 0].int().view(3, 3)
        tensor([[0, 1, 1],
                [0, 0, 0],
                [0, 0, 0]], dtype=torch.int32)
        """
        key = (kernel, dilation, itself)
        if key not in self._neighbours:
            with torch.inference_mode(False):  # as for `ranks`
                ranks = self.neighbour_ranks(kernel, dilation)
                self._neighbours[key] = (ranks >= 0) & (ranks < self.ranks + int(itself))
        return self._neighbours[key]

    @cached_property
    def _neighbours(self) -> dict[tuple[int, int, bool], Tensor]:
        """Those that have been asked for: every layer of a network asks for the same."""
        return {}

    def neighbour_ranks(self, kernel: int, dilation: int) -> Tensor:
        """The ranks of the places around each pixel: (kernel**2, H, W), -1 outside the image."""
        side = kernel // 2 * dilation
        padded = F.pad(self.ranks, (side,) * 4, value=-1)
        height, width = self.size
        steps = range(0, kernel * dilation, dilation)
        return torch.stack([padded[y : y + height, x : x + width] for y in steps for x in steps])

    @property
    def along(self) -> Tensor:
        """The flat indices of all pixels in generation order: (H * W,)."""
        return torch.arange(self.size[0] * self.size[1]) if self.sequence is None else self.sequence

    def places(self) -> tuple[Tensor, Tensor]:
        """Rows and columns of all pixels in generation order, and of the pixel before each: (2, H * W) both.

        >>> [part.tolist() for part in Order.raster(1, 3).places()]
        [[[0, 0, 0], [0, 1, 2]], [[-1, 0, 0], [-1, 0, 1]]]
        """
        here = torch.stack([self.along // self.size[1], self.along % self.size[1]])
        return here, F.pad(here, (1, -1), value=-1)

    def _pieces(self) -> list[int]:
        """The lengths of the longest pieces in which every pixel is the right neighbour of the one before."""
        before, after = self.along[:-1], self.along[1:]
        starts = ((after != before + 1) | (after % self.size[1] == 0)).nonzero()[:, 0] + 1
        ends = torch.cat([starts, torch.tensor([len(self.along)])])
        return ends.diff(prepend=torch.zeros(1, dtype=ends.dtype)).tolist()


def known_first(known: Tensor, base: Order | None = None) -> Order:
    """The order that generates the known pixels first, then the others, both in the order of `base` (None: raster).

    A completion in this order is conditioned on every known pixel, as far as the network reaches.

    Shapes: known (H, W) bool

    >>> known_first(torch.tensor([[False, True], [False, True]])).ranks.tolist()
    [[2, 0], [3, 1]]
    """
    order = Order((known.shape[0], known.shape[1])) if base is None else base
    sequence = order.along
    later = (~known.flatten().cpu()[sequence]).to(torch.uint8)
    return Order(order.size, sequence[later.argsort(stable=True)])


def checked_order_name(name: str) -> str:
    """The name of an order, as it is.

    Raises: ConfigError if there is none
    """
    kind, _, number = name.rpartition("-")
    s_curve = name in S_CURVES
    random = kind == "random" and number.isascii() and number.isdecimal() and len(number) < 19  # what a seed can be
    if not (name == "raster" or s_curve or random):
        raise ConfigError(f"There is no order {name!r}. Orders: {ORDERS}.")
    return name


ORDERS = "raster, s-curve-0 to s-curve-7, random-SEED"
S_CURVES = tuple(f"s-curve-{number}" for number in range(8))


def each_order(orders: Iterable[Order | str]) -> list[Order | str]:
    """The orders one by one: "s-curves" stands for all eight.

    >>> len(each_order(["raster", "s-curves"]))
    9
    """
    return [each for order in orders for each in (S_CURVES if order == "s-curves" else (order,))]


def _s_curve(variant: int, height: int, width: int) -> Tensor:
    """The ranks of a curve that goes along one row and back along the next, in one of eight positions.

    Source: Jain, Abbeel and Pathak, Locally Masked Convolution for Autoregressive Models, 2020, arXiv 2006.12486
    """
    size = (width, height) if variant & 4 else (height, width)
    ranks = torch.arange(height * width).view(size).clone()
    ranks[1::2] = ranks[1::2].flip(1)
    ranks = ranks.flip(0) if variant & 1 else ranks
    ranks = ranks.flip(1) if variant & 2 else ranks
    return ranks.T.contiguous() if variant & 4 else ranks


def orders_of(family: str, size: tuple[int, int], chance: torch.Generator, base: Order | None = None) -> Order:
    """One order, drawn from a family, to train on.

    Families: "raster" alone; "s-curves", one of the eight; "random", any; "completion", in the order `base` (None:
    raster) what a random mask shows, and then the rest: halves, rectangles and scattered pixels, as in `known_first`

    Raises: ConfigError for an unknown family
    """
    height, width = size

    def draw(below: int) -> int:
        return int(torch.randint(below, (), generator=chance))

    if family == "raster":
        return Order.raster(height, width)
    if family == "s-curves":
        return Order.named(S_CURVES[draw(8)], height, width)
    if family == "random":
        return Order((height, width), torch.randperm(height * width, generator=chance))
    if family != "completion":
        raise unknown("family of orders", family, FAMILIES)
    if draw(4) == 0:
        return known_first(torch.rand(height, width, generator=chance) < torch.rand((), generator=chance), base)
    top, left = draw(height), draw(width)
    down, right = top + 1 + draw(height - top), left + 1 + draw(width - left)
    inside = torch.zeros(height, width, dtype=torch.bool)
    match draw(4):
        case 0:
            inside[top:] = True
        case 1:
            inside[:, left:] = True
        case _:
            inside[top:down, left:right] = True
    return known_first(inside if draw(2) else ~inside, base)


FAMILIES = ("raster", "s-curves", "random", "completion")


def family_of(name: str) -> str:
    """The family of an order by its name.

    >>> family_of("s-curve-3")
    's-curves'
    """
    return "s-curves" if name.startswith("s-curve") else name.split("-")[0]
