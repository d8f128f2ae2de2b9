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


class Limits(NamedTuple):
    """What a kind of numbers can carry: integers up to `exact`; layers put out `largest`, of which a hundred can be
    added."""

    exact: int
    largest: int


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
        if self.step.device.type not in ("cpu", "meta"):
            raise ConfigError(f"An exact model runs on the CPU, not on {self.step.device}: move it with .to('cpu').")
        if self.limits is DOUBLE and self.step.dtype != torch.float64:
            raise ConfigError("This exact model is carried by float64; leave its dtype as it is.")
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
        size = self._largest(weight, bias)
        farthest = max(-least, most)
        room = self.limits.exact - 0.5 * farthest * weight[0].numel() - 1  # what rounding can add to the sums
        scale = torch.exp2(torch.log2(room / size).floor().clamp(0, 24))
        assert self.conv.bias is not None
        self.conv.weight.copy_((weight * scale.view(-1, 1, 1, 1)).round())
        self.conv.bias.copy_((bias * scale).round())
        self.step.copy_((1 / scale).view(-1, 1, 1))

    def _largest(self, weight: Tensor, bias: Tensor) -> Tensor:
        """A bound of every partial sum, (C_out,), whatever the order of its terms."""
        weight = weight.flatten(1)
        above, below = (each.clamp_min(0).sum(1) for each in (weight, -weight))
        high, low = self.most.double(), -self.least.double()
        return torch.maximum(above * high + below * low, below * high + above * low) + bias.abs()

    def problem(self) -> str:
        """What is wrong with the weights, "" if nothing is: a model that comes from a file may hold anything."""
        assert self.conv.bias is not None
        numbers = [self.conv.weight, self.conv.bias]
        if not all(bool((each.isfinite() & (each == each.round())).all()) for each in numbers):
            return "weights that are not whole numbers"
        ends = torch.stack([-self.least, self.most])
        if not bool(((ends >= 0) & (ends <= self.limits.largest) & (ends == ends.round())).all()):
            return "a bound of its inputs that is no whole number"
        places = -torch.log2(self.step)
        if not bool(((places >= 0) & (places <= 24) & (places == places.round())).all()):
            return "a step that is not a power of two from 2^-24 to 1"
        sums = self._largest(self.conv.masked().double(), self.conv.bias.double())
        if float(sums.max()) > self.limits.exact:
            return f"sums up to {float(sums.max()):.0f}, more than 2^{self.limits.exact.bit_length() - 1}"
        return ""


def with_bounds(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model folder, which may be older than the bound `least`: then it is -`most`."""
    found = {f"{name.removesuffix('most')}least": -each for name, each in weights.items() if name.endswith(".most")}
    return {**found, **weights}


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
