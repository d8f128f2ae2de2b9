"""Contract 0 for Spatial LSTM and MCGSM: equations 4 to 8 of arXiv 1506.03478, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loops import Array, assert_seen, assert_the_same, multiply, pointwise, scaled
from loops_mdlstm import STATES, input_to_state, spatial, states
from loops_mixture import density, mixture_of_states, neighbourhood, over_neighbourhoods, part, read, weights_of
from torch import nn

import pixelrnn
from pixelrnn.canvas import Whole, scale
from pixelrnn.heads import MCGSM
from pixelrnn.layers.mixture import ScaleMixture
from pixelrnn.model import PixelModel

# Each from scaled pixels (C, H, W). With the head "mcgsm" they give the density of real-valued levels (C, H, W), with
# another head the parameters (params, H, W).


def spatial_lstm(model: PixelModel, image: Array, levels: Array, options: dict, mistake: str = "") -> Array:
    """Equations 6 to 8: the first layer reads a neighbourhood of pixels, a later one the states of the one below."""
    net, colours = model.network, "RGB"[: model.channels]
    first, *others = net.layers
    blocks = 1 if mistake == "colours over all 5h" else 5
    into = over_neighbourhoods(first.inputs[0], image, options["kernel"], blocks, mistake)
    h = states(first, into, spatial, mistake)
    for layer in others:
        above = states(layer, input_to_state(layer, h, colours, mistake), spatial, mistake)
        h = above + h if mistake == "a residual between the layers" else above
    if isinstance(net.readout, ScaleMixture):
        return mixture_of_states(model, h, levels, mistake)
    (readout,) = pointwise([net.readout], colours, mistake)
    return readout(h)


def mcgsm(model: PixelModel, image: Array, levels: Array, options: dict, mistake: str = "") -> Array:
    """Equations 4 and 5 with the neighbourhood itself for x."""
    net, kernel, channels = model.network, options["kernel"], model.channels
    if not isinstance(net.readout, ScaleMixture):
        return over_neighbourhoods(net.readout, image, kernel, 1, mistake)
    unit = 2 / (model.levels - 1)
    found = np.zeros_like(levels)
    for colour in range(channels):
        seen = neighbourhood(kernel, channels, colour, mistake)
        a, b = (
            part(weights_of(each, kernel, seen), colour, channels)
            for each in (net.readout.predict, net.readout.describe)
        )
        for row, column in np.ndindex(*levels.shape[1:]):
            x, y = read(image, row, column, seen, mistake), levels[colour, row, column] * unit - 1
            found[colour, row, column] = density(net.readout, colour, a, b, x, y, mistake)
    return found * (1.0 if mistake == "density of scaled pixels" else unit)


LOOPS = {"spatial-lstm": spatial_lstm, "mcgsm": mcgsm}
USUAL = {"spatial-lstm": {"layers": 2, "width": 7, "kernel": 5}, "mcgsm": {"kernel": 5}}


@torch.no_grad()
def enlivened(model: PixelModel) -> PixelModel:
    """Weights far from those of the beginning: gates that are not linear, a mixture of many different Gaussians."""
    multiply(model, 3 if model.config["network"] == "spatial-lstm" else 2)
    for module in model.modules():
        if isinstance(module, ScaleMixture):
            nn.init.normal_(module.eta)
            nn.init.uniform_(module.alpha, -1.0, 4.0)
            nn.init.normal_(module.beta, 0.0, 0.6)
    return model


def compared(
    network: str,
    mistake: str = "",
    *,
    head: str = "categorical",
    size: tuple[int, int] = (5, 4),
    batch: int = 2,
    levels: int = 4,
    **options: object,
) -> tuple[Array, Array]:
    """Parameters, or densities of real-valued levels, by the package and by the loops above."""
    mixed = {"components": 3, "scales": 2, "features": 4} if head == "mcgsm" else {}
    settings = {**USUAL[network], **mixed, **options}
    model = enlivened(pixelrnn.build(network, size=size, levels=levels, head=head, **settings)).eval()
    images = torch.randint(0, levels, (batch, model.channels, *size))
    real = torch.rand(images.shape) * (levels + 1) - 1  # of which the density is asked: from -1 to `levels`
    with torch.no_grad():
        found = model.network(Whole(scale(images, levels, torch.float64)))
        if head == "mcgsm":
            found = model.head.log_density(found, real).exp()
    pairs = zip(scaled(images, levels), real.numpy(), strict=True)
    return found.numpy(), np.stack([LOOPS[network](model, image, each, settings, mistake) for image, each in pairs])


@pytest.mark.parametrize("head", ["mcgsm", "categorical"])
@pytest.mark.parametrize(
    "options", [{"layers": 1}, {"layers": 2}, {"layers": 3, "width": 5}, {"kernel": 3, "width": 6}], ids=str
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_spatial_lstm_is_the_loop_of_its_paper(channels: int, options: dict, head: str) -> None:
    found, expected = compared("spatial-lstm", channels=channels, head=head, **options)
    assert found.shape == (2, channels if head == "mcgsm" else 4 * channels, 5, 4)
    assert_the_same(found, expected)


@pytest.mark.parametrize("head", ["mcgsm", "categorical"])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_mcgsm_is_the_loop_of_its_paper(channels: int, kernel: int, head: str) -> None:
    found, expected = compared("mcgsm", channels=channels, head=head, kernel=kernel)
    assert found.shape == (2, channels if head == "mcgsm" else 4 * channels, 5, 4)
    assert_the_same(found, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"levels": 2},
        {"levels": 256},
        {"components": 1, "scales": 1, "features": 1},
        {"components": 5, "scales": 1},
        {"components": 1, "scales": 4},
        {"features": 9},
    ],
    ids=str,
)
@pytest.mark.parametrize("network", ["spatial-lstm", "mcgsm"])
def test_a_mixture_of_any_size_has_the_density_of_its_paper(network: str, options: dict) -> None:
    assert_the_same(*compared(network, head="mcgsm", channels=3, **options))


@pytest.mark.parametrize("size", [(4, 6), (6, 1), (1, 6), (2, 1), (1, 2), (1, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", LOOPS)
def test_a_network_is_that_loop_on_images_of_any_size(network: str, channels: int, size: tuple[int, int]) -> None:
    for batch in (1, 3):
        assert_the_same(*compared(network, head="mcgsm", channels=channels, size=size, batch=batch))


SEEN = [
    "a row more",
    "a row less",
    "a row higher",
    "a neighbour less on the right",
    "ones outside the image",
    "no colours of the pixel itself",
    "colours alone",
]
MIXTURE = [
    "energy without the half",
    "beta not squared",
    "features not squared",
    "precision squared in the energy",
    "precision squared in the normal",
    "one energy for all scales",
    "weights that do not depend on x",
    "the energy times the variance",
    "standard deviation for variance",
    "normal without its constant",
    "each component normalised",
    "one mean for all components",
    "the means of other components",
    "no offset",
    "density of scaled pixels",
]
MISTAKES: dict[tuple[str, str], list[str]] = {  # (network, head)
    ("spatial-lstm", "categorical"): [
        *STATES,
        *SEEN,
        "tanh before the product",
        "no tanh",
        "initial states that are not zero",
        "a residual between the layers",
    ],
    ("spatial-lstm", "mcgsm"): [
        *SEEN,
        *MIXTURE,
        "tanh before the product",
        "forget gates swapped",
        "mixture without mask",
        "mixture of one colour's states",
    ],
    ("mcgsm", "categorical"): [*SEEN, "own pixel seen"],
    ("mcgsm", "mcgsm"): [*SEEN, *MIXTURE, "own pixel seen"],
}


@pytest.mark.parametrize(
    ("network", "head", "mistake"), [(*which, each) for which, several in MISTAKES.items() for each in several]
)
def test_one_mistake_in_a_network_would_be_seen(network: str, head: str, mistake: str) -> None:
    assert_seen(*compared(network, mistake, head=head, channels=3))


def test_a_neighbourhood_of_five_holds_the_twelve_pixels_of_the_paper() -> None:
    assert len(neighbourhood(5, 1, 0)) == 12
    assert [len(neighbourhood(5, 3, colour)) for colour in range(3)] == [36, 37, 38]
    model = pixelrnn.build("mcgsm", size=(9, 9), levels=4)
    assert model.network.field(4, 4, 9, 9).sum() == 12


def test_the_mixture_of_a_head_has_its_components_and_scales() -> None:
    model = pixelrnn.build("spatial-lstm", size=(4, 4), channels=3, levels=4, layers=1, width=5, components=3, scales=2)
    assert isinstance(model.head, MCGSM)
    assert (model.head.components, model.head.scales) == (3, 2)
    assert model.network.readout.eta.shape == model.network.readout.alpha.shape == (3, 3, 2)  # colours first
    assert model.network.readout.beta.shape == (3, 3, 16)
