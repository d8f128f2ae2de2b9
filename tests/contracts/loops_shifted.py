"""What PixelCNN++ and PixelSNAIL are made of, pixel by pixel: shifted convolutions and gated residual layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from cases import make
from loops import Array, Layer, array, condition, pointwise
from torch import nn

from pixelrnn.canvas import Whole, scale
from pixelrnn.model import PixelModel


def elu(x: Array) -> Array:
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


def concat_elu(x: Array) -> Array:
    return elu(np.concatenate([x, -x]))


def weights(conv: nn.Conv2d, mistake: str = "") -> tuple[Array, Array | float]:
    """g v / |v| and the bias: one length for every output map."""
    v, gain = array(conv.weight), array(conv.gain)
    length = np.array([np.sqrt((each**2).sum()) for each in v])
    scaled = v if mistake == "not normalised" else v / length[:, None, None, None]
    return gain[:, None, None, None] * scaled, 0 if conv.bias is None else array(conv.bias)


def convolved(x: Array, weight: Array, bias: Array | float, above: int, left: int, right: int) -> Array:
    """A kernel whose lowest row is the pixel's own, with zeros outside the image."""
    padded = np.pad(x, ((0, 0), (above, 0), (left, right)))
    rows, columns = weight.shape[2:]
    assert (rows, columns) == (above + 1, left + right + 1)
    out = np.zeros((len(weight), *x.shape[1:]))
    for r in range(x.shape[1]):
        for c in range(x.shape[2]):
            out[:, r, c] = np.tensordot(weight, padded[:, r : r + rows, c : c + columns], 3) + bias
    return out


def down_shift(x: Array) -> Array:
    return np.concatenate([np.zeros_like(x[:, :1]), x[:, :-1]], 1)


def right_shift(x: Array) -> Array:
    return np.concatenate([np.zeros_like(x[:, :, :1]), x[:, :, :-1]], 2)


def first(layer: nn.Module, image: Array, above: int, left: int, right: int) -> Array:
    """A convolution of the image and of a channel of ones."""
    ones = np.ones((1, *image.shape[1:]))
    of_ones = convolved(ones, array(layer.inside.weight), 0, above, left, right)
    return convolved(image, *weights(layer.image), above, left, right) + of_ones


def resnet(
    layer: nn.Module,
    x: Array,
    a: Array | None,
    sides: tuple[int, int] | None,
    s: Array | None,
    mistake: str = "",
    activation: Callable[[Array], Array] = concat_elu,
) -> Array:
    """x + c2_a * sigmoid(c2_b); without sides, of 1 x 1 convolutions."""
    above, left, right = (0, 0, 0) if sides is None else (1, *sides)
    y = convolved(activation(x), *weights(layer.first, mistake), above, left, right)
    if a is not None:
        y += convolved(activation(a), *weights(layer.aside), 0, 0, 0)
    y = elu(np.concatenate([y, y])) if mistake == "no minus" else activation(y)
    y = convolved(y, *weights(layer.second), above, left, right)
    if s is not None:
        y += condition(layer.condition_bias, s)
    added, gate = np.split(y, 2)
    return (0 if mistake == "no residual" else x) + added / (1 + np.exp(-gate))


def readout(model: PixelModel, x: Array, image: Array) -> Array:
    """ELU and a 1 x 1 convolution; with colour masks, the earlier colours before it."""
    layer = model.network.readout
    if model.head.groups == 1:
        return convolved(elu(x), *weights(layer.params), 0, 0, 0)
    (last,) = pointwise([layer.params], "RGB")
    return last(elu(x + Layer(layer.colours, (1, 1), "A", "RGB")(image)))


def both(
    loop: Callable[..., Array],
    network: str,
    mistake: str = "",
    *,
    channels: int = 3,
    size: tuple[int, int] = (6, 5),
    conditions: int = 0,
    head: str = "logistic-mixture",
    **options: object,
) -> tuple[Array, Array]:
    """The parameters of a random image by the package, and by a loop."""
    model = make(("", network, channels, head, 4), size, vector_size=conditions, **options)
    images = torch.randint(0, 4, (1, channels, *size))
    s = model.embed_condition(1, size, vector=torch.randn(1, conditions)) if conditions else None
    seen = scale(images, 4, torch.float64)
    with torch.no_grad():
        found = model.network(Whole(seen, s))[0].numpy()
        spread = None if s is None else s[0].expand(-1, *size).numpy()
        return found, loop(model, seen[0].numpy(), spread, mistake)
