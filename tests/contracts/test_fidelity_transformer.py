"""Contract 0 for the transformer over pixels: token by token, with attention as a weighted mean of earlier values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loops import Array, Layer, array, assert_seen, assert_the_same, condition, multiply, pointwise
from torch import nn

import pixelrnn
from pixelrnn.canvas import Order, Whole, scale
from pixelrnn.model import PixelModel

Place = tuple[int, int]


def pixel_transformer(
    model: PixelModel, image: Array, order: list[Place] | None = None, mistake: str = "", s: Array | None = None
) -> Array:
    """From an image (C, H, W) in -1..1 and the places in generation order: the parameters of every pixel."""
    net, (height, width) = model.network, image.shape[1:]
    order = order or [(row, column) for row in range(height) for column in range(width)]
    before = [(-1, -1), *order[:-1]]
    if mistake == "own pixel seen":
        before = list(order)
    tokens = []
    for here, there in zip(order, before, strict=True):
        first = there == (-1, -1)
        seen = np.zeros(len(image)) if first else image[:, there[0], there[1]]
        waves = [f(place[axis] * 2 * 100 ** (-k / 8)) for place in (here, there) for f, axis, k in _WAVES]
        tokens.append(linear(net.value, np.append(seen, first)) + linear(net.place, np.array(waves)))
    for block in net.blocks:
        bias = condition(block.condition_bias, s)
        if s is not None:
            tokens = [x + bias[:, row, column] for x, (row, column) in zip(tokens, order, strict=True)]
        attended = attention(block, tokens, order, order if mistake == "keys where they are" else before, mistake)
        tokens = [x + linear(block.join, y) for x, y in zip(tokens, attended, strict=True)]
        tokens = [x + swiglu(block, x, mistake) for x in tokens]
    features = np.zeros((len(net.features.weight), height, width))
    for x, (row, column) in zip(tokens, order, strict=True):
        features[:, row, column] = linear(net.features, normed(net.norm, x))
    colours = "RGB"[: model.channels] if model.head.groups > 1 else "R"
    if net.colours is not None:
        features += Layer(net.colours, (1, 1), "B" if mistake == "own colour seen" else "A", colours)(image)
    (last,) = pointwise([net.params], colours)
    return last(features / (1 + np.exp(-features)))


_WAVES = [(f, axis, k) for f in (np.cos, np.sin) for axis in (0, 1) for k in range(8)]


def linear(conv: nn.Conv2d, x: Array) -> Array:
    return array(conv.weight)[:, :, 0, 0] @ x + (0 if conv.bias is None else array(conv.bias))


def normed(norm: nn.Module, x: Array, mistake: str = "") -> Array:
    x = x - x.mean() if mistake == "layer norm" else x
    return x / np.sqrt(np.mean(x**2) + 1e-6) * array(norm.scale).ravel()


def swiglu(block: nn.Module, x: Array, mistake: str) -> Array:
    gate, content = np.split(linear(block.widen, normed(block.norm_hidden, x, mistake)), 2)
    return linear(block.narrow, gate / (1 + np.exp(-gate)) * content)


def attention(
    block: nn.Module, tokens: list[Array], here: list[Place], there: list[Place], mistake: str
) -> list[Array]:
    """Every head's softmax over the tokens up to and with the one that asks."""
    heads = [np.split(linear(block.projections, normed(block.norm_attention, x, mistake)), 3) for x in tokens]
    found = []
    for t, (query, _, _) in enumerate(heads):
        parts = []
        count = len(query) // block.heads
        for head in range(block.heads):
            mine = slice(head * count, (head + 1) * count)
            until = t if mistake == "not itself" and t else t + 1
            since = max(0, t + 1 - block.window - (mistake == "one more")) if block.window else 0
            weights = np.array(
                [
                    rotation(count, here[t]) @ query[mine] @ (rotation(count, there[j]) @ heads[j][1][mine])
                    for j in range(since, until)
                ]
            ) / np.sqrt(count)
            weights = np.exp(weights - weights.max())
            parts.append(sum(w * heads[since + j][2][mine] for j, w in enumerate(weights / weights.sum())))
        found.append(np.concatenate(parts))
    return found


def rotation(count: int, place: Place) -> Array:
    """The matrix that turns pair k of feature maps (k, k + count / 2): the first half of the pairs by the row."""
    made, half = np.zeros((count, count)), count // 2
    for pair in range(half):
        along = place[0] if pair < half // 2 else place[1]
        angle = along * 100.0 ** (-(pair % (half // 2)) / (half // 2))
        made[pair, pair] = made[pair + half, pair + half] = np.cos(angle)
        made[pair, pair + half], made[pair + half, pair] = -np.sin(angle), np.sin(angle)
    return made


LOOPS = {"pixel-transformer": pixel_transformer}


def compared(
    mistake: str = "", *, channels: int = 3, conditions: int = 0, shuffled: bool = False, **options: object
) -> tuple[Array, Array]:
    """The parameters of a random image by the package, and by the loop."""
    settings = {"layers": 2, "width": 12, "heads": 3, "levels": 4, "channels": channels, **options}
    model = pixelrnn.build("pixel-transformer", size=(4, 5), vector_size=conditions, **settings).eval().double()
    multiply(model, 2)
    images = torch.randint(0, 4, (1, channels, 4, 5))
    s = model.embed_condition(1, (4, 5), vector=torch.randn(1, conditions)) if conditions else None
    order = Order.from_ranks(torch.randperm(20).view(4, 5)) if shuffled else None
    seen = scale(images, 4, torch.float64)
    with torch.no_grad():
        found = model.network(Whole(seen, s, order))[0].numpy()
    places = None if order is None else [divmod(int(each), 5) for each in order.along]
    spread = None if s is None else s[0].expand(-1, 4, 5).detach().numpy()
    return found, pixel_transformer(model, seen[0].numpy(), places, mistake, spread)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"channels": 1},
        {},
        {"hidden": 5, "layers": 1},
        {"heads": 2, "width": 7},
        {"conditions": 3},
        {"window": 3},
        {"window": 20},
    ],
    ids=str,
)
def test_a_transformer_is_the_loop_of_its_equations(options: dict, shuffled: bool) -> None:
    assert_the_same(*compared(shuffled=shuffled, **options))


@pytest.mark.parametrize(
    "mistake", ["own pixel seen", "keys where they are", "not itself", "layer norm", "own colour seen"]
)
def test_one_mistake_would_be_seen(mistake: str) -> None:
    assert_seen(*compared(mistake, shuffled=True))


def test_a_network_has_the_number_of_weights_of_its_equations() -> None:
    """Tokens of a value, a mark, and 32 waves of each of two places; blocks of four products and two norms."""
    n, hidden, levels = 64, 176, 2
    tokens = (2 * n + n) + (64 * n + n)
    block = 3 * n * n + n * n + 2 * n * hidden + hidden * n + 2 * n
    model = pixelrnn.build("pixel-transformer", size=(28, 28), levels=levels, layers=4, width=n, heads=2)
    assert model.num_parameters == tokens + 4 * block + n + (n * n + n) + (n + 1)


def test_a_wider_window_would_be_seen() -> None:
    assert_seen(*compared("one more", window=4))
