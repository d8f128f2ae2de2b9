"""The settings that sampling, completion and streaming share, checked once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelrnn.canvas import Order
from pixelrnn.checks import at_least
from pixelrnn.errors import ConfigError, unknown

METHODS = ("auto", "cached", "compiled", "naive")


@dataclass(frozen=True)
class SamplingSettings:
    """How images are drawn; `PixelModel.sample` explains each.

    Raises: ConfigError for a value out of range

    >>> SamplingSettings(temperature=-1.0)
    Traceback (most recent call last):
        ...
    pixelrnn.errors.ConfigError: The temperature must be a number, 0 or more, not -1.0.
    """

    temperature: float = 1.0
    seed: int | None = None
    method: str = "auto"
    span: int | None = None
    batch_size: int = 64
    guidance: float = 1.0
    label: Any = None
    vector: Any = None
    condition_map: Any = None
    order: Order | str | None = None
    start: int = 0

    def __post_init__(self) -> None:
        for name, value in (("temperature", self.temperature), ("guidance", self.guidance)):
            number = isinstance(value, int | float | np.number)
            if not (number and math.isfinite(value) and value >= 0):
                raise ConfigError(f"The {name} must be a number, 0 or more, not {value!r}.")
        if self.method not in METHODS:
            raise unknown("sampling method", self.method, METHODS)
        at_least("batch_size", self.batch_size, 1)
        at_least("start", self.start, 0)
        if self.span is not None:
            at_least("span", self.span, 1)
        if self.seed is not None:
            at_least("The seed", self.seed, 0)

    @property
    def condition(self) -> tuple[Any, Any, Any]:
        """Label, vector and map, as given."""
        return self.label, self.vector, self.condition_map
