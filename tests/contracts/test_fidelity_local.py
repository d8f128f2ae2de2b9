"""Contract 0 for the local PixelCNN: one masked convolution, then 1 x 1 layers, pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from loops import Array, Layer, assert_seen, assert_the_same, both_ways, condition, multiply, pointwise, relu

import pixelrnn
from pixelrnn.model import PixelModel


def local_pixelcnn(model: PixelModel, image: Array, mistake: str = "", s: Array | None = None) -> Array:
    """NeLLoC, arXiv 2109.02639, from an image in -1..1: the parameters of every pixel, (params, H, W)."""
    net, side = model.network, 2 * model.network.side + 1
    # Where the head conditions the colours of a pixel, no feature map sees any of them.
    colours = "RGB"[: model.channels] if model.head.groups > 1 else "R"
    kind = "B" if mistake == "own pixel seen" else "A"
    x = Layer(net.first, (side, side), kind, colours)(image)
    for block in net.blocks:
        y, layers = x, pointwise(block.layers, colours, mistake)
        for index, layer in enumerate(layers):
            y = layer(y if mistake == "no ReLU" else relu(y))
            y = y + (condition(block.condition_bias, s) if index == 0 else 0.0)
        x = y if mistake == "no residual" else x + y
    for layer in pointwise(net.readout.layers, colours, mistake):
        x = layer(relu(x))
    if net.linear is not None and mistake != "no linear prediction":
        x = x + Layer(net.linear, (side, side), kind, colours)(image)
    return x


LOOPS = {"local-pixelcnn": local_pixelcnn}


def compared(mistake: str = "", conditions: int = 0, **options: object) -> tuple[Array, Array]:
    """The parameters of two random images by the package, and by the loop."""
    settings = {"levels": 5, "layers": 2, "width": 7, "kernel": 5, "components": 2, **options}
    model = pixelrnn.build("local-pixelcnn", size=(5, 4), **settings, vector_size=conditions).eval().double()
    multiply(model, 2)
    images = torch.randint(0, model.levels, (2, model.channels, 5, 4))
    s = model.embed_condition(2, (5, 4), vector=torch.randn(2, conditions)) if conditions else None
    return both_ways(model, images, lambda image, *s: local_pixelcnn(model, image, mistake, *s), s)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"masked": True},
        {"kernel": 3, "block_layers": 1, "out_layers": 1, "linear": True},
        {"masked": True, "linear": True, "width": 9, "layers": 1},
        {"conditions": 3, "masked": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_local_pixelcnn_is_the_loop_of_its_paper(channels: int, options: dict) -> None:
    assert_the_same(*compared(channels=channels, **options))


@pytest.mark.parametrize("head", [{"head": "categorical"}, {"head": "mcgsm", "scales": 2}], ids=str)
def test_it_takes_any_head(head: dict) -> None:
    if head["head"] == "categorical":
        head = {**head, "components": None}
    options = {key: each for key, each in {"components": 2, **head}.items() if each is not None}
    model = pixelrnn.build("local-pixelcnn", size=(4, 4), levels=4, channels=3, layers=1, width=6, **options).double()
    images = torch.randint(0, 4, (1, 3, 4, 4))
    assert_the_same(*both_ways(model, images, lambda image: local_pixelcnn(model, image)))


@pytest.mark.parametrize(
    "mistake", ["own pixel seen", "no ReLU", "no residual", "1 x 1 without mask", "no linear prediction"]
)
def test_one_mistake_would_be_seen(mistake: str) -> None:
    assert_seen(*compared(mistake, channels=3, masked=True, linear=True))
