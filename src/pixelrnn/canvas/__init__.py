"""Where a layer finds the past: `base` says what a network may ask, `whole`, `incremental` and `ordered` answer."""

from pixelrnn.canvas.base import Canvas, Prepared, Reach, Region, scale
from pixelrnn.canvas.incremental import Incremental
from pixelrnn.canvas.order import (
    FAMILIES,
    ORDERS,
    S_CURVES,
    Order,
    checked_order_name,
    each_order,
    family_of,
    known_first,
    orders_of,
)
from pixelrnn.canvas.ordered import Ordered
from pixelrnn.canvas.whole import Whole, batch_last

__all__ = [
    "FAMILIES",
    "ORDERS",
    "S_CURVES",
    "Canvas",
    "Incremental",
    "Order",
    "Ordered",
    "Prepared",
    "Reach",
    "Region",
    "Whole",
    "batch_last",
    "checked_order_name",
    "each_order",
    "family_of",
    "known_first",
    "orders_of",
    "scale",
]
