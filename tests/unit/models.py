"""A small model of any network, and images for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import pixelrnn
from pixelrnn.model import PixelModel
from pixelrnn.networks import options_of


def small(network: str = "gated-pixelcnn", **options: Any) -> PixelModel:
    """A model; options that the network does not have are left out."""
    wanted = {"layers": 2, "width": 4, "blocks": 2, "resolutions": 2, **options}
    places = {key: wanted.pop(key) for key in ("size", "channels", "levels", "head") if key in wanted}
    known = {key: value for key, value in wanted.items() if key in options_of(network)}
    return pixelrnn.build(network, **{"size": (5, 4), "channels": 1, "levels": 4, **places}, **known).eval()


def images_of(model: PixelModel, n: int = 2) -> Tensor:
    return torch.randint(0, model.levels, (n, model.channels, *model.size))
