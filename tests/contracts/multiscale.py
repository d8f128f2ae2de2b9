"""Multi-scale models of every kind: what the tests of this network, whose order is its own, run on.

A copied pixel is one of the small image's, the rest is all others.
"""

from __future__ import annotations

import pytest
import torch
from cases import enlarge, make
from torch import Tensor

import pixelrnn
from pixelrnn.model import PixelModel
from pixelrnn.networks.multiscale import UpSampling

BODIES = ["row-lstm", "diagonal-bilstm"]
VARIANTS = [{"factor": 2}, {"factor": 3}, {"factor": 2, "images": 3}]
SIZE = (5, 4)

both_bodies = pytest.mark.parametrize("body", BODIES)
all_variants = pytest.mark.parametrize("variant", VARIANTS, ids=str)


def model_of(
    body: str,
    size: tuple[int, int] = SIZE,
    channels: int = 1,
    head: str = "categorical",
    levels: int = 4,
    **options: object,
) -> PixelModel:
    """Larger weights than at the beginning: pixels that depend on each other, and on the small image above all."""
    case = ("", "multiscale", channels, head, levels)
    model = enlarge(make(case, size, **{"layers": 2, "body": body, **options}), 2)
    for up in (each for each in model.modules() if isinstance(each, UpSampling)):
        enlarge(up, 2)
    return model


def copied(model: PixelModel, size: tuple[int, int]) -> Tensor:
    """The pixels of the small image: (H, W) bool."""
    mask = torch.zeros(size, dtype=torch.bool)
    mask[:: model.network.factor, :: model.network.factor] = True
    return mask


def small_of(model: PixelModel) -> PixelModel:
    """A model of the small image alone, of the same weights."""
    options = dict(model.config["options"])
    body, factor, images = (options.pop(key) for key in ("body", "factor", "images"))
    if images > 2:
        options.update(body=body, factor=factor, images=images - 1)
    size = tuple(-(-length // factor) for length in model.size)
    name = body if images == 2 else "multiscale"
    small = pixelrnn.build(
        name, size=size, channels=model.channels, levels=model.levels, head=model.config["head"], **options
    )
    small.network.load_state_dict(model.network.small.state_dict())
    return small.double().eval()
