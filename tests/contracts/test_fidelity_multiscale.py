"""Contract 0 for Multi-Scale PixelRNN: section 3.6 of the PixelRNN paper, pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from loops import Array, assert_seen, assert_the_same, both_ways, multiply, with_random_starts
from loops_multiscale import multiscale_loop
from multiscale import BODIES, all_variants, both_bodies

import pixelrnn

LOOPS = {"multiscale": multiscale_loop}


def compared(
    body: str, mistake: str = "", size: tuple[int, int] = (5, 4), batch: int = 1, **options: int
) -> tuple[Array, Array]:
    """The parameters of some random images by the package, and by the loop."""
    settings = {"layers": 2, "width": 5, "factor": 2, **options}
    model = pixelrnn.build("multiscale", size=size, levels=4, body=body, **settings).eval()
    with_random_starts(model)
    images = torch.randint(0, 4, (batch, model.channels, *size))
    multiply(model, 2)
    return both_ways(
        model, images, lambda image: multiscale_loop(model.network, body, settings["factor"], image, mistake)
    )


@pytest.mark.parametrize("size", [(5, 4), (6, 5), (1, 5), (5, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@all_variants
@both_bodies
def test_a_multi_scale_network_is_the_loop_of_its_paper(
    body: str, variant: dict, channels: int, size: tuple[int, int]
) -> None:
    found, expected = compared(body, size=size, channels=channels, **variant)
    assert found.shape == (1, 4 * channels, *size)
    assert_the_same(found, expected)


@pytest.mark.parametrize(
    "options",
    [{"layers": 1}, {"layers": 3}, {"out_width": 4, "batch": 3}, {"factor": 4}, {"factor": 7}, {"images": 4}],
    ids=str,
)
@both_bodies
def test_a_multi_scale_network_of_any_depth_is_that_loop(body: str, options: dict) -> None:
    assert_the_same(*compared(body, channels=1, **options))


MISTAKES = {
    "both": [
        "bias missing",
        "bias in the first layer only",
        "bias in the last layer only",
        "one 1 x 1 for all layers",
        "bias masked by colour",
        "bias of one gate only",
        "small image of the odd pixels",
        "small image of means",
        "map a pixel down",
        "map a pixel to the right",
        "cropped at the other end",
        "3 x 3 kernels turned round",
        "edges repeated",
        "a ReLU less",
        "a ReLU more",
        "one convolution less",
        "deconvolution turned round",
        "one up-sampling for all scales",
        "copied pixels blank for the large network",
        "large network's parameters at copied pixels",
    ],
    "row-lstm": [],
    "diagonal-bilstm": [
        "rightward biased only",
        "leftward biased only",
        "bias not mirrored",
        "bias of the row below",
    ],
}


@pytest.mark.parametrize(
    ("body", "mistake"), [(body, each) for body in BODIES for each in MISTAKES["both"] + MISTAKES[body]]
)
def test_one_mistake_in_a_multi_scale_network_would_be_seen(body: str, mistake: str) -> None:
    assert_seen(*compared(body, mistake, channels=3, images=3))
