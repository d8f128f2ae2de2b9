"""How the values of a source become the levels that a model sees.

A model of L levels predicts integers 0..L-1. Bytes are quantised by floor(v / source * L); two levels are
made by binarisation. Three methods are in use and give different likelihoods, so reports name the method.

Source:  stochastic binarisation as in Salakhutdinov and Murray, On the Quantitative Analysis of
         Deep Belief Networks, 2008: a pixel is 1 with probability v / (source - 1)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from pixelrnn.data.images import Pixels, PixelStore
from pixelrnn.data.on_disk import OnDemand
from pixelrnn.data.pixels import check_values
from pixelrnn.errors import ConfigError, ImageError, unknown

if TYPE_CHECKING:
    import torch

BINARISATIONS = ("stochastic", "fixed", "threshold")
BINARISATION_SEED = 20160125

_CHUNK = 1 << 22  # pixels drawn at once: the random numbers of one chunk take 32 MiB


@dataclass(frozen=True)
class Levels:
    """How source values 0..values-1 become the levels 0..levels-1 that a model sees.

    values    number of values in the source, 2..256 (256 for bytes, 17 for the digits)
    levels    number of levels that the model sees, 2..values
    binarise  one of BINARISATIONS, only for 2 levels of a source with more; None there means "stochastic"

    stochastic  every training batch is drawn anew; validation and test are drawn once, as for "fixed"
    fixed       every split is drawn once, with a generator of its own
    threshold   1 where v / (source - 1) > 0.5

    Training:  `start = raw if levels.redrawn else levels.fixed(raw)`, then `levels.draw(batch, numbers)`
               for every batch of `start`, with other random numbers each time.
    Raises:    ConfigError for a value out of range or an unknown binarisation

    >>> Levels(values=256, levels=4).fixed(np.array([0, 63, 64, 255], dtype=np.uint8))
    array([0, 0, 1, 3], dtype=uint8)
    """

    values: int
    levels: int
    binarise: str | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.values <= 256:
            raise ConfigError(f"A source has 2 to 256 values, but got {self.values}.")
        if not 2 <= self.levels <= 256:
            raise ConfigError(f"A model has 2 to 256 levels, but got {self.levels}. Choose a number in that range.")
        if self.levels > self.values:
            raise ConfigError(
                f"{self.levels} levels were requested, but the data has only {self.values} values. "
                f"Choose at most {self.values} levels."
            )
        if self.binarise is not None and self.binarise not in BINARISATIONS:
            raise unknown("binarisation", self.binarise, BINARISATIONS)
        if self.binarise is not None and self.levels > 2:
            raise ConfigError(
                f"Binarisation {self.binarise!r} needs 2 levels, but got {self.levels}. "
                "Set levels to 2 or leave the binarisation out."
            )
        if self.levels == 2:
            # Two values need no binarisation: drawing would not change them.
            way = None if self.values == 2 else self.binarise or "stochastic"
            object.__setattr__(self, "binarise", way)

    @property
    def redrawn(self) -> bool:
        """Whether each training batch is drawn anew from the source values."""
        return self.binarise == "stochastic"

    @property
    def protocol(self) -> str:
        """A short phrase that reports print next to a likelihood."""
        if self.binarise == "stochastic":
            return f"binarised stochastically; validation and test drawn once, seed {BINARISATION_SEED}"
        if self.binarise == "fixed":
            return f"binarised once, seed {BINARISATION_SEED}"
        if self.binarise == "threshold":
            return "binarised by threshold 0.5"
        return f"{self.levels} levels " + ("as they are" if self.levels == self.values else "by floor")

    @overload
    def fixed(self, images: npt.NDArray[Any]) -> Pixels: ...

    @overload
    def fixed(self, images: OnDemand) -> PixelStore: ...

    def fixed(self, images: npt.NDArray[Any] | OnDemand) -> PixelStore:
        """The levels of one whole split, always the same: for validation and test, and for training if not redrawn.

        A drawn binarisation is `default_rng(BINARISATION_SEED).random(images.shape) < images / (source - 1)`:
        call it once on a whole split, as part of a split would be drawn differently. The result is kept in memory.
        If nothing is drawn, images that are read on demand stay so: their values are checked and become levels then.

        Shapes:  images (N, ...) integers 0..values-1 -> the same shape, uint8 0..levels-1
        Raises:  ImageError if a value is not an integer in 0..values-1
        """
        if not np.issubdtype(images.dtype, np.integer):
            raise ImageError(f"Images must hold integers 0..{self.values - 1}, but got {images.dtype}.")
        if self.levels == self.values == 256 and images.dtype == np.uint8:
            return images  # nothing to do, and a memory-mapped array stays on disk
        drawn = self.binarise in ("stochastic", "fixed")
        if isinstance(images, OnDemand) and not drawn:
            return images.through(self._table)
        result = np.empty(images.shape, dtype=np.uint8)
        generator = np.random.default_rng(BINARISATION_SEED)
        rows = max(1, _CHUNK // max(1, int(np.prod(images.shape[1:]))))
        for start in range(0, len(images), rows):
            part = np.asarray(images[start : start + rows])
            check_values(part, self.values)
            # A generator is one stream, so drawing chunk by chunk equals one draw of the whole shape.
            levels = generator.random(part.shape) < part / (self.values - 1) if drawn else self._table[part]
            result[start : start + rows] = levels
        return result

    def draw(self, images: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """A training batch: drawn anew if `redrawn`, otherwise returned unchanged, as it already comes from `fixed`.

        Shapes:  images (B, ...) uint8 and as many random numbers in 0..1 -> the same shape, uint8 0..levels-1
        Raises:  ImageError if a value is too large: source values where levels were expected
        """
        import torch

        limit = self.values if self.redrawn else self.levels
        if images.numel() and int(images.max()) >= limit:
            raise ImageError(
                f"A batch holds the value {int(images.max())}, but 0..{limit - 1} was expected. "
                "Make the training set with Levels.fixed unless Levels.redrawn."
            )
        if not self.redrawn:
            return images
        return (numbers.view(images.shape) < images.to(torch.float32) / (self.values - 1)).to(torch.uint8)

    @property
    def _table(self) -> Pixels:
        """The level of each value of the source, if nothing is drawn: (source,) uint8."""
        values = np.arange(self.values)
        if self.binarise == "threshold":
            return (values / (self.values - 1) > 0.5).astype(np.uint8)
        # In integers: v / source * levels in floating point can fall just below a whole number.
        return (values * self.levels // self.values).astype(np.uint8)
