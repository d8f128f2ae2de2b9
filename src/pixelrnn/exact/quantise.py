"""A network in whole numbers, made of a trained one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pixelrnn.errors import ConfigError
from pixelrnn.exact.heads import IntegerHead, integer_head
from pixelrnn.exact.layers import MOST_ADDITIONS, SINGLE, IntegerConv2d, IntegerElu, IntegerGate, IntegerSigmoidGate
from pixelrnn.exact.recurrence import IntegerRecurrence
from pixelrnn.fields import Strict
from pixelrnn.heads import Head
from pixelrnn.layers.condition import Condition
from pixelrnn.layers.convolution import CausalConv2d
from pixelrnn.layers.gated_residual import FirstConv2d
from pixelrnn.layers.gates import Elu, Gate, SigmoidGate
from pixelrnn.layers.recurrence import Recurrence
from pixelrnn.networks import GatedPixelCNN, LocalPixelCNN, Network, PixelCNNpp
from pixelrnn.networks.pixelcnn_pp import Resolution
from pixelrnn.networks.spatial_lstm import SpatialLSTM
from pixelrnn.networks.stack import Stack


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


def check_quantisable(network: Network, head: Head, condition: Condition | None) -> IntegerHead:
    """The integer head of a model that has an exact form.

    Raises: ConfigError that says why it has none
    """
    if isinstance(head, IntegerHead):
        raise ConfigError("The model is in whole numbers already.")
    found = integer_head(head)
    if found is None:
        raise ConfigError(
            f"A model with the head {type(head).__name__} has no exact form. Heads that have one: bernoulli, "
            "categorical, logistic-mixture."
        )
    if not isinstance(network, Stack | SpatialLSTM | GatedPixelCNN | LocalPixelCNN | PixelCNNpp):
        raise ConfigError(
            f"{type(network).__name__} has no exact form: attention, norms and the small image of a multi-scale "
            "network are not made for whole numbers. Networks that have one: pixelcnn, gated-pixelcnn, local-pixelcnn, "
            "pixelcnn-pp, row-lstm, diagonal-bilstm, mdlstm, spatial-lstm."
        )
    if any(isinstance(each, Resolution) and each.additions > MOST_ADDITIONS for each in network.modules()):
        raise ConfigError(f"A PixelCNN++ of more than {(MOST_ADDITIONS - 5) // 2} layers has no exact form.")
    if condition is not None and (condition.vector_size or condition.map_channels or condition.deconvolution):
        raise ConfigError(
            "A model with a vector, a condition map or condition_spatial has no exact form: they are not whole "
            "numbers. One with classes has."
        )
    return found


def with_integer_layers(network: Network, condition: Condition | None, precision: Precision) -> None:
    """Replace what computes in a network by what computes with integers, whose weights are not set yet."""
    for name in _names(network, Gate):
        network.set_submodule(name, IntegerGate(precision.places, precision.double))
    for name in _names(network, SigmoidGate):
        network.set_submodule(name, IntegerSigmoidGate(precision.places, precision.double))
    for name in _names(network, Elu):
        elu = network.get_submodule(name)
        assert isinstance(elu, Elu)
        network.set_submodule(name, IntegerElu(elu, precision.places, precision.double))
    for each in network.modules():
        if isinstance(each, FirstConv2d):
            each.one = 2.0**precision.places
        elif isinstance(each, Resolution):
            for bias in each.biases():
                bias.requires_grad_(False)
                bias.data = bias.data.double() if precision.double else bias.data
    for name in _names(network, Recurrence):
        recurrence = network.get_submodule(name)
        assert isinstance(recurrence, Recurrence)
        network.set_submodule(name, IntegerRecurrence(recurrence, precision.places, precision.double))
    for name in _names(network, CausalConv2d):
        conv = network.get_submodule(name)
        assert isinstance(conv, CausalConv2d)
        network.set_submodule(name, IntegerConv2d(conv, precision.double))
    if condition is not None:
        condition.requires_grad_(False)
        if precision.double:
            condition.double()


class Range(NamedTuple):
    """The smallest and the largest number that a convolution reads."""

    least: float
    most: float
    of_image: bool


_OF_IMAGE = Range(-1, 1, of_image=True)


def ranges(network: Network, run: Callable[[], object]) -> dict[str, Range]:
    """What each convolution reads while `run` runs the network; it may run it more than once."""
    found: dict[str, Range] = {}

    def look(name: str, x: Tensor | None) -> None:
        if x is None:
            found[name] = _OF_IMAGE
            return
        before = found.get(name, _OF_IMAGE)
        before = Range(0, 0, of_image=False) if before.of_image else before
        found[name] = Range(min(before.least, float(x.min())), max(before.most, float(x.max())), of_image=False)

    def watch(name: str) -> RemovableHandle:
        return network.get_submodule(name).register_forward_pre_hook(lambda _, arguments: look(name, arguments[0]))

    def look_at_input(name: str, x: Tensor, index: int) -> Tensor:
        look(f"{name}.inputs.{index}", x)
        return x

    recurrences = [(name, each) for name, each in network.named_modules() if isinstance(each, Recurrence)]
    hooks = [watch(name) for name in _names(network, CausalConv2d)]
    for name, each in recurrences:
        found[f"{name}.inputs.0"] = _OF_IMAGE  # unless it reads feature maps
        vars(each)["bounded"] = functools.partial(look_at_input, name)
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
        for _, each in recurrences:
            del each.bounded
    return found


def approximate(
    network: Network, trained: Network, head: IntegerHead, precision: Precision, ranges: dict[str, Range]
) -> None:
    """Set the weights of a network with integer layers to what is nearest to a trained network.

    Arguments: ranges, what the layers of the trained network read
    """
    units, offsets = head.units()
    inside = 2.0**precision.places

    def bounds(name: str, largest: int) -> tuple[int, int, float]:
        """The least and the most that is let through, and what 1 of it is worth."""
        read = ranges.get(name, Range(0, 0, of_image=False))  # without a label the condition is not read
        if read.of_image:
            return 1 - head.levels, head.levels - 1, 1 / (head.levels - 1)
        most = min(math.ceil(_ROOM * read.most * inside) + 1, largest)
        least = max(math.floor(_ROOM * read.least * inside) - 1, -largest) if read.least < 0 else 0
        return least, most, 1 / inside

    for name, each in network.named_modules():
        if isinstance(each, Resolution):
            of_trained = trained.get_submodule(name)
            assert isinstance(of_trained, Resolution)
            for bias, other in zip(each.biases(), of_trained.biases(), strict=True):
                bias.data.copy_((other.data.double() * inside).round().clamp(-SINGLE.largest, SINGLE.largest))
        elif isinstance(each, IntegerRecurrence):
            recurrence = trained.get_submodule(name)
            assert isinstance(recurrence, Recurrence)
            read = [bounds(f"{name}.inputs.{index}", each.limits.largest) for index in range(len(each.inputs))]
            each.approximate(recurrence, [one[0] for one in read], [one[1] for one in read], read[0][2])
        elif isinstance(each, IntegerConv2d):
            conv, maps = trained.get_submodule(name), len(each.step)
            assert isinstance(conv, CausalConv2d)
            least, most, unit_in = bounds(name, each.limits.largest)
            if not _puts_out(name, network):
                each.approximate(conv, least, most, unit_in, torch.full((maps,), inside), torch.zeros(maps))
            else:  # the parameters; their offset is added once
                each.approximate(conv, least, most, unit_in, units, torch.zeros(maps) if name == "linear" else offsets)


@torch.no_grad()
def approximate_condition(condition: Condition, trained: Condition, precision: Precision) -> None:
    """Set the embedding of labels to whole numbers."""
    assert condition.label is not None
    assert trained.label is not None
    inside, largest = 2.0**precision.places, SINGLE.largest
    condition.label.weight.copy_((trained.label.weight.double() * inside).round().clamp(-largest, largest))


_ROOM = 1.25  # for inputs that are larger than any that was seen


def without_rounding(network: nn.Module) -> None:
    """Put plain layers in the place of integer ones: what depends on what is the same, and has a gradient."""
    for name, each in list(network.named_modules()):
        if isinstance(each, IntegerConv2d):
            network.set_submodule(name, each.conv.requires_grad_())
        elif isinstance(each, IntegerGate):
            network.set_submodule(name, Gate())
        elif isinstance(each, IntegerSigmoidGate):
            network.set_submodule(name, SigmoidGate())
        elif isinstance(each, IntegerElu):
            network.set_submodule(name, Elu(both=each.both))
        elif isinstance(each, IntegerRecurrence):
            network.set_submodule(name, each.plain())


def problem(network: nn.Module, condition: Condition | None) -> str:
    """What is wrong with the integer layers of a model that was loaded, "" if nothing is."""
    for name, each in network.named_modules():
        if isinstance(each, IntegerConv2d | IntegerRecurrence) and each.problem():
            return f"{name} has {each.problem()}"
        biases = each.biases() if isinstance(each, Resolution) and any(_integers(each)) else []
        if not all(_are_whole(bias) for bias in biases):
            return f"{name} has biases that are no whole numbers"
    label = None if condition is None else condition.label
    if label is not None and any(_integers(network)) and not _are_whole(label.weight):
        return "an embedding of labels that is no whole number"
    return ""


def _are_whole(weight: Tensor) -> bool:
    return bool(((weight == weight.round()) & (weight.abs() <= SINGLE.largest)).all())


def _integers(network: nn.Module) -> Iterator[bool]:
    return (isinstance(each, IntegerConv2d | IntegerRecurrence) for each in network.modules())


def _names(network: nn.Module, kind: type[nn.Module]) -> list[str]:
    """The modules of a kind, by their names in the network, but for those that are parts of a recurrence."""
    names = [name for name, each in network.named_modules() if isinstance(each, Recurrence)]
    parts = tuple(f"{name}." for name in names)
    return [name for name, each in network.named_modules() if isinstance(each, kind) and not name.startswith(parts)]


def _puts_out(name: str, network: Network) -> bool:
    last = [each for each in _names(network, IntegerConv2d) if each.startswith("readout")][-1]
    return name in (last, "linear")
