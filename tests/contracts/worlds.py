"""Worlds so small that every image in them can be listed, and how often each should come up."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from pixelrnn.model import PixelModel


def all_images(channels: int, height: int, width: int, levels: int) -> Tensor:
    """Every image that there is."""
    places = channels * height * width
    pixels = torch.tensor(list(itertools.product(range(levels), repeat=places)))
    return pixels.view(levels**places, channels, height, width)


@torch.no_grad()
def world_of(model: PixelModel) -> tuple[Tensor, Tensor]:
    """All images of the model's size and their exact probabilities."""
    every = all_images(model.channels, *model.size, model.levels)
    return every, model.log_prob(every).exp()


def count(images: Tensor, every: Tensor) -> Tensor:
    """How often each image came up."""
    same = images.flatten(1)[:, None] == every.flatten(1)[None]
    return same.all(-1).sum(0).double()


def as_often(found: Tensor, expected: Tensor) -> bool:
    """By chi-square, rare images counted as one; wrong about once in 10 000 (Wilson and Hilferty)."""
    rare = expected < 5
    if rare.sum() > 1:
        found, expected = (torch.cat([each[~rare], each[rare].sum()[None]]) for each in (found, expected))
    freedom = len(expected) - 1
    limit = freedom * (1 - 2 / (9 * freedom) + 3.72 * (2 / (9 * freedom)) ** 0.5) ** 3
    return float(((found - expected) ** 2 / expected).sum()) < limit


def assert_sampled_as_often(model: PixelModel, n: int) -> None:
    """Of n samples, every image comes up as often as the model says."""
    every, probabilities = world_of(model)
    found = count(model.sample(n, seed=0, batch_size=n), every)
    assert found.sum() == n, "an image that is none"
    assert as_often(found, n * probabilities)
    assert not as_often(found, torch.full_like(probabilities, n / len(every))), "not the uniform distribution"
