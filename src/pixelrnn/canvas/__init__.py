"""Where a layer finds the past: `base` says what a network may ask, `whole` and `incremental` answer."""

from pixelrnn.canvas.base import Canvas, Prepared, Reach, Region, scale
from pixelrnn.canvas.incremental import Incremental
from pixelrnn.canvas.order import Order, known_first
from pixelrnn.canvas.whole import Whole, batch_last

__all__ = [
    "Canvas",
    "Incremental",
    "Order",
    "Prepared",
    "Reach",
    "Region",
    "Whole",
    "batch_last",
    "known_first",
    "scale",
]
