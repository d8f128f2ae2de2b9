"""Row LSTM and Diagonal BiLSTM in NumPy, from sections 3.1 to 3.5, equation 3 and figure 5 of the PixelRNN paper.

They share nothing with the package but the weights. Inputs outside the image are zero, states outside the image are the
initial ones, the same everywhere. For the Diagonal BiLSTM the map is skewed in earnest.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from loops import Array, Layer, pointwise, relu, residual_blocks, sigmoid
from torch import nn

from pixelrnn.layers.convolution import Pointwise
from pixelrnn.layers.recurrence import Recurrence


class States(NamedTuple):
    """The weights of one LSTM: input to state, state to state (4h, h) for each tap, the initial states."""

    into: Layer
    taps: list[Array]
    start_h: Array
    start_c: Array


def states_of(recurrence: Recurrence, kernel: int, taps: int, colours: str, mistake: str) -> States:
    (conv,) = recurrence.inputs
    width = len(recurrence.start_h)
    kind = "A" if mistake == "mask A in the input to state" else "B"
    # Each of the four gates is split into colours, not all 4h maps at once.
    into = Layer(conv, (1, kernel), kind, colours, 1 if mistake == "colours over all 4h" else 4)
    weights = np.split(recurrence.weight.detach().numpy(), taps, axis=1)
    if mistake == "state to state masked by colour":
        allowed = Layer(Pointwise(width, 4 * width), (1, 1), "B", colours, 4).centre("B")
        weights = [weight * allowed for weight in weights]
    if mistake == "state to state masked along the row":
        weights = [weight * (k <= taps // 2) for k, weight in enumerate(weights)]
    if mistake == "taps in the other order":
        weights = weights[::-1]
    starts = [start.detach().numpy() for start in (recurrence.start_h, recurrence.start_c)]
    if mistake == "initial states ignored":
        starts = [np.zeros_like(start) for start in starts]
    return States(into, weights, *starts)


def cell(gates: Array, c_before: Array, mistake: str) -> tuple[Array, Array]:
    """Equation 3: what the gates were before they were opened, and the old c -> the new h and c; maps first."""
    o, f, i, g = np.split(gates, 4)
    if mistake == "gates in another order":
        i, f, o, g = np.split(gates, 4)
    o, f, i = sigmoid(o), sigmoid(f), sigmoid(i)
    g = sigmoid(g) if mistake == "sigmoid for g" else np.tanh(g)
    c = f * c_before + i * g
    return (np.tanh(o * c) if mistake == "tanh(o c)" else o * np.tanh(c)), c


def row_states(states: States, x: Array, mistake: str) -> Array:
    """Section 3.1: the row above is finished, a k x 1 kernel moves over its states."""
    into = states.into(x)
    height, width = x.shape[1:]
    h, c = (np.empty((len(states.start_h), height, width)) for _ in "hc")
    outside = np.zeros_like(states.start_h) if mistake == "zeros beyond the ends of a row" else states.start_h
    for row, column in itertools.product(range(height), range(width)):
        gates = into[:, row, column]
        for k, weight in enumerate(states.taps):
            there = column + k - len(states.taps) // 2
            above = h[:, row - 1, there] if 0 <= there < width else outside
            gates = gates + weight @ (above if row else states.start_h)
        c_before = c[:, row - 1, column] if row else states.start_c
        h[:, row, column], c[:, row, column] = cell(gates, c_before, mistake)
    return h


def diagonal_states(states: States, x: Array, mistake: str) -> Array:
    """Section 3.2, from the top left: skew, go over the columns with a 2 x 1 kernel, unskew."""
    maps, height, width = x.shape
    skewed = np.zeros((maps, height, width + height - 1))
    for row in range(height):
        skewed[:, row, row : row + width] = x[:, row]
    into = states.into(skewed)
    start_h, start_c = (np.repeat(start[:, None], height, 1) for start in (states.start_h, states.start_c))
    left, above = states.taps
    h, c = start_h, start_c  # of the column before, (h, H)
    columns = []
    for t in range(width + height - 1):
        padded_h = np.concatenate([start_h[:, :1], h], 1)  # one row on top, none at the bottom
        over, c_before = padded_h[:, :-1], c
        if mistake == "2 x 1 reads the row below":
            over = np.concatenate([h, start_h[:, :1]], 1)[:, 1:]
        if mistake == "forget gate for the cell above":
            c_before = np.concatenate([start_c[:, :1], c], 1)[:, :-1]
        h, c = cell(into[:, :, t] + left @ padded_h[:, 1:] + above @ over, c_before, mistake)
        inside = np.array([0 <= t - row < width for row in range(height)])
        if mistake != "padding left to evolve":
            h, c = np.where(inside, h, start_h), np.where(inside, c, start_c)
        columns.append(h)
    skewed = np.stack(columns, 2)
    return np.stack([skewed[:, row, row : row + width] for row in range(height)], 1)


def row_block(block: nn.Module, x: Array, kernel: int, colours: str, mistake: str) -> Array:
    return row_states(states_of(block.states, kernel, kernel, colours, mistake), x, mistake)


def diagonal_block(block: nn.Module, x: Array, _: int, colours: str, mistake: str) -> Array:
    """Both directions; the map from right to left is shifted down by one row, the first becomes zeros."""
    rightward, leftward = (
        states_of(each, 1, 2, colours, mistake)
        for each in ([block.rightward] * 2 if mistake == "one LSTM twice" else [block.rightward, block.leftward])
    )
    h = diagonal_states(rightward, x, mistake)
    if mistake == "leftward not mirrored":
        late = diagonal_states(leftward, x, mistake)
    else:
        late = diagonal_states(leftward, x[:, :, ::-1], mistake)[:, :, ::-1]
    if mistake == "no shift":
        return h + late
    shifted = np.zeros_like(late)
    if mistake == "last row zeroed":
        shifted[:, :-1] = late[:, :-1]
    elif mistake == "first row is the initial state":
        shifted[:, 1:], shifted[:, 0] = late[:, :-1], leftward.start_h[:, None]
    else:
        shifted[:, 1:] = late[:, :-1]
    return h + shifted


BLOCKS = {"row-lstm": row_block, "diagonal-bilstm": diagonal_block}


def pixelrnn_loop(
    body: str,
    net: nn.Module,
    image: Array,
    kernel: int = 3,
    first_kernel: int = 7,
    residual: bool = True,
    mistake: str = "",
) -> Array:
    """Table 1 and figure 5 (right): the parameters of every pixel, (params, H, W)."""
    colours = "RGB"[: len(image)]

    def branch(index: int, x: Array) -> Array:
        block = net.blocks[index]
        (expand,) = pointwise([block.expand], colours, mistake)  # back to 2h
        return expand(BLOCKS[body](block, relu(x) if mistake == "a ReLU more" else x, kernel, colours, mistake))

    return residual_blocks(net, image, colours, first_kernel, branch, residual, mistake)
