"""Every network with every head that it can have, by name: what the contracts run on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
import torch
from torch import Tensor

import pixelrnn
from pixelrnn.heads import HEADS
from pixelrnn.model import PixelModel
from pixelrnn.model.options import CONDITION
from pixelrnn.networks import NETWORKS, options_of

MIXED = ("pixelcnn", "diagonal-bilstm", "local-pixelcnn", "pixelcnn-pp", "pixelsnail", "lmconv", "pixel-transformer")
"""The networks that meet the logistic mixture: a stack of convolutions, a recurrence, and those with presets of it."""

DEEP = ("pixelcnn-pp", "pixelsnail", "lmconv")
"""The networks of which one layer at every resolution, or in every block, is deep already."""

# name, network, channels, head, levels
CASES = [
    (f"{network}-{channels}-{head}", network, channels, head, 2 if head == "bernoulli" else 4)
    for network in NETWORKS
    for channels in (1, 3)
    for head in HEADS
    if head != "logistic-mixture" or network in MIXED
]
IDS = [case[0] for case in CASES]
BY_ROWS = [case for case in CASES if NETWORKS[case[1]].orders != "any"]
"""Those of networks that go row by row."""
WALKED = [
    case
    for case in CASES
    if case[2:4] in ((1, "bernoulli"), (3, "categorical")) or (case[1], case[2]) in (("pixelcnn", 1), ("pixelcnn", 3))
]
"""Cases for what a walk does with its parameters: every network, both numbers of colours, every head."""
assert {case[1] for case in WALKED} == set(NETWORKS)
assert {case[3] for case in WALKED} == set(HEADS)
ONE_EACH = [
    next(case for case in WALKED if case[1:3] == (network, 1 + 2 * (index % 2)))
    for index, network in enumerate(NETWORKS)
]
each_network = pytest.mark.parametrize("model", ONE_EACH, ids=[case[0] for case in ONE_EACH], indirect=True)
"""For what a walk does whatever the head is: one case of every network, with one colour and three in turn."""
SMALL = (4, 5)


def make(case: tuple[str, str, int, str, int], size: tuple[int, int] = (9, 7), **options: object) -> PixelModel:
    """A small model of random weights in float64."""
    _, network, channels, head, levels = case
    deep = network in DEEP
    options = {"layers": 1 if deep else 3, "width": 7, **options}  # 7 is no multiple of 3: groups of unequal size
    if network == "local-pixelcnn":
        options = {"kernel": 5, "linear": True, "block_layers": 2, **options}
    if deep:
        options = {"blocks": 2, "keys": 3, "resolutions": 2, **options}
    options = {key: value for key, value in options.items() if key in {**options_of(network), **CONDITION}}
    if head == "mcgsm":
        options = {**options, "components": 3, "scales": 2}
    if head == "logistic-mixture":
        options = {**options, "components": 3, "masked": network == "pixelcnn"}
    model = pixelrnn.build(network, size=size, channels=channels, levels=levels, head=head, **options).double().eval()
    if network == "spatial-lstm":  # of small weights, a product of three numbers below one: every level is as probable
        enlarge(model, 3)
    if deep:  # biases of zero, and gates that add a tenth, would make every level as probable
        for name, weight in model.network.named_parameters():
            if name.rpartition(".")[2] in ("bias", "bias_above", "bias_along"):
                torch.nn.init.normal_(weight, std=0.5)
            elif name.endswith("second.gain"):
                torch.nn.init.constant_(weight, 0.5)
    return model


@torch.no_grad()
def enlarge(model: PixelModel, factor: float) -> PixelModel:
    """Larger weights: pixels that depend on each other, and levels that are not equally probable."""
    for name, weight in model.named_parameters():
        # Of many layers with a gain each, only the last is made larger; alpha is a logarithm.
        if not name.endswith(("alpha", ".gain")) or name.endswith("params.gain"):
            weight.mul_(factor)
    return model


def some_images(model: PixelModel, n: int) -> Tensor:
    return torch.randint(0, model.levels, (n, model.channels, *model.size), dtype=torch.uint8)


class RecordedRows:
    """An `on_row` that records its calls (first image, row), and the images that the rows make."""

    def __init__(self, n: int, model: PixelModel) -> None:
        self.calls: list[tuple[int, int]] = []
        self.images = torch.full((n, model.channels, *model.size), 255, dtype=torch.uint8)

    def __call__(self, first: int, row: int, pixels: Tensor) -> None:
        self.calls.append((first, row))
        self.images[first : first + len(pixels), :, row] = pixels


def in_turn(names: str, cases: Sequence[tuple], ways: Iterable[object], each: int = 2) -> pytest.MarkDecorator:
    """Parametrises by case and way: every way for Gated PixelCNN, `each` of them in turn for every other case.

    Arguments: names, of the parameters: that of the case, then those of a way. `model` is the fixture, of a case
    """
    ways = list(ways)
    pairs = []
    for index, case in enumerate(cases):
        chosen = ways if case[1] == "gated-pixelcnn" else [ways[(each * index + at) % len(ways)] for at in range(each)]
        pairs += [(case, way) for way in chosen]
    several = names.count(",") > 1
    return pytest.mark.parametrize(
        names,
        [(case, *way) if several and isinstance(way, tuple) else (case, way) for case, way in pairs],
        ids=[f"{case[0]}-{way}" for case, way in pairs],
        indirect=["model"] if names.startswith("model,") else False,
    )
