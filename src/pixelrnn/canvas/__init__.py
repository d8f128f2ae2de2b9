"""Where a layer finds the past: `base` says what a network may ask, `whole` and `walk` answer."""

from pixelrnn.canvas.base import Canvas, Prepared, Reach, Region, scale
from pixelrnn.canvas.incremental import Walk
from pixelrnn.canvas.whole import Whole, batch_last

__all__ = ["Canvas", "Prepared", "Reach", "Region", "Walk", "Whole", "batch_last", "scale"]
