"""Contract 0 for conditions: every layer adds V * s, as equation 4 and section 2.3 of arXiv 1606.05328 say.

The loops are those of the other `test_fidelity` files; s, what the condition is made into, is random here.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from loops import Array, assert_seen, assert_the_same, both_ways, multiply, with_random_starts
from loops_multiscale import conditional_loop, multiscale_loop
from test_fidelity import gated_pixelcnn, pixelcnn
from test_fidelity_mdlstm import mdlstm

import pixelrnn
from pixelrnn.model import PixelModel


def pixelrnn_of(body: str) -> Callable[..., Array]:
    """Section 3.6 of the PixelRNN paper: the input-to-state map of every layer is biased."""

    def loop(model: PixelModel, image: Array, mistake: str, s: Array) -> Array:
        return conditional_loop(body, model.network, "RGB"[: model.channels], image, s, mistake)

    return loop


LOOPS: dict[str, Callable[..., Array]] = {
    "pixelcnn": lambda model, image, mistake, s: pixelcnn(model, image, 3, 7, mistake, s),
    "gated-pixelcnn": lambda model, image, mistake, s: gated_pixelcnn(model, image, 3, 7, mistake, s),
    "row-lstm": pixelrnn_of("row-lstm"),
    "diagonal-bilstm": pixelrnn_of("diagonal-bilstm"),
    "mdlstm": lambda model, image, mistake, s: mdlstm(model, image, 7, True, mistake, s),
    "multiscale": lambda model, image, mistake, s: multiscale_loop(model.network, "row-lstm", 2, image, mistake, s),
}


def compared(
    network: str, mistake: str = "", *, place: bool = True, size: tuple[int, int] = (5, 4), **options: object
) -> tuple[Array, Array]:
    """The parameters of two random images with conditions of their own, by the package and by the loop."""
    settings = {"layers": 3, "width": 7, "vector_size": 2, "condition_width": 4, **options}
    model = pixelrnn.build(network, size=size, levels=4, **settings).eval()
    with_random_starts(model)
    multiply(model, 2)
    images = torch.randint(0, 4, (2, model.channels, *size))
    s = torch.randn(2, 4, *(size if place else (1, 1)))
    return both_ways(
        model, images, lambda image, condition_map: LOOPS[network](model, image, mistake, condition_map), s
    )


@pytest.mark.parametrize("place", [True, False], ids=["a place", "no place"])
@pytest.mark.parametrize("options", [{}, {"layers": 1}, {"width": 5, "skip": False}], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", LOOPS)
def test_a_conditional_network_is_the_loop_of_its_paper(
    network: str, channels: int, options: dict, place: bool
) -> None:
    assert_the_same(*compared(network, channels=channels, place=place, **options))


@pytest.mark.parametrize("size", [(4, 6), (1, 5), (5, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("network", LOOPS)
def test_a_conditional_network_is_that_loop_on_images_of_any_size(network: str, size: tuple[int, int]) -> None:
    assert_the_same(*compared(network, size=size, channels=1))


PLACES = ["condition of the pixel to the right", "condition of the row above"]
MISTAKES = {
    "pixelcnn": ["no condition", *PLACES],
    "gated-pixelcnn": [
        *PLACES,
        "no condition in the vertical stack",
        "no condition in the horizontal stack",
        "condition in the tanh only",
        "condition in the sigmoid only",
        "condition after the gate",
        "link after the condition",
    ],
    "row-lstm": ["bias missing", "bias in the first layer only", "bias of one gate only"],
    "diagonal-bilstm": [
        "bias missing",
        "bias in the last layer only",
        "rightward biased only",
        "leftward biased only",
        "bias not mirrored",
        "bias of the row below",
    ],
    "mdlstm": ["no condition", *PLACES],
}


@pytest.mark.parametrize(
    ("network", "mistake"), [(network, each) for network, some in MISTAKES.items() for each in some]
)
def test_one_mistake_in_the_conditioning_would_be_seen(network: str, mistake: str) -> None:
    assert_seen(*compared(network, mistake, channels=3))
