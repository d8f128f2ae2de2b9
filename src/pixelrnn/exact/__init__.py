"""Models in whole numbers: the same probabilities, to the last bit, on every machine."""

from pixelrnn.exact.heads import IntegerHead
from pixelrnn.exact.layers import with_bounds
from pixelrnn.exact.quantise import (
    PRECISE,
    PRECISIONS,
    Precision,
    approximate,
    approximate_condition,
    check_quantisable,
    problem,
    ranges,
    with_integer_layers,
    without_rounding,
)

__all__ = [
    "PRECISE",
    "PRECISIONS",
    "IntegerHead",
    "Precision",
    "approximate",
    "approximate_condition",
    "check_quantisable",
    "problem",
    "ranges",
    "with_bounds",
    "with_integer_layers",
    "without_rounding",
]
