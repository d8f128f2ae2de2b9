"""Every kind of condition that a model can have, with values for it: the cases of the contracts on conditions."""

from __future__ import annotations

import torch
from cases import CASES, DEEP, enlarge, make
from torch import Tensor

from pixelrnn.heads import HEADS
from pixelrnn.model import PixelModel
from pixelrnn.networks import NETWORKS, default_head

CONDITIONS: dict[str, dict[str, object]] = {
    "label": {"classes": 3},
    "vector": {"vector_size": 2},
    "map": {"map_channels": 2},
    "all three": {"classes": 3, "vector_size": 2, "map_channels": 2},
    "placed vector": {"vector_size": 2, "condition_spatial": True},
}

# Every network with the head that it gets by itself, and those that are conditioned differently with another head.
_OTHERS = {"pixelcnn-1-mcgsm", "row-lstm-3-mcgsm", "spatial-lstm-1-categorical", "mcgsm-3-categorical"}
_COLOURED = ("gated-pixelcnn", "row-lstm", "multiscale", "pixelcnn-pp")  # a condition knows nothing of colours
CONDITIONAL = [
    case
    for case in CASES
    if case[0] in _OTHERS or (case[3] == default_head(case[1], 4) and (case[2] == 1 or case[1] in _COLOURED))
]
TOLD_IDS = [case[0] for case in CONDITIONAL]
assert {case[1] for case in CONDITIONAL} == set(NETWORKS)
assert {case[3] for case in CONDITIONAL} < set(HEADS)

# Where no gate bounds them, maps grow as fast.
_NO_GATES = {"pixelcnn": 1.9, "spatial-lstm": 1.3, "mcgsm": 1.3, "local-pixelcnn": 1.5, "lmconv": 1.5}


def conditional(case: tuple, name: str, size: tuple[int, int] = (9, 7), **options: object) -> PixelModel:
    """A small model that knows these conditions, with weights that make them matter."""
    layers = 1 if case[1] in DEEP else 2
    model = make(case, size, **{"layers": layers, "condition_width": 3, **CONDITIONS[name], **options})
    return attentive(model, 2 if case[1] == "diagonal-bilstm" else 3)


@torch.no_grad()
def attentive(model: PixelModel, factor: float = 3) -> PixelModel:
    """Larger weights, by `factor` where there are gates, those that read a condition above all."""
    assert model.condition is not None
    if model.condition.deconvolution is not None:  # small weights of four layers: next to nothing comes out
        enlarge(model.condition.deconvolution, 2)
    for name, weight in model.network.named_parameters():
        if "bias_" in name or "condition_bias" in name or "inputs.1" in name:
            weight *= 3
    return enlarge(model, _NO_GATES.get(model.config["network"], factor))


def something(model: PixelModel, n: int, size: tuple[int, int] | None = None) -> dict[str, Tensor]:
    """Conditions for n images, a different one for each."""
    assert model.condition is not None
    classes, vector_size, map_channels = model.condition.kinds
    condition: dict[str, Tensor] = {}
    if classes:
        condition["label"] = torch.arange(n) % classes
    if vector_size:
        condition["vector"] = torch.randn(n, vector_size)
    if map_channels:
        condition["condition_map"] = torch.randn(n, map_channels, *(size or model.size))
    return condition


@torch.no_grad()
def without(model: PixelModel, **options: object) -> PixelModel:
    """A model built without a condition, with the same weights: layers that read the condition are left out or cut."""
    config = model.config
    case = ("", config["network"], model.channels, config["head"], model.levels)
    plain = make(case, model.size, **{"layers": config["options"].get("layers", 2), **options})
    weights = dict(model.state_dict())
    for name, weight in plain.state_dict().items():
        weight.copy_(weights[name][tuple(slice(length) for length in weight.shape)])
    return plain
