"""LSTMs with a forget gate for the left and one for the upper pixel, in NumPy: MDLSTM and Spatial LSTM.

The cell of Graves and Schmidhuber, 2009, without peepholes, section 3.2 of arXiv 0705.2011 for the four corners, and
equations 6 and 7 of arXiv 1506.03478. They share nothing with the package but the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
from loops import Array, Layer, array, condition, sigmoid

from pixelrnn.layers.convolution import Pointwise
from pixelrnn.layers.recurrence import Recurrence

# mistakes in the states, or in what goes into them
STATES = [
    "one forget gate for both",
    "forget gates swapped",
    "gates in another order",
    "sigmoid for g",
    "the states of left and above swapped",
    "state to state masked by colour",
    "mask A in the input to state",
    "colours over all 5h",
    "own pixel seen",
    "1 x 1 without mask",
]


def opened(gates: Array, mistake: str) -> list[Array]:
    """Five gates before they opened -> o, f_left, f_above, i after that, and the content g."""
    o, f_left, f_above, i, g = np.split(gates, 5)
    if mistake == "forget gates swapped":
        f_left, f_above = f_above, f_left
    if mistake == "one forget gate for both":
        f_above = f_left
    if mistake == "gates in another order":
        i, o = o, i
    content = sigmoid(g) if mistake == "sigmoid for g" else np.tanh(g)
    return [*(sigmoid(each) for each in (o, f_left, f_above, i)), content]


def graves(gates: Array, left: Array, above: Array, mistake: str) -> tuple[Array, Array]:
    """s = i g + sum over d of f_d s_d, h = o tanh(s): what the gates were before they opened -> the new h and s."""
    o, f_left, f_above, i, g = opened(gates, mistake)
    if mistake == "forget gates that add up to one":
        f_left, f_above = f_left / (f_left + f_above), f_above / (f_left + f_above)
    s = i * g + f_left * left
    if mistake != "no memory of the pixel above":
        s = s + f_above * above
    return (np.tanh(o * s) if mistake == "tanh after the product" else o * np.tanh(s)), s


def spatial(gates: Array, left: Array, above: Array, mistake: str) -> tuple[Array, Array]:
    """c = g i + c_left f^c + c_above f^r, h = tanh(c o): equations 6 and 7."""
    o, f_left, f_above, i, g = opened(gates, mistake)
    c = g * i + left * f_left + above * f_above
    if mistake == "tanh before the product":
        return o * np.tanh(c), c
    if mistake == "no tanh":
        return o * c, c
    return np.tanh(c * o), c


def states(
    recurrence: Recurrence, into: Array, cell: Callable, mistake: str, *, down: int = 1, right: int = 1
) -> Array:
    """Input to state (5h, H, W) -> the states (h, H, W).

    The rows are visited from top to bottom with `down` = 1 and from bottom to top with -1, the columns likewise.
    """
    height, width = into.shape[1:]
    start_h, start_c = array(recurrence.start_h), array(recurrence.start_c)
    if mistake == "initial states ignored":
        start_h, start_c = np.zeros_like(start_h), np.zeros_like(start_c)
    if mistake == "initial states that are not zero":
        start_h, start_c = np.full_like(start_h, 0.1), np.full_like(start_c, 0.1)
    from_left, from_above = np.split(array(recurrence.weight), 2, axis=1)
    if mistake == "the states of left and above swapped":
        from_left, from_above = from_above, from_left
    if mistake == "state to state masked by colour":
        maps = len(start_h)
        allowed = Layer(Pointwise(maps, 5 * maps), (1, 1), "B", "RGB", 5).centre("B")
        from_left, from_above = from_left * allowed, from_above * allowed
    h: dict[tuple[int, int], Array] = {}
    c: dict[tuple[int, int], Array] = {}
    for row, column in itertools.product(range(height)[::down], range(width)[::right]):
        left, above = (row, column - right), (row - down, column)
        gates = into[:, row, column] + from_left @ h.get(left, start_h) + from_above @ h.get(above, start_h)
        h[row, column], c[row, column] = cell(gates, c.get(left, start_c), c.get(above, start_c), mistake)
    return np.stack([np.stack([h[row, column] for column in range(width)], 1) for row in range(height)], 1)


def input_to_state(recurrence: Recurrence, x: Array, colours: str, mistake: str = "", s: Array | None = None) -> Array:
    """A 1 x 1 layer: each of the five gates is split into colours. It is biased by V * s, if there is a condition s."""
    conv, *conditions = recurrence.inputs
    assert len(conditions) == (s is not None)
    bias = condition(SimpleNamespace(conv=conditions[0]), s, mistake) if conditions else 0.0
    kind = "A" if mistake == "mask A in the input to state" else "B"
    return Layer(conv, (1, 1), kind, colours, 1 if mistake == "colours over all 5h" else 5)(x) + bias
