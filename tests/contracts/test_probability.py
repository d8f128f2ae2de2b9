"""Contracts 4 and 5: what a model calls probabilities are probabilities, and all of its figures are one quantity."""

from __future__ import annotations

import math

import pytest
import torch
from cases import CASES, IDS, MIXED, enlarge, make
from close import assert_close
from torch import Tensor
from worlds import all_images

import pixelrnn
from pixelrnn.canvas import Order, Whole, scale
from pixelrnn.heads import HEADS
from pixelrnn.layers.convolution import CausalConv2d
from pixelrnn.model import PixelModel
from pixelrnn.networks import NETWORKS, options_of
from pixelrnn.networks.lmconv import LocallyMaskedConv2d


def random_images(model: PixelModel, n: int, size: tuple[int, int] = (9, 7)) -> Tensor:
    return torch.randint(0, model.levels, (n, model.channels, *size))


WORLDS = [(1, 2, 2, 2), (3, 1, 2, 2), (1, 1, 3, 3), (2, 2, 1, 3), (1, 1, 1, 7)]  # channels, height, width, levels


@pytest.mark.parametrize(
    ("network", "world", "head"),
    [
        (network, world, head)
        for network in NETWORKS
        for world in WORLDS
        for head in HEADS
        if (head != "bernoulli" or world[-1] == 2) and (head != "logistic-mixture" or network in MIXED)
    ],
    ids=str,
)
@torch.no_grad()
def test_all_images_of_a_world_have_total_probability_one(
    network: str, world: tuple[int, int, int, int], head: str
) -> None:
    channels, height, width, levels = world
    model = enlarge(make(("", network, channels, head, levels), (height, width)), 3)
    images = all_images(*world)
    assert len(images) == levels ** (channels * height * width)
    probabilities = model.log_prob(images).exp()
    assert_close(probabilities.sum(), torch.tensor(1.0))
    assert probabilities.max() > 1.2 * probabilities.min(), "not the uniform distribution"


@pytest.mark.parametrize("case", CASES, ids=IDS)
@torch.no_grad()
def test_log_prob_is_the_sum_of_every_pixel_and_colour(case: tuple) -> None:
    model = make(case)
    images = random_images(model, 4)
    nats = model.log_prob(images, reduce=False)
    assert nats.shape == (4, model.channels, 9, 7)
    assert (nats < 0).all()
    assert model.log_prob(images).shape == (4,)
    assert_close(model.log_prob(images), nats.sum((1, 2, 3)))
    torch.testing.assert_close(model(images), model.log_prob(images), rtol=0, atol=0)


@pytest.mark.parametrize("case", CASES, ids=IDS)
@torch.no_grad()
def test_the_nats_of_a_pixel_are_the_logarithm_of_the_heads_pmf(case: tuple) -> None:
    model = enlarge(make(case), 2)
    images = random_images(model, 3)
    params = model.network(Whole(scale(images, model.levels, model.dtype)))
    assert params.shape == (3, model.head.num_params, 9, 7)
    nats = model.log_prob(images, reduce=False)
    for channel in range(model.channels):
        pmf = model.head.pmf(params, images, channel)
        assert pmf.shape == (3, 9, 7, model.levels)
        chosen = pmf.gather(-1, images[:, channel, ..., None]).squeeze(-1)
        assert_close(nats[:, channel], chosen.log())


@pytest.mark.parametrize("case", CASES, ids=IDS)
@torch.no_grad()
def test_bits_per_dim_are_nats_by_dimensions_and_ln_2(case: tuple) -> None:
    model = make(case)
    images = random_images(model, 3, (5, 4))  # not the size that the model is built for
    expected = [-nats / (5 * 4 * model.channels * math.log(2)) for nats in model.log_prob(images).tolist()]
    assert_close(model.bits_per_dim(images), torch.tensor(expected))


@torch.no_grad()
def test_a_uniform_model_has_the_bits_of_its_levels() -> None:
    """79.20 nats of a 28 x 28 image are 0.1457 bits/dim; a model that knows nothing needs log2(levels)."""
    for levels, bits in ((2, 1.0), (4, 2.0), (256, 8.0)):
        model = make(("", "pixelcnn", 1, "categorical", levels))
        for weight in model.network.readout.layers[-1].parameters():
            weight.zero_()
        images = random_images(model, 2)
        assert_close(model.bits_per_dim(images), torch.full((2,), bits))


@pytest.mark.parametrize("case", CASES, ids=IDS)
@torch.no_grad()
def test_an_image_has_the_same_probability_alone_and_in_a_batch(case: tuple) -> None:
    model = make(case)
    images = random_images(model, 5)
    alone = torch.cat([model.log_prob(images[index : index + 1]) for index in range(5)])
    assert_close(model.log_prob(images), alone)
    assert alone.unique().numel() == 5


@pytest.mark.parametrize(
    ("case", "skip"),
    [(case, skip) for case in CASES for skip in (True, False) if skip or "skip" in options_of(case[1])],
    ids=str,
)
def test_no_weight_is_dead_and_no_masked_weight_is_alive(
    case: tuple, skip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of the likelihood reaches every single weight that no mask hides, and none that one hides.

    A softplus stands in for the ReLU, which lets some maps of a small random network die; that is not what is asked.
    """
    monkeypatch.setattr(torch.nn.functional, "relu", torch.nn.functional.softplus)
    model = make(case, skip=skip)
    images = random_images(model, 8)
    model.log_prob(images).sum().backward()
    if model.network.orders == "any":  # what comes later in one order comes earlier in another
        last_first = Order.from_ranks(torch.arange(images[0, 0].numel()).flip(0).view(model.size))
        model.log_prob(images, order=last_first).sum().backward()
    for name, layer in model.named_modules():
        if isinstance(layer, LocallyMaskedConv2d):
            layer.mask = torch.ones_like(layer.weight, dtype=torch.bool)
            middle = layer.kernel_size[0] // 2
            layer.mask[:, :, middle, middle] = layer.itself
        elif not isinstance(layer, CausalConv2d):
            for part, weight in layer.named_parameters(recurse=False):
                assert (weight.grad != 0).all(), f"{name}.{part}: a weight without a gradient"
            continue
        free = torch.ones_like(layer.weight, dtype=torch.bool) if layer.mask is None else layer.mask
        dead = ((layer.weight.grad == 0) & free).nonzero()
        assert not len(dead), f"{name}: {len(dead)} weights without a gradient, the first at {dead[0].tolist()}"
        assert not ((layer.weight.grad != 0) & ~free).any(), f"{name}: a masked weight has a gradient"
        # What is added to all keys alike changes no weight of an attention.
        keys = 3 if name.endswith(".offer") else 0
        assert layer.bias is None or (layer.bias.grad[keys:] != 0).all(), f"{name}: a bias without a gradient"


@torch.no_grad()
def test_levels_that_the_model_calls_certain_cost_nothing_and_impossible_ones_a_lot() -> None:
    model = pixelrnn.build("pixelcnn", size=(2, 2), levels=4, layers=1, width=2)
    model.network.readout.layers[-1].weight.zero_()
    model.network.readout.layers[-1].bias.copy_(torch.tensor([0.0, 300.0, 0.0, -300.0]))
    sure, never = torch.full((1, 1, 2, 2), 1), torch.full((1, 1, 2, 2), 3)
    assert model.log_prob(sure).item() == 0
    assert model.log_prob(never).item() == pytest.approx(-2400)
