"""A network in whole numbers, made of a trained one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

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

    places: Annotated[int, Field(ge=0, le=14)]
    """Binary places of a feature map: integers per 1 are 2^places."""
    double: bool = False
    """Integers are carried by float64, in twice the time and memory."""


PRECISIONS = [Precision(places=places) for places in range(3, 12)]
"""Those that are tried: more places leave fewer for the weights."""
PRECISE = Precision(places=12, double=True)
"""What is taken if they cost too much."""


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


def with_integer_layers(network: Network, precision: Precision) -> None:
    """Replace the convolutions of a network by integer ones, whose weights are not set yet."""
    for owner, name, conv in _convolutions(network):
        setattr(owner, name.rpartition(".")[2], IntegerConv2d(conv, precision.double))


def ranges(network: Network, run: Callable[[], object]) -> dict[str, float]:
    """The largest magnitude that each convolution reads while `run` runs the network; the image counts as 1."""
    found: dict[str, float] = {}

    def watch(name: str) -> Callable[[nn.Module, Any], None]:
        def look(_: nn.Module, arguments: Any) -> None:
            x = arguments[0]
            found[name] = max(found.get(name, 0.0), 1.0 if x is None else float(x.abs().max()))

        return look

    hooks = [conv.register_forward_pre_hook(watch(name)) for _, name, conv in _convolutions(network)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return found


def approximate(
    network: Network, trained: Network, head: IntegerHead, precision: Precision, ranges: dict[str, float]
) -> None:
    """Set the weights of a network with integer layers to what is nearest to a trained network.

    Arguments: ranges, what the layers of the trained network read
    """
    convs = {name: conv for _, name, conv in _convolutions(trained)}
    units, offsets = head.units()
    inside = 2.0**precision.places
    for name, each in network.named_modules():
        if not isinstance(each, IntegerConv2d):
            continue
        conv, maps = convs[name], len(each.step)
        if _reads_image(name):
            most, unit_in = head.levels - 1, 1 / (head.levels - 1)
        else:
            most, unit_in = min(math.ceil(_ROOM * ranges[name] * inside) + 1, each.limits.largest), 1 / inside
        if not _puts_out(name, network):
            each.approximate(conv, most, unit_in, torch.full((maps,), inside), torch.zeros(maps))
        else:  # the parameters; their offset is added once
            each.approximate(conv, most, unit_in, units, torch.zeros(maps) if name == "linear" else offsets)


_ROOM = 1.25  # for inputs that are larger than any that was seen


def without_rounding(network: nn.Module) -> None:
    """Put plain convolutions in the place of integer ones: what depends on what is the same, and has a gradient."""
    for name, each in list(network.named_modules()):
        if isinstance(each, IntegerConv2d):
            owner, _, own = name.rpartition(".")
            setattr(network.get_submodule(owner), own, each.conv.requires_grad_())


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
