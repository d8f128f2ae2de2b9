"""Contract 0 for the multi-directional encoder: section 3.2 of arXiv 0705.2011, pixel by pixel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from close import assert_close
from loops import Array, Layer, assert_seen, assert_the_same, multiply, with_random_starts
from loops_mdlstm import graves, input_to_state, states
from torch import Tensor

import pixelrnn
from pixelrnn.errors import ConfigError, ImageError
from pixelrnn.networks import MultiDirectionalLSTM


def encoder(module: MultiDirectionalLSTM, image: Array, mistake: str = "") -> Array:
    """2^n hidden layers, one from each corner of the image, and every one of them feeds what comes next."""
    x = image
    for index, (corners, join) in enumerate(zip(module.corners, module.joins, strict=True)):
        ways = list(itertools.product((1, -1), repeat=2))  # (down, right): from the top left, top right, ...
        if mistake == "one corner four times":
            ways = [(1, 1)] * 4
        if mistake == "corners in another order":
            ways = [(down, right) for right, down in ways]
        found = []
        for (down, right), corner in zip(ways, corners, strict=True):
            h = states(corner, input_to_state(corner, x, "R"), graves, mistake, down=down, right=right)
            found.append(h[:, ::down, ::right] if mistake == "states not turned back" else h)
        if mistake == "without the last corner":
            found[-1] = np.zeros_like(found[-1])
        x = Layer(join, (1, 1), "everything", "R")(np.concatenate(found))
        if (mistake == "tanh at the end" or index < len(module.joins) - 1) and mistake != "no tanh between layers":
            x = np.tanh(x)
    return x


def encoded(
    mistake: str = "", *, channels: int = 3, size: tuple[int, int] = (5, 4), batch: int = 2, **options: int
) -> tuple[Array, Array]:
    module = MultiDirectionalLSTM(channels, **{"width": 4, "out_width": 6, "layers": 2, **options})
    multiply(module, 2)
    with_random_starts(module)
    images = torch.randn(batch, channels, *size)
    with torch.no_grad():
        found = module(images).numpy()
    return found, np.stack([encoder(module, image, mistake) for image in images.numpy()])


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(5, 4), (4, 7), (1, 6), (6, 1), (1, 1)], ids=str)
def test_a_multi_directional_lstm_is_the_loop_of_its_paper(size: tuple[int, int], channels: int, layers: int) -> None:
    for batch in (1, 3):
        found, expected = encoded(size=size, channels=channels, layers=layers, batch=batch)
        assert found.shape == (batch, 6, *size)
        assert_the_same(found, expected)


@pytest.mark.parametrize(
    "mistake",
    [
        "one corner four times",
        "corners in another order",
        "states not turned back",
        "without the last corner",
        "tanh at the end",
        "no tanh between layers",
        "one forget gate for both",
        "forget gates swapped",
        "no memory of the pixel above",
        "tanh after the product",
        "sigmoid for g",
        "gates in another order",
        "the states of left and above swapped",
        "initial states ignored",
    ],
)
def test_one_mistake_in_a_multi_directional_lstm_would_be_seen(mistake: str) -> None:
    assert_seen(*encoded(mistake))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("size", [(4, 5), (1, 5), (5, 1)], ids=str)
def test_everything_that_a_multi_directional_lstm_says_depends_on_every_pixel(
    size: tuple[int, int], layers: int
) -> None:
    module = MultiDirectionalLSTM(2, width=3, out_width=2, layers=layers)
    image = torch.randn(1, 2, *size, requires_grad=True)
    found = module(image)
    for index in np.ndindex(*found.shape):
        (grad,) = torch.autograd.grad(found[index], image, retain_graph=True)
        assert (grad != 0).all(), f"{index} does not see {(grad == 0).nonzero()[0].tolist()}"


def test_images_of_a_batch_do_not_hear_of_each_other_in_a_multi_directional_lstm() -> None:
    module = MultiDirectionalLSTM(1, width=3, out_width=2, layers=2)
    images = torch.randn(3, 1, 4, 5)
    with torch.no_grad():
        alone = torch.cat([module(image[None]) for image in images])
        assert_close(module(images), alone)


def test_the_gradients_of_a_multi_directional_lstm_are_differences_of_what_it_says() -> None:
    module = MultiDirectionalLSTM(1, width=2, out_width=1, layers=2)
    with_random_starts(module)
    image = torch.randn(2, 1, 2, 3, requires_grad=True)
    names, weights = zip(*module.named_parameters(), strict=True)

    def said(image: Tensor, *condition_map: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, condition_map, strict=True)), (image,))

    assert torch.autograd.gradcheck(said, (image, *weights), fast_mode=True)


@pytest.mark.parametrize(
    "options", [{}, {"layers": 2, "width": 4}, {"head": "categorical"}, {"head": "mcgsm"}], ids=str
)
def test_a_multi_directional_network_cannot_be_built_as_a_model_of_images(options: dict) -> None:
    with pytest.raises(ConfigError) as caught:
        pixelrnn.build("mdrnn", size=(5, 4), levels=4, **options)
    says = str(caught.value)
    assert "reads the whole image" in says
    assert "cannot predict" in says
    assert '"mdlstm"' in says, "what to take instead"
    assert "pixelrnn.networks.MultiDirectionalLSTM" in says, "where it is found"
    assert "mdrnn" not in pixelrnn.network_names()


def test_ride_is_said_to_be_the_spatial_lstm() -> None:
    with pytest.raises(ConfigError, match=r'"spatial-lstm", whose head is "mcgsm"'):
        pixelrnn.build("ride", size=(5, 4), levels=4, layers=1)


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (1, 4, 4, 4), (3, 4, 4), (1, 3, 0, 4), (0, 3, 4, 4)], ids=str)
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"\(B, 3, H, W\)"):
        MultiDirectionalLSTM(3, width=4, out_width=2)(torch.rand(shape))


@pytest.mark.parametrize("sizes", [{"width": 0}, {"out_width": 0}, {"layers": 0}], ids=str)
def test_sizes_below_one_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        MultiDirectionalLSTM(3, **{"width": 4, "out_width": 2, **sizes})
