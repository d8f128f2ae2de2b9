"""Multi-Scale PixelRNN in NumPy: a small image that knows nothing else, then the others given all of it.

Written from section 3.6 of the PixelRNN paper, with the loops of its two LSTMs; nothing is shared with the package but
the weights. A copied pixel is one of the small image's, the rest is all others.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
from loops import Array, Layer, pointwise, relu, residual_blocks
from loops_pixelrnn import States, diagonal_states, pixelrnn_loop, row_states, states_of
from torch import nn

from pixelrnn.networks import MultiScale
from pixelrnn.networks.multiscale import UpSampling


def convolved(layer: nn.Module, maps: Array, mistake: str) -> Array:
    """3 x 3, zeros outside the image, nothing masked."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    if mistake == "3 x 3 kernels turned round":
        weight = weight[:, :, ::-1, ::-1]
    _, height, width = maps.shape
    found = np.zeros((len(weight), height, width))
    for row, column in itertools.product(range(height), range(width)):
        found[:, row, column] = bias
        for y, x in itertools.product((-1, 0, 1), (-1, 0, 1)):
            there = row + y, column + x
            if mistake == "edges repeated":
                there = min(max(there[0], 0), height - 1), min(max(there[1], 0), width - 1)
            if 0 <= there[0] < height and 0 <= there[1] < width:
                found[:, row, column] += weight[:, :, 1 + y, 1 + x] @ maps[:, there[0], there[1]]
    return found


def deconvolved(layer: nn.Module, maps: Array, factor: int, mistake: str) -> Array:
    """Every pixel becomes factor x factor pixels, each by a matrix of its own."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()  # (in, out, factor, factor)
    if mistake == "deconvolution turned round":
        weight = weight[:, :, ::-1, ::-1]
    _, height, width = maps.shape
    found = np.zeros((weight.shape[1], factor * height, factor * width))
    for row, column in itertools.product(range(height), range(width)):
        for y, x in itertools.product(range(factor), range(factor)):
            found[:, factor * row + y, factor * column + x] = bias + weight[:, :, y, x].T @ maps[:, row, column]
    return found


def up_sampled(up: UpSampling, small: Array, factor: int, size: tuple[int, int], mistake: str) -> Array:
    """From the small image to a map as large as the large one."""
    first, second, grow = up.layers
    x = convolved(first, small, mistake)
    x = x if mistake == "a ReLU less" else relu(x)
    if mistake != "one convolution less":
        x = relu(convolved(second, x, mistake))
    x = deconvolved(grow, x, factor, mistake)
    if mistake == "a ReLU more":
        x = relu(x)
    if mistake == "map a pixel down":
        x = np.roll(x, 1, 1)
    if mistake == "map a pixel to the right":
        x = np.roll(x, 1, 2)
    return x[:, -size[0] :, -size[1] :] if mistake == "cropped at the other end" else x[:, : size[0], : size[1]]


class Biased:
    """Input to state plus a 1 x 1 map of the condition, whose maps come last: they are skewed together."""

    def __init__(self, into: Layer, condition: nn.Module, colours: str, mistake: str) -> None:
        self.into = into
        self.weight = condition.weight.detach().numpy()[:, :, 0, 0]
        gates, maps = self.weight.shape
        if mistake == "bias masked by colour":
            self.weight = self.weight * Layer(nn.Conv2d(maps, gates, 1), (1, 1), "B", colours, 4).centre("B")
        if mistake == "bias of one gate only":
            self.weight = self.weight * (np.arange(gates) < gates // 4)[:, None]

    def __call__(self, maps: Array) -> Array:
        stream, condition = np.split(maps, [len(maps) - self.weight.shape[1]])
        return self.into(stream) + np.einsum("oi,irc->orc", self.weight, condition)


def biased_states(
    recurrence: nn.Module, kernel: int, taps: int, condition: nn.Module | None, colours: str, mistake: str
) -> States:
    """The weights of one LSTM whose input-to-state map is biased."""
    into, own = recurrence.inputs
    rest = {name: getattr(recurrence, name) for name in ("weight", "start_h", "start_c")}
    states = states_of(SimpleNamespace(inputs=[into], **rest), kernel, taps, colours, "")
    return states._replace(into=Biased(states.into, condition or own, colours, mistake))


def biased_row(block: nn.Module, x: Array, up: Array, shared: nn.Module | None, colours: str, mistake: str) -> Array:
    condition = shared.states.inputs[1] if shared else None
    states = biased_states(block.states, 3, 3, condition, colours, mistake)
    return row_states(states, np.concatenate([x, up]), "")


def biased_diagonal(
    block: nn.Module, x: Array, up: Array, shared: nn.Module | None, colours: str, mistake: str
) -> Array:
    """In both directions; the map from right to left is shifted down by one row, its condition with it."""
    rightward, leftward = (
        biased_states(getattr(block, way), 1, 2, getattr(shared, way).inputs[1] if shared else None, colours, mistake)
        for way in ("rightward", "leftward")
    )
    right = np.zeros_like(up) if mistake == "leftward biased only" else up
    left = np.zeros_like(up) if mistake == "rightward biased only" else up
    if mistake == "bias not mirrored":
        left = left[:, :, ::-1]
    if mistake == "bias of the row below":
        left = np.concatenate([left[:, 1:], left[:, :1]], 1)
    h = diagonal_states(rightward, np.concatenate([x, right]), "")
    late = diagonal_states(leftward, np.concatenate([x, left])[:, :, ::-1], "")[:, :, ::-1]
    shifted = np.zeros_like(late)
    shifted[:, 1:] = late[:, :-1]
    return h + shifted


BIASED = {"row-lstm": biased_row, "diagonal-bilstm": biased_diagonal}


def conditional_loop(body: str, net: nn.Module, colours: str, image: Array, up: Array, mistake: str) -> Array:
    """Table 1 and figure 5 (right), the input-to-state map of every layer biased: (params, H, W)."""

    def branch(index: int, x: Array) -> Array:
        block, last = net.blocks[index], index + 1 == len(net.blocks)
        missing = {
            "bias missing": True,
            "bias in the first layer only": index > 0,
            "bias in the last layer only": not last,
        }.get(mistake, False)
        shared = net.blocks[0] if mistake == "one 1 x 1 for all layers" else None
        (expand,) = pointwise([block.expand], colours)
        return expand(BIASED[body](block, x, np.zeros_like(up) if missing else up, shared, colours, mistake))

    return residual_blocks(net, image, colours, 7, branch)


def mean_of_cells(image: Array, factor: int) -> Array:
    rows, columns = (range(0, length, factor) for length in image.shape[1:])
    cells = [[image[:, r : r + factor, c : c + factor].mean((1, 2)) for c in columns] for r in rows]
    return np.array(cells).transpose(2, 0, 1)


def multiscale_loop(
    net: MultiScale, body: str, factor: int, image: Array, mistake: str = "", s: Array | None = None
) -> Array:
    """Section 3.6, the small image sub-sampled and copied: the parameters of every pixel, (params, H, W).

    s (maps, H, W) is the condition map of the image itself: every network is conditioned on it at its own pixels.
    """
    colours = "RGB"[: len(image)]
    small = image[:, ::factor, ::factor]
    if mistake == "small image of the odd pixels":
        small = np.roll(image, (-1, -1), (1, 2))[:, ::factor, ::factor]
    if mistake == "small image of means":
        small = mean_of_cells(image, factor)
    few = None if s is None else s[:, ::factor, ::factor]
    if isinstance(net.small, MultiScale):
        params = multiscale_loop(net.small, body, factor, small, s=few)
    elif few is not None:
        params = conditional_loop(body, net.small, colours, small, few, mistake)
    else:
        params = pixelrnn_loop(body, net.small, small)
    up = net.small.up if mistake == "one up-sampling for all scales" else net.up
    condition = up_sampled(up, small, factor, image.shape[1:], mistake)
    if s is not None:
        condition = np.concatenate([condition, s])
    seen = image.copy()
    if mistake == "copied pixels blank for the large network":
        seen[:, ::factor, ::factor] = 0
    large = conditional_loop(body, net.large, colours, seen, condition, mistake)
    if mistake != "large network's parameters at copied pixels":
        large[:, ::factor, ::factor] = params
    return large
