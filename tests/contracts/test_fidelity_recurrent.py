"""Contract 0 for the Row LSTM and the Diagonal BiLSTM: each is the one of its paper, pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from loops import Array, assert_seen, assert_the_same, both_ways, multiply, with_random_starts
from loops_pixelrnn import BLOCKS, pixelrnn_loop

import pixelrnn

LOOPS = BLOCKS


def compared(
    network: str, mistake: str = "", size: tuple[int, int] = (5, 4), batch: int = 2, **options: object
) -> tuple[Array, Array]:
    """The parameters of some random images by the package, and by the loop."""
    settings = {"layers": 2, "width": 7, "first_kernel": 7, **options}
    kernel = {"kernel": settings.get("kernel", 3)} if network == "row-lstm" else {}
    model = pixelrnn.build(network, size=size, levels=4, **{**settings, **kernel}).eval()
    assert with_random_starts(model)
    images = torch.randint(0, 4, (batch, model.channels, *size))
    multiply(model, 2)
    rest = (kernel.get("kernel", 1), settings["first_kernel"], settings.get("residual", True), mistake)
    return both_ways(model, images, lambda image: pixelrnn_loop(network, model.network, image, *rest))


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(
    "options", [{"width": 5}, {"width": 6}, {"first_kernel": 3, "layers": 3}, {"out_width": 4}, {"layers": 1}], ids=str
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", BLOCKS)
def test_a_recurrent_network_is_the_loop_of_its_paper(
    network: str, channels: int, options: dict, skip: bool, residual: bool
) -> None:
    found, expected = compared(network, channels=channels, skip=skip, residual=residual, **options)
    assert found.shape == (2, 4 * channels, 5, 4)
    assert_the_same(found, expected)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [(4, 6), (6, 1), (1, 6), (2, 1), (1, 2), (1, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", BLOCKS)
def test_a_recurrent_network_is_that_loop_on_images_of_any_size(
    network: str, channels: int, size: tuple[int, int], batch: int
) -> None:
    assert_the_same(*compared(network, size=size, batch=batch, channels=channels))


@pytest.mark.parametrize("kernel", [5, 7])
@pytest.mark.parametrize("size", [(5, 4), (4, 9), (3, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_lstm_of_a_wide_kernel_is_that_loop(channels: int, size: tuple[int, int], kernel: int) -> None:
    assert_the_same(*compared("row-lstm", size=size, channels=channels, kernel=kernel))


MISTAKES = {
    "both": [
        "mask B first",
        "mask A in the input to state",
        "colours over all 4h",
        "1 x 1 without mask",
        "a ReLU more",
        "state to state masked by colour",
        "taps in the other order",
        "gates in another order",
        "sigmoid for g",
        "tanh(o c)",
        "initial states ignored",
        "no residual",
        "no skip",
    ],
    "row-lstm": ["state to state masked along the row", "zeros beyond the ends of a row"],
    "diagonal-bilstm": [
        "no shift",
        "last row zeroed",
        "first row is the initial state",
        "2 x 1 reads the row below",
        "padding left to evolve",
        "forget gate for the cell above",
        "one LSTM twice",
        "leftward not mirrored",
    ],
}


@pytest.mark.parametrize(
    ("network", "mistake"), [(network, each) for network in BLOCKS for each in MISTAKES["both"] + MISTAKES[network]]
)
def test_one_mistake_in_a_recurrent_network_would_be_seen(network: str, mistake: str) -> None:
    assert_seen(*compared(network, mistake, channels=3))
