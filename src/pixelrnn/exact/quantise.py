"""A network in whole numbers, made of a trained one."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from pixelrnn.errors import ConfigError
from pixelrnn.exact.heads import IntegerHead, integer_head
from pixelrnn.exact.layers import IntegerConv2d
from pixelrnn.fields import Strict
from pixelrnn.heads import Head
from pixelrnn.layers.convolution import CausalConv2d
from pixelrnn.networks import LocalPixelCNN, Network, PixelCNN


class Precision(Strict):
    """How integers stand for the numbers of a network."""

    places: Annotated[int, Field(ge=1, le=14)]
    """Binary places of a feature map: integers per 1 are 2^places."""
    most: Annotated[int, Field(ge=255, le=65535)]
    """What a layer reads is clamped to -most..most."""


PRECISIONS = [
    Precision(places=places, most=most) for places, most in ((6, 1023), (7, 2047), (8, 2047), (9, 4095), (10, 4095))
]
"""Those that are tried: more places leave fewer for the weights."""


def check_quantisable(network: Network, head: Head, conditioned: bool) -> IntegerHead:
    """The integer head of a model that has an exact form.

    Raises: ConfigError that says why it has none
    """
    found = integer_head(head)
    if found is None:
        raise ConfigError(
            f"A model with the head {type(head).__name__} has no exact form. Heads that have one: bernoulli, "
            "categorical, logistic-mixture."
        )
    if not isinstance(network, LocalPixelCNN | PixelCNN):
        raise ConfigError(
            f"{type(network).__name__} has no exact form. Networks that have one: pixelcnn, local-pixelcnn."
        )
    if conditioned:
        raise ConfigError("A model with a condition has no exact form. Train it without classes, vector or map.")
    return found


def with_integer_layers(network: Network, head: Head, precision: Precision) -> None:
    """Replace the convolutions of a network by integer ones, whose weights are not set yet."""
    for owner, name, conv in _convolutions(network):
        most = head.levels - 1 if _reads_image(name) else precision.most
        setattr(owner, name.rpartition(".")[2], IntegerConv2d(conv, most))


def approximate(network: Network, trained: Network, head: IntegerHead, precision: Precision) -> None:
    """Set the weights of a network with integer layers to what is nearest to a trained network."""
    convs = {name: conv for _, name, conv in _convolutions(trained)}
    units, offsets = head.units()
    inside = 2.0**precision.places
    for name, each in network.named_modules():
        if not isinstance(each, IntegerConv2d):
            continue
        conv, maps = convs[name], len(each.step)
        unit_in = 1 / (head.levels - 1) if _reads_image(name) else 1 / inside
        if not _puts_out(name, network):
            each.approximate(conv, unit_in, torch.full((maps,), inside), torch.zeros(maps))
        else:  # the parameters; their offset is added once
            each.approximate(conv, unit_in, units, torch.zeros(maps) if name == "linear" else offsets)


def problem(network: nn.Module) -> str:
    """What is wrong with the integer layers of a network that was loaded, "" if nothing is."""
    for name, each in network.named_modules():
        if isinstance(each, IntegerConv2d) and each.problem():
            return f"{name} has {each.problem()}"
    return ""


def _convolutions(network: nn.Module) -> list[tuple[nn.Module, str, CausalConv2d]]:
    """Every convolution: the module that holds it, its name in the network, itself."""
    return [
        (network.get_submodule(name.rpartition(".")[0]), name, each)
        for name, each in network.named_modules()
        if isinstance(each, CausalConv2d)
    ]


def _reads_image(name: str) -> bool:
    return name in ("first", "linear")


def _puts_out(name: str, network: Network) -> bool:
    last = len(network.readout.layers) - 1  # type: ignore[union-attr, arg-type]
    return name in (f"readout.layers.{last}", "linear")
