"""Recurrences of integers: an LSTM whose gates, cells and hidden states are whole numbers at every pixel."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Canvas
from pixelrnn.errors import ConfigError
from pixelrnn.exact import tables
from pixelrnn.exact.layers import DOUBLE, SINGLE, check_carried, problem_of, scales
from pixelrnn.layers.recurrence import Recurrence


class IntegerRecurrence(Recurrence):
    """A recurrence of integers in units of 2^-places, with tables of tanh and of the logistic function.

    The gates are one sum of products of integers, of which `step` (gates * h, 1, 1) cuts binary places off. Products of
    activations and states are rounded, and a cell state is clamped to +-`farthest`, so that they fit.

    Arguments: like, a recurrence of the same shape, whose weights are not used; double, carried by float64

    Shapes:  as `Recurrence`; `least` and `most` (inputs,) are the bounds of x and of the condition map
    Raises:  ConfigError if float32 cannot carry the products
    """

    step: Tensor
    least: Tensor
    most: Tensor
    table: Tensor

    def __init__(self, like: Recurrence, places: int, double: bool) -> None:
        super().__init__(**_shape(like))
        self.limits, dtype = (DOUBLE, torch.float64) if double else (SINGLE, torch.get_default_dtype())
        self.places, self.range = places, tables.gate_range(places)
        room = self.limits.exact - (1 << 2 * places) - (1 << places)
        self.farthest = min(room // (len(self.carried) << places), self.limits.largest)
        if self.farthest < 1 << places:
            raise ConfigError(f"An LSTM with {places} binary places needs integers that are carried by float64.")
        self.register_buffer("table", torch.from_numpy(tables.gates(places)).to(dtype), persistent=False)
        self.register_buffer("least", torch.zeros(len(self.inputs)))
        self.register_buffer("most", torch.ones(len(self.inputs)))
        self.register_buffer("step", torch.ones(len(self.weight), 1, 1))
        self.to(dtype).requires_grad_(False)

    def near(self, x: Tensor | None, canvas: Canvas) -> list[Tensor]:
        check_carried(self.step, self.limits)
        return super().near(x, canvas)

    def bounded(self, x: Tensor, index: int) -> Tensor:
        return torch.minimum(torch.maximum(x, self.least[index]), self.most[index])

    def sweep_both(self, other: Recurrence, near: list[Tensor], other_near: list[Tensor]) -> list[Tensor]:
        return [self.sweep(near), other.sweep(other_near)]  # their binary places differ

    def cell(self, gates: Tensor, cells: list[Tensor], h: Tensor, c: Tensor) -> None:
        """As `Recurrence.cell`, but `gates` is left as it is."""
        output_gate, *forget_gates, input_gate = self._looked_up(
            self._sigmoid_gates(gates).mul(self._sigmoid_gates(self.step)).floor_(), 3 * self.range + 1
        ).split(self.width, -3)
        last = len(self.step) - self.width
        candidate = self._looked_up(gates.narrow(-3, last, self.width).mul(self.step[last:]).floor_(), self.range)
        total = input_gate * candidate
        for forget_gate, cell in zip(forget_gates, cells, strict=True):
            total += forget_gate * cell
        c.copy_(self._rounded(total).clamp_(-self.farthest, self.farthest))
        if self.product:
            h.copy_(self._looked_up(self._rounded(output_gate * c), self.range))
        else:
            h.copy_(self._rounded(output_gate * self._looked_up(c.clone(), self.range)))

    def _looked_up(self, x: Tensor, zero: int) -> Tensor:
        """A function by its table, whose value at 0 is at `zero`."""
        return torch.take(self.table, (x.clamp_(-self.range, self.range) + zero).long())

    def _rounded(self, product: Tensor) -> Tensor:
        """A product of two numbers in units of 2^-places in this unit."""
        return (product * 2.0**-self.places + 0.5).floor_()

    @torch.no_grad()
    def approximate(self, trained: Recurrence, least: list[int], most: list[int], unit_in: float) -> None:
        """Take the integer weights that are nearest to those of a trained recurrence.

        Arguments: least, most, the bounds of the inputs; unit_in, what 1 of the integer x is worth
        """
        self.least.copy_(torch.tensor(least))
        self.most.copy_(torch.tensor(most))
        inside = 2.0**self.places
        for name, bound in (("start_h", 1 << self.places), ("start_c", self.farthest)):
            getattr(self, name).copy_((getattr(trained, name).double() * inside).round().clamp(-bound, bound))
        inputs = [each.masked().double() for each in trained.convolutions]
        inputs[0] *= unit_in * inside
        states, bias = trained.weight.double(), trained._bias().double() * inside + 0.5
        weight = torch.cat([*(each.flatten(1) for each in inputs), states], 1)
        scale = scales(weight, bias, *self._bounds(), self.limits)
        for conv, each in zip(self.convolutions, inputs, strict=True):
            conv.weight.copy_((each * scale.view(-1, 1, 1, 1)).round())
        self.weight.copy_((states * scale[:, None]).round())
        self._bias().copy_((bias * scale).round())
        self.step.copy_((1 / scale).view(-1, 1, 1))

    def problem(self) -> str:
        """What is wrong with the weights, "" if nothing is: a model that comes from a file may hold anything."""
        for name, bound in (("start_h", 1 << self.places), ("start_c", self.farthest)):
            start = getattr(self, name)
            if not bool(((start == start.round()) & (start.abs() <= bound)).all()):
                return f"{name}, an initial state, that is no whole number up to {bound}"
        weight = torch.cat([*(each.masked().flatten(1) for each in self.convolutions), self.weight], 1)
        return problem_of(weight, self._bias(), *self._bounds(), self.step, self.limits)

    def plain(self) -> Recurrence:
        """A recurrence that is not rounded, with gates of the same size."""
        made = Recurrence(**_shape(self)).to(self.weight.dtype)
        with torch.no_grad():
            for mine, theirs in zip(self.convolutions, made.convolutions, strict=True):
                theirs.weight.copy_(mine.weight * self.step[:, None] * 2.0**-self.places)
            made.weight.copy_(self.weight * self.step[:, :, 0])
            made._bias().copy_(self._bias() * self.step[:, 0, 0] * 2.0**-self.places)
        return made.requires_grad_()

    def _bounds(self) -> tuple[Tensor, Tensor]:
        """The least and the most of everything that is read, (K,) each: of the inputs, and of hidden states."""
        found = []
        for bounds, of_state in ((self.least, -(1 << self.places)), (self.most, 1 << self.places)):
            parts = [each.expand(conv.weight[0].numel()) for each, conv in zip(bounds, self.convolutions, strict=True)]
            found.append(torch.cat([*parts, bounds.new_full((self.weight.shape[1],), of_state)]).double())
        return found[0], found[1]


def _shape(recurrence: Recurrence) -> dict[str, Any]:
    """The arguments that make a recurrence of the same shape."""
    taps, carried = recurrence.unmirrored
    return {
        "width": recurrence.width,
        "into": copy.deepcopy(recurrence.convolutions[0]),
        "taps": taps,
        "carried": carried,
        "condition_width": recurrence.condition_width,
        "mirrored": recurrence.mirrored,
        "product": recurrence.product,
        "learned": isinstance(recurrence.start_h, nn.Parameter),
    }
