"""Layers in whole numbers, carried by floating-point tensors.

A sum of products of integers is exact in float32, in any order and with any instruction, as long as no partial sum
exceeds 2^24, and in float64 up to 2^53: every layer knows a bound of its sums. Cutting off binary places is a product
with a power of two, which is exact, and a floor. So the same network gives the same integers on every canvas, batch,
thread and processor.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas
from pixelrnn.errors import ConfigError
from pixelrnn.exact import tables
from pixelrnn.layers.convolution import CausalConv2d
from pixelrnn.layers.gates import Elu


class Limits(NamedTuple):
    """What a kind of numbers can carry: integers up to `exact`; layers put out `largest`, of which `MOST_ADDITIONS` can
    be added."""

    exact: int
    largest: int


MOST_ADDITIONS = 100
SINGLE, DOUBLE = Limits(1 << 24, 1 << 17), Limits(1 << 53, 1 << 30)


class IntegerConv2d(nn.Module):
    """A convolution of integers with integer weights, of which some binary places are cut off.

    Inputs are clamped to least..most. `step` (C_out, 1, 1) is the power of two by which each feature map is multiplied
    before the floor; half of what is cut off is in the biases, so the floor rounds.

    Arguments: conv, a convolution of the same shape, whose weights are not used; double, carried by float64

    Shapes:  x (B, C_in, h, w) or None for the image itself -> (B, C_out, h, w)
    """

    step: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, conv: CausalConv2d, double: bool) -> None:
        super().__init__()
        out_channels, in_channels = conv.weight.shape[:2]
        self.limits, dtype = (DOUBLE, torch.float64) if double else (SINGLE, conv.weight.dtype)
        self.conv = CausalConv2d(in_channels, out_channels, conv.reach).to(dtype).requires_grad_(False)
        self.conv.mask = conv.mask
        self.register_buffer("least", torch.zeros((), dtype=dtype))
        self.register_buffer("most", torch.ones((), dtype=dtype))
        self.register_buffer("step", torch.ones(out_channels, 1, 1, dtype=dtype))

    def forward(
        self, x: Tensor | None, canvas: Canvas, plus: Tensor | None = None, *, overwrite: bool = False
    ) -> Tensor:
        """The convolution plus `plus` (B, C_out, h, w)."""
        check_carried(self.step, self.limits)
        y = self.conv(x if x is None else torch.minimum(torch.maximum(x, self.least), self.most), canvas)
        y = (y * self.step).floor().clamp(-self.limits.largest, self.limits.largest)
        return y if plus is None else y + plus

    @torch.no_grad()
    def approximate(
        self, conv: CausalConv2d, least: int, most: int, unit_in: float, units: Tensor, offsets: Tensor
    ) -> None:
        """Take the integer weights that are nearest to `conv`, with as many binary places as the bound leaves.

        Arguments:
            least    the smallest integer input that is let through
            most     the largest
            unit_in  what 1 of the integer input is worth
            units    (C_out,) integers per 1 of the output
            offsets  (C_out,) added to the integer output
        """
        self.least.fill_(least)
        self.most.fill_(most)
        units, offsets = units.double(), offsets.double()
        weight = conv.masked().double() * unit_in * units.view(-1, 1, 1, 1)
        bias = offsets + 0.5 + (0.0 if conv.bias is None else conv.bias.double() * units)
        scale = scales(weight.flatten(1), bias, self.least.double(), self.most.double(), self.limits)
        assert self.conv.bias is not None
        self.conv.weight.copy_((weight * scale.view(-1, 1, 1, 1)).round())
        self.conv.bias.copy_((bias * scale).round())
        self.step.copy_((1 / scale).view(-1, 1, 1))

    def problem(self) -> str:
        """What is wrong with the weights, "" if nothing is: a model that comes from a file may hold anything."""
        weight, bias = self.conv.masked().flatten(1), self.conv.bias
        assert bias is not None
        return problem_of(weight, bias, self.least, self.most, self.step, self.limits)


def scales(weight: Tensor, bias: Tensor, least: Tensor, most: Tensor, limits: Limits) -> Tensor:
    """For every output the largest power of two, by which weights can be multiplied and rounded within the limits.

    Shapes: weight (O, K) and bias (O,) float64; least and most, the bounds of the inputs, (K,) or () -> (O,)
    """
    farthest = torch.maximum(-least, most).expand(weight.shape[1])
    room = limits.exact - 0.5 * float(farthest.sum()) - 1  # what rounding can add to the sums
    return torch.exp2(torch.log2(room / largest_sums(weight, bias, least, most)).floor().clamp(0, 24))


def largest_sums(weight: Tensor, bias: Tensor, least: Tensor, most: Tensor) -> Tensor:
    """A bound of every partial sum of a product, whatever the order of its terms; shapes as for `scales`.

    >>> weight, bias = torch.tensor([[3.0, -2.0]]), torch.tensor([1.0])
    >>> largest_sums(weight, bias, torch.tensor(0.0), torch.tensor(10.0))
    tensor([31.])
    """
    above, below = weight.clamp_min(0), (-weight).clamp_min(0)
    up, down = (above * most - below * least).sum(1), (below * most - above * least).sum(1)
    return torch.maximum(up, down) + bias.abs()


def problem_of(weight: Tensor, bias: Tensor, least: Tensor, most: Tensor, step: Tensor, limits: Limits) -> str:
    """What is wrong with the integers of a layer, "" if nothing is; shapes as for `scales`."""
    if not all(bool((each.isfinite() & (each == each.round())).all()) for each in (weight, bias)):
        return "weights that are not whole numbers"
    ends = torch.stack([-least, most])
    if not bool(((ends >= 0) & (ends <= limits.largest) & (ends == ends.round())).all()):
        return "a bound of its inputs that is no whole number"
    places = -torch.log2(step)
    if not bool(((places >= 0) & (places <= 24) & (places == places.round())).all()):
        return "a step that is not a power of two from 2^-24 to 1"
    sums = largest_sums(*(each.double() for each in (weight, bias, least, most)))
    if float(sums.max()) > limits.exact:
        return f"sums up to {float(sums.max()):.0f}, more than 2^{limits.exact.bit_length() - 1}"
    return ""


def check_carried(step: Tensor, limits: Limits) -> None:
    """Raises ConfigError if a layer was moved to where its integers are not exact."""
    if step.device.type not in ("cpu", "meta"):
        raise ConfigError(f"An exact model runs on the CPU, not on {step.device}: move it with .to('cpu').")
    if limits is DOUBLE and step.dtype != torch.float64:
        raise ConfigError("This exact model is carried by float64; leave its dtype as it is.")


def with_bounds(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model folder, which may be older than the bound `least`: then it is -`most`."""
    found = {f"{name.removesuffix('most')}least": -each for name, each in weights.items() if name.endswith(".most")}
    return {**found, **weights}


class IntegerElu(nn.Module):
    """`layers.gates.Elu` by table, of integers in units of 2^-places."""

    table: Tensor

    def __init__(self, elu: Elu, places: int, double: bool) -> None:
        super().__init__()
        self.both, self.places, self.range = elu.both, places, tables.gate_range(places)
        dtype = torch.float64 if double else torch.get_default_dtype()
        self.register_buffer("table", torch.from_numpy(tables.elus(places)).to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._elu(x), self._elu(-x)], 1) if self.both else self._elu(x)

    def _elu(self, x: Tensor) -> Tensor:
        return x.clamp_min(0) + torch.take(self.table, (-x).clamp(0, self.range).long())


class IntegerSigmoidGate(nn.Module):
    """`layers.gates.SigmoidGate` by table, of integers in units of 2^-places."""

    table: Tensor

    def __init__(self, places: int, double: bool) -> None:
        super().__init__()
        limits, dtype = (DOUBLE, torch.float64) if double else (SINGLE, torch.get_default_dtype())
        self.places, self.range = places, tables.gate_range(places)
        self.most = min(limits.largest, (limits.exact >> places) - 1)  # so that products are exact
        sigmoid = tables.gates(places)[2 * self.range + 1 :]
        self.register_buffer("table", torch.from_numpy(sigmoid).to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        content, opening = x.chunk(2, 1)
        sigmoid = torch.take(self.table, (opening.clamp(-self.range, self.range) + self.range).long())
        return (content.clamp(-self.most, self.most) * sigmoid * 2.0**-self.places + 0.5).floor()


class IntegerGate(nn.Module):
    """The gated activation unit by table, of integers in units of 2^-places.

    Shapes: (B, 2p, h, w) -> (B, p, h, w)
    Raises: ConfigError if float32 cannot carry the products
    """

    table: Tensor

    def __init__(self, places: int, double: bool) -> None:
        super().__init__()
        limits, dtype = (DOUBLE, torch.float64) if double else (SINGLE, torch.get_default_dtype())
        if 1 << 2 * places > limits.exact:
            raise ConfigError(f"A gate with {places} binary places needs integers that are carried by float64.")
        self.places, self.range = places, tables.gate_range(places)
        self.register_buffer("table", torch.from_numpy(tables.gates(places)).to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        tanh_half, sigmoid_half = x.clamp(-self.range, self.range).split(x.shape[1] // 2, 1)
        tanh = torch.take(self.table, (tanh_half + self.range).long())
        sigmoid = torch.take(self.table, (sigmoid_half + (3 * self.range + 1)).long())
        return (tanh * sigmoid * 2.0**-self.places + 0.5).floor()
