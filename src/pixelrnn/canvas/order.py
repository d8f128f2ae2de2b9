"""Generation order: which pixel comes when, and which pixels are walked together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pixelrnn.errors import ConfigError


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
    def raster(cls, height: int, width: int) -> Order:
        """Rows from top to bottom, each from left to right."""
        return cls((height, width))

    @classmethod
    def from_ranks(cls, ranks: Tensor) -> Order:
        """The order in which pixel (row, column) has the rank ranks[row, column]: (H, W), 0..H*W-1, each once.

        Raises: ConfigError if that is no order
        """
        count = ranks.numel()
        if ranks.ndim != 2 or not torch.equal(ranks.flatten().sort().values.long(), torch.arange(count)):
            raise ConfigError(
                f"An order needs ranks (H, W) that hold each of 0..H*W-1 once, but got others, of shape "
                f"{tuple(ranks.shape)}."
            )
        return cls((ranks.shape[0], ranks.shape[1]), ranks.flatten().long().argsort())

    @property
    def is_raster(self) -> bool:
        """Whether this is raster order."""
        return self.sequence is None or torch.equal(self.sequence, torch.arange(len(self.sequence)))

    @cached_property
    def ranks(self) -> Tensor:
        """When each pixel is generated: (H, W) int64, 0 for the first."""
        sequence = self.along
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

    @property
    def along(self) -> Tensor:
        """The flat indices of all pixels in generation order: (H * W,)."""
        return torch.arange(self.size[0] * self.size[1]) if self.sequence is None else self.sequence

    def _pieces(self) -> list[int]:
        """The lengths of the longest pieces in which every pixel is the right neighbour of the one before."""
        before, after = self.along[:-1], self.along[1:]
        starts = ((after != before + 1) | (after % self.size[1] == 0)).nonzero()[:, 0] + 1
        ends = torch.cat([starts, torch.tensor([len(self.along)])])
        return ends.diff(prepend=torch.zeros(1, dtype=ends.dtype)).tolist()


def known_first(known: Tensor, base: Order | None = None) -> Order:
    """The order that generates the known pixels first, then the others, both in the order of `base` (None: raster).

    A network that takes any order then sees every known pixel when it completes an image.

    Shapes: known (H, W) bool

    >>> known_first(torch.tensor([[False, True], [False, True]])).ranks.tolist()
    [[2, 0], [3, 1]]
    """
    order = Order((known.shape[0], known.shape[1])) if base is None else base
    sequence = order.along
    later = (~known.flatten()[sequence]).to(torch.uint8)
    return Order(order.size, sequence[later.argsort(stable=True)])
