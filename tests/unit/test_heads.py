"""Heads against closed forms, and against themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from close import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from models import small
from torch import Tensor

import pixelrnn
from pixelrnn.heads import HEADS, Bernoulli, Categorical, Head

# name, channels, levels
KINDS = [
    (name, channels, levels)
    for name in HEADS
    for channels in (1, 3)
    for levels in ((2,) if name == "bernoulli" else (2, 5, 256))
]


def parts(head: Head, size: tuple[int, int], scale: float = 3.0, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Random parameters, 50 at most, and images."""
    params = (scale * torch.randn(batch, head.num_params, *size)).clamp(-50, 50)
    return params, torch.randint(0, head.levels, (batch, head.channels, *size))


def test_a_bernoulli_head_is_a_sigmoid() -> None:
    params = torch.tensor([-3.0, -0.5, 0.0, 2.0]).view(1, 1, 1, 4)
    for level in (0, 1):
        nats = Bernoulli(1, 2).log_prob(params, torch.full((1, 1, 1, 4), level)).flatten()
        sign = 1 if level else -1
        expected = [math.log(1 / (1 + math.exp(-sign * logit))) for logit in (-3.0, -0.5, 0.0, 2.0)]
        assert_close(nats, expected)
    pmf = Bernoulli(1, 2).pmf(params, torch.zeros(1, 1, 1, 4), 0)[0, 0]
    assert_close(pmf[:, 1], [1 / (1 + math.exp(-x)) for x in (-3.0, -0.5, 0.0, 2.0)])


@pytest.mark.parametrize("logit", [50.0, -50.0, 700.0, -700.0])
def test_a_bernoulli_head_is_exact_far_out(logit: float) -> None:
    """The improbable level costs |logit| nats, the probable one next to nothing, and no infinity comes between."""
    params = torch.full((1, 1, 1, 1), logit)
    probable = int(logit > 0)
    costs = [-Bernoulli(1, 2).log_prob(params, torch.full((1, 1, 1, 1), level)).item() for level in (0, 1)]
    assert costs[1 - probable] == abs(logit)
    assert costs[probable] == pytest.approx(math.exp(-abs(logit)), rel=1e-12)


def test_a_bernoulli_head_has_one_logit_per_colour_in_their_order() -> None:
    params = torch.tensor([1.0, -2.0, 0.5]).view(1, 3, 1, 1)
    nats = Bernoulli(3, 2).log_prob(params, torch.tensor([1, 0, 1]).view(1, 3, 1, 1)).flatten()
    assert_close(nats, [-math.log1p(math.exp(-x)) for x in (1.0, 2.0, 0.5)])
    for colour, logit in enumerate((1.0, -2.0, 0.5)):
        pmf = Bernoulli(3, 2).pmf(params, torch.zeros(1, 3, 1, 1), colour)
        assert pmf[0, 0, 0, 1].item() == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-15)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("levels", [2, 5, 256])
def test_a_categorical_head_is_a_softmax_of_the_levels_of_one_colour(channels: int, levels: int) -> None:
    head = Categorical(channels, levels)
    params, images = parts(head, (3, 2))
    nats = head.log_prob(params, images)
    assert nats.shape == images.shape
    for (image, colour, row, column), found in np.ndenumerate(nats.numpy()):
        logits = params[image, levels * colour : levels * (colour + 1), row, column].numpy()  # [R | G | B]
        softmax = np.exp(logits) / np.exp(logits).sum()
        assert found == pytest.approx(math.log(softmax[images[image, colour, row, column]]), abs=1e-12)
        pmf = head.pmf(params, images, colour)[image, row, column]
        assert_close(pmf, softmax)


@pytest.mark.parametrize(("name", "channels", "levels"), KINDS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0])
def test_a_pmf_is_positive_and_sums_to_one(name: str, channels: int, levels: int, scale: float) -> None:
    head = HEADS[name](channels, levels)
    params, images = parts(head, (4, 3), scale)
    for extreme in (params, params.sign() * scale):
        for colour in range(channels):
            pmf = head.pmf(extreme, images, colour)
            assert pmf.shape == (2, 4, 3, levels)
            assert pmf.dtype == torch.float64
            # A logistic distribution that narrow and that far out has bins of e^-1000, which float64 does not hold.
            assert (pmf >= 0).all() if name == "logistic-mixture" and scale > 1 else (pmf > 0).all()
            assert_close(pmf.sum(-1), torch.ones(2, 4, 3))


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    scale=st.floats(0, 50),
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_a_pmf_is_the_exponential_of_log_prob(
    kind: tuple[str, int, int], scale: float, seed: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(seed)
    head = HEADS[kind[0]](*kind[1:])
    params, images = parts(head, size, scale)
    nats = head.log_prob(params, images)
    assert (nats <= 0).all()
    for colour in range(head.channels):
        chosen = head.pmf(params, images, colour).gather(-1, images[:, colour, ..., None]).squeeze(-1)
        torch.testing.assert_close(chosen, nats[:, colour].exp(), rtol=1e-11, atol=0)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("name", "channels", "levels"), KINDS)
def test_half_precision_parameters_are_lifted_to_float32(
    name: str, channels: int, levels: int, kind: torch.dtype
) -> None:
    head = HEADS[name](channels, levels)
    params, images = parts(head, (4, 3))
    half = params.to(kind)
    nats = head.log_prob(half, images)
    assert nats.dtype == torch.float32
    assert torch.equal(nats, head.log_prob(half.float(), images))
    torch.testing.assert_close(nats.double(), head.log_prob(half.double(), images), rtol=1e-4, atol=1e-6)
    for colour in range(channels):
        pmf, exact = (head.pmf(each, images, colour) for each in (half, half.double()))
        assert_close(pmf, exact)  # the last bit depends on the layout in memory


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "channels", "levels"), KINDS)
def test_other_parameters_keep_their_precision(name: str, channels: int, levels: int, kind: torch.dtype) -> None:
    head = HEADS[name](channels, levels)
    params, images = parts(head, (2, 2))
    assert head.log_prob(params.to(kind), images).dtype == kind
    assert head.pmf(params.to(kind), images, 0).dtype == torch.float64


@pytest.mark.parametrize(("name", "channels", "levels"), KINDS)
@pytest.mark.parametrize("pixels", [torch.uint8, torch.int32, torch.int64])
def test_the_type_of_the_pixels_does_not_matter(name: str, channels: int, levels: int, pixels: torch.dtype) -> None:
    head = HEADS[name](channels, levels)
    params, images = parts(head, (4, 3))
    assert torch.equal(head.log_prob(params, images.to(pixels)), head.log_prob(params, images))


@pytest.mark.parametrize(("name", "channels", "levels"), KINDS)
def test_a_pmf_reads_no_colour_from_its_own_on(name: str, channels: int, levels: int) -> None:
    head = HEADS[name](channels, levels)
    params, images = parts(head, (4, 3))
    for colour in range(channels):
        others = images.clone()
        others[:, colour:] = torch.randint(0, levels, others[:, colour:].shape)
        assert torch.equal(head.pmf(params, images, colour), head.pmf(params, others, colour))


def test_every_head_says_how_many_parameters_and_colour_groups_it_has() -> None:
    assert (Bernoulli(3, 2).num_params, Bernoulli(3, 2).groups) == (3, 3)
    assert (Categorical(3, 256).num_params, Categorical(3, 256).groups) == (768, 3)
    assert (Categorical(1, 4).num_params, Categorical(1, 4).groups) == (4, 1)


@pytest.mark.parametrize("network", pixelrnn.network_names())
@pytest.mark.parametrize("head", HEADS)
def test_no_images_have_no_likelihoods(network: str, head: str) -> None:
    model = small(network, size=(3, 4), levels=2, head=head)
    assert model.log_prob(torch.zeros(0, 1, 3, 4, dtype=torch.uint8)).shape == (0,)
