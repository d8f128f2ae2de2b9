"""Contract 0 for PixelSNAIL: pixel by pixel, attention as a weighted mean of what strictly earlier pixels offer."""

from __future__ import annotations

import numpy as np
import pytest
from loops import Array, assert_seen, assert_the_same
from loops_shifted import both, convolved, down_shift, elu, first, readout, resnet, right_shift, weights
from torch import nn

import pixelrnn
from pixelrnn.model import PixelModel


def pixelsnail(model: PixelModel, image: Array, s: Array | None = None, mistake: str = "") -> Array:
    """From an image (C, H, W) in -1..1: the parameters of every pixel."""
    net, (height, width) = model.network, image.shape[1:]
    x = down_shift(first(net.first_over, image, 0, 1, 1)) + right_shift(first(net.first_left, image, 1, 0, 0))
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    background = np.stack([(rows - height / 2) / height, (columns - width / 2) / width])
    if mistake == "no places":
        background = np.zeros_like(background)
    for block in net.blocks:
        for layer in block.layers:
            x = resnet(layer, x, None, (1, 0), s, activation=elu)
        content = np.concatenate([np.zeros_like(image) if mistake == "no pixels" else image, x, background])
        offered = convolved(
            resnet(block.content, content, None, None, None, activation=elu), *weights(block.offer), 0, 0, 0
        )
        asked = resnet(block.asked, np.concatenate([x, background]), None, None, None, activation=elu)
        query = convolved(asked, *weights(block.query), 0, 0, 0)
        x = resnet(block.join, x, attention(block, query, offered, mistake), None, s, activation=elu)
    return readout(model, x, image)


def attention(block: nn.Module, query: Array, offered: Array, mistake: str) -> Array:
    keys = block.keys
    q, k, v = (each.reshape(len(each), -1) for each in (query, offered[:keys], offered[keys:]))
    mixed = np.zeros_like(v)
    for i in range(q.shape[1]):
        until = i + 1 if mistake == "own pixel seen" else i
        if until:
            scores = q[:, i] @ k[:, :until] / (1 if mistake == "not scaled" else np.sqrt(keys))
            chances = np.exp(scores - scores.max())
            mixed[:, i] = v[:, :until] @ chances / chances.sum()
    return mixed.reshape(-1, *query.shape[1:])


LOOPS = {"pixelsnail": pixelsnail}


def compared(mistake: str = "", **options: object) -> tuple[Array, Array]:
    return both(pixelsnail, "pixelsnail", mistake, **{"width": 4, "keys": 3, **options})


@pytest.mark.parametrize("size", [(4, 5), (5, 1), (1, 5), (1, 1)], ids=str)
@pytest.mark.parametrize(
    "options",
    [{"channels": 1}, {}, {"blocks": 1, "layers": 2}, {"conditions": 3}, {"head": "categorical"}, {"width": 5}],
    ids=str,
)
def test_pixelsnail_is_the_loop_of_its_equations(options: dict, size: tuple[int, int]) -> None:
    assert_the_same(*compared(size=size, **options))


@pytest.mark.parametrize("mistake", ["own pixel seen", "no pixels", "no places", "not scaled"])
def test_one_mistake_would_be_seen(mistake: str) -> None:
    assert_seen(*compared(mistake))


def test_the_paper_s_network_has_its_number_of_weights() -> None:
    """Counted from the authors' code: 12 blocks of 4 layers, 256 feature maps, keys of 16, mixtures of 10."""
    n, half, keys, mixtures = 256, 128, 16, 100

    def conv(inputs: int, outputs: int, taps: int = 1) -> int:  # v, g and b
        return inputs * outputs * taps + 2 * outputs

    def layer(width: int, taps: int = 1) -> int:
        return conv(width, width, taps) + conv(width, 2 * width, taps)

    content, asked = 3 + n + 2, n + 2
    block = 4 * layer(n, 4) + layer(content) + conv(content, half + keys) + layer(asked) + conv(asked, keys)
    block += layer(n) + conv(half, n)
    first = conv(4, n, 3) + conv(4, n, 2) - 2 * n  # biases beside a channel of ones
    model = pixelrnn.build("pixelsnail", size=(32, 32), channels=3, levels=256, blocks=12, layers=4, width=n)
    assert sum(each.numel() for each in model.network.parameters()) == first + 12 * block + conv(n, mixtures)
