"""Contract 0 for MDLSTM: table 1 of the PixelRNN paper with the cell of Graves and Schmidhuber, pixel by pixel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from loops import (
    Array,
    assert_seen,
    assert_the_same,
    both_ways,
    multiply,
    pointwise,
    relu,
    residual_blocks,
    with_random_starts,
)
from loops_mdlstm import STATES, graves, input_to_state, states

import pixelrnn
from pixelrnn.canvas import Whole
from pixelrnn.layers.convolution import Pointwise
from pixelrnn.layers.recurrence import ABOVE, LEFT, Recurrence
from pixelrnn.measure.inspection import seen_by
from pixelrnn.model import PixelModel


def mdlstm(
    model: PixelModel, image: Array, first_kernel: int, residual: bool, mistake: str = "", s: Array | None = None
) -> Array:
    """From scaled pixels (C, H, W) the parameters of every pixel, (params, H, W); s (maps, H, W) is a condition."""
    net, colours = model.network, "RGB"[: model.channels]
    corner = {"down": -1} if mistake == "from the bottom" else {"right": -1} if mistake == "from the right" else {}

    def branch(index: int, x: Array) -> Array:
        block = net.blocks[index]
        into = input_to_state(block.states, relu(x) if mistake == "a ReLU more" else x, colours, mistake, s)
        (expand,) = pointwise([block.expand], colours, mistake)
        return expand(states(block.states, into, graves, mistake, **corner))

    return residual_blocks(net, image, colours, first_kernel, branch, residual, mistake)


LOOPS = {"mdlstm": mdlstm}


def compared(
    mistake: str = "", *, size: tuple[int, int] = (5, 4), batch: int = 2, residual: bool = True, **options: object
) -> tuple[Array, Array]:
    """The parameters of some random images by the package, and by the loop above."""
    settings = {"layers": 2, "width": 7, "first_kernel": 5, **options}
    model = pixelrnn.build("mdlstm", size=size, levels=4, residual=residual, **settings).eval()
    multiply(model, 2)
    assert with_random_starts(model)
    images = torch.randint(0, 4, (batch, model.channels, *size))
    return both_ways(model, images, lambda image: mdlstm(model, image, settings["first_kernel"], residual, mistake))


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(
    "options", [{"width": 5}, {"width": 6}, {"first_kernel": 3, "layers": 3}, {"out_width": 4}, {"layers": 1}], ids=str
)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_mdlstm_is_the_loop_of_its_papers(channels: int, options: dict, skip: bool, residual: bool) -> None:
    found, expected = compared(channels=channels, skip=skip, residual=residual, **options)
    assert found.shape == (2, 4 * channels, 5, 4)
    assert_the_same(found, expected)


@pytest.mark.parametrize("size", [(4, 6), (6, 1), (1, 6), (2, 1), (1, 2), (1, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_mdlstm_is_that_loop_on_images_of_any_size(channels: int, size: tuple[int, int]) -> None:
    for batch in (1, 3):
        assert_the_same(*compared(channels=channels, size=size, batch=batch))


MISTAKES = [
    *STATES,
    "tanh after the product",
    "no memory of the pixel above",
    "forget gates that add up to one",
    "initial states ignored",
    "from the bottom",
    "from the right",
    "a ReLU more",
    "no residual",
    "no skip",
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_mistake_in_an_mdlstm_would_be_seen(mistake: str) -> None:
    assert_seen(*compared(mistake, channels=3))


@pytest.mark.parametrize("layers", [1, 2])
def test_only_an_mdlstm_learns_its_initial_states(layers: int) -> None:
    names = {
        name: [each for each, _ in pixelrnn.build(name, size=(4, 4), layers=layers, width=4).named_parameters()]
        for name in ("mdlstm", "spatial-lstm")
    }
    assert sum("start" in each for each in names["mdlstm"]) == 2 * layers  # h and c
    assert not any("start" in each for each in names["spatial-lstm"]), "zero in the paper"


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 4), (3, 0), (2, 2), (3, 4)])
def test_the_states_of_an_mdlstm_see_what_is_above_and_left_and_nothing_else(row: int, column: int) -> None:
    recurrence = Recurrence(3, Pointwise(2, 15), [LEFT, ABOVE], [LEFT, ABOVE])
    x = torch.randn(1, 2, 4, 5, requires_grad=True)
    (grad,) = torch.autograd.grad(recurrence(x, Whole(x))[0, :, row, column].sum(), x)
    expected = np.zeros((4, 5), dtype=bool)
    expected[: row + 1, : column + 1] = True
    for maps in (grad[0] != 0).numpy():
        np.testing.assert_array_equal(maps, expected)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("network", "kernel"), [("mdlstm", "first_kernel"), ("spatial-lstm", "kernel")])
@pytest.mark.parametrize(("row", "column"), [(4, 3), (0, 5), (5, 0), (3, 8)])
def test_a_network_from_the_top_left_sees_a_rectangle_that_ends_where_its_first_kernel_does(
    network: str, kernel: str, layers: int, row: int, column: int
) -> None:
    """Nothing that is above and further right, and more layers see no more."""
    model = pixelrnn.build(network, size=(6, 9), levels=4, layers=layers, width=4, **{kernel: 5})
    expected = torch.zeros(6, 9, dtype=torch.bool)
    for y, x in itertools.product(range(6), range(9)):
        expected[y, x] = (y < row and x <= column + 2) or (y == row and x < column)
    assert torch.equal(seen_by(model, row, column, (6, 9)), expected)
    assert torch.equal(model.network.field(row, column, 6, 9), expected)
