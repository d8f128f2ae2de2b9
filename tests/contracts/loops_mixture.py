"""The conditional mixture of Gaussian scales in NumPy, multiplied out as it is printed, with K_c as a matrix.

Equations 4, 5 and 8 of arXiv 1506.03478. Nothing is shared with the package but the weights. Pixels outside the image
are zero. Where the paper writes b.x or a.x, x ends here with a constant one: features and means have an offset.
"""

from __future__ import annotations

import itertools

import numpy as np
from loops import Array, array
from torch import nn

from pixelrnn.layers.convolution import CausalConv2d
from pixelrnn.layers.mixture import ScaleMixture
from pixelrnn.model import PixelModel

Place = tuple[int, int, int]  # channel, rows down, columns right


def offset(module: CausalConv2d) -> Array:
    """The bias of a layer, zero where it has none."""
    return np.zeros(len(module.weight)) if module.bias is None else array(module.bias)


def neighbourhood(kernel: int, channels: int, colour: int, mistake: str = "") -> list[Place]:
    """What the prediction of one colour reads: the rows above, the pixels left, the earlier colours of the pixel."""
    half = kernel // 2
    up = {"a row more": half + 1, "a row less": half - 1}.get(mistake, half)
    places = [(down, right) for down in range(-up, 0) for right in range(-half, half + 1)]
    places += [(0, right) for right in range(-half, 0)]
    if mistake == "a neighbour less on the right":
        places.remove((-1, half))
    earlier = {"own pixel seen": colour + 1, "no colours of the pixel itself": 0}.get(mistake, colour)
    seen = [(channel, *place) for place in places for channel in range(channels)]
    seen += [(channel, 0, 0) for channel in range(earlier)]
    return [place for place in seen if place[0] == colour] if mistake == "colours alone" else seen


def read(image: Array, row: int, column: int, seen: list[Place], mistake: str = "") -> Array:
    """The numbers of a neighbourhood, (n,), and a constant one."""
    if mistake == "a row higher":
        row -= 1
    numbers = []
    for channel, down, right in seen:
        y, x = row + down, column + right
        inside = 0 <= y < image.shape[1] and 0 <= x < image.shape[2]
        numbers.append(image[channel, y, x] if inside else float(mistake == "ones outside the image"))
    return np.array([*numbers, 0.0 if mistake == "no offset" else 1.0])


def weights_of(module: nn.Module, kernel: int, seen: list[Place]) -> Array:
    """Of every output map, for the numbers of a neighbourhood and the constant one: (out, n + 1)."""
    weight, half = array(module.weight), kernel // 2
    columns = [weight[:, channel, max(0, half + down), half + right] for channel, down, right in seen]
    return np.stack([*columns, offset(module)], 1)


def colour_of(index: int, width: int, channels: int) -> int:
    """Contiguous groups of feature maps, R before G before B."""
    return channels * index // width


def over_neighbourhoods(module: nn.Module, image: Array, kernel: int, blocks: int, mistake: str) -> Array:
    """Linear in the neighbourhood of each map's colour: (out, H, W)."""
    channels, height, width = image.shape
    out = len(array(module.weight))
    found = np.zeros((out, height, width))
    groups = np.array([colour_of(index % (out // blocks), out // blocks, channels) for index in range(out)])
    for colour in range(channels):
        seen = neighbourhood(kernel, channels, colour, mistake)
        weights = weights_of(module, kernel, seen)[groups == colour]
        for row, column in itertools.product(range(height), range(width)):
            found[groups == colour, row, column] = weights @ read(image, row, column, seen, mistake)
    return found


def density(mixture: ScaleMixture, colour: int, a: Array, b: Array, x: Array, y: float, mistake: str) -> float:
    """p(y | x) of equations 4 and 5. Shapes: a (components, n), b (features, n), x (n,)."""
    eta, alpha, beta = (array(each)[colour] for each in (mixture.eta, mixture.alpha, mixture.beta))
    if mistake == "one mean for all components":
        a = a[:1].repeat(len(a), 0)
    if mistake == "the means of other components":
        a = a[::-1]
    prior, normal = np.zeros_like(eta), np.zeros_like(eta)
    for c, s in np.ndindex(*eta.shape):
        power = 1 if mistake == "beta not squared" else 2
        k = sum(beta[c, n] ** power * np.outer(b[n], b[n]) for n in range(len(b)))  # K_c, (n, n)
        energy = np.abs(b @ x) @ beta[c] ** 2 if mistake == "features not squared" else x @ k @ x
        half = 1.0 if mistake == "energy without the half" else 0.5
        precision = np.exp(alpha[c, s])
        times = {
            "the energy times the variance": 1 / precision,
            "precision squared in the energy": precision**2,
            "one energy for all scales": 1.0,
            "weights that do not depend on x": 0.0,
        }.get(mistake, precision)
        prior[c, s] = np.exp(eta[c, s] - half * times * energy)
        exponent = {"precision squared in the normal": 2, "standard deviation for variance": 0.5}.get(mistake, 1)
        precision = precision**exponent
        root = 1.0 if mistake == "normal without its constant" else np.sqrt(precision / (2 * np.pi))
        normal[c, s] = root * np.exp(-0.5 * precision * (y - a[c] @ x) ** 2)
    if mistake == "each component normalised":
        return float((prior / prior.sum(1, keepdims=True) * normal).sum() / len(prior))
    return float((prior / prior.sum() * normal).sum())


def part(rows: Array, colour: int, channels: int) -> Array:
    """The rows of one colour."""
    return np.split(rows, channels)[colour]


def mixture_of_states(model: PixelModel, h: Array, levels: Array, mistake: str) -> Array:
    """Equation 8: the mixture of the last layer's states; a colour's mixture reads its group and the earlier ones."""
    mixture, channels = model.network.readout, model.channels
    unit = 2 / (model.levels - 1)  # the network works on -1..1, densities are per level
    found = np.zeros_like(levels)
    for colour, row, column in np.ndindex(*levels.shape):
        last = channels - 1 if mistake == "mixture without mask" else colour
        seen = [index for index in range(len(h)) if colour_of(index, len(h), channels) <= last]
        if mistake == "mixture of one colour's states":
            seen = [index for index in range(len(h)) if colour_of(index, len(h), channels) == colour]
        a, b = (
            np.column_stack([array(each.weight)[:, seen, 0, 0], offset(each)])
            for each in (mixture.predict, mixture.describe)
        )
        x = np.array([*h[seen, row, column], 0.0 if mistake == "no offset" else 1.0])
        y = levels[colour, row, column] * unit - 1
        a, b = part(a, colour, channels), part(b, colour, channels)
        found[colour, row, column] = density(mixture, colour, a, b, x, y, mistake)
    return found * (1.0 if mistake == "density of scaled pixels" else unit)
