"""Fewer, larger steps: what a product is followed by is done with it, while its outputs are at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from pixelrnn.program.steps import Elements, Linear, Map, Pointwise, Step, parts


def fused(steps: list[Step], wanted: Iterable[Elements]) -> list[Step]:
    """The same program with fewer steps; `wanted` is read from outside, so it is left in place.

    tanh(a) * sigmoid(b) becomes one gate; a product to which something is added, a product with one more term; and a
    product writes relu(out) beside its outputs, or in their stead.
    """
    readers = Counter(index for read in wanted for index in _maps(read))
    for step in steps:
        readers.update({index for read in step.reads() for index in _maps(read)})
    made = {step.out.index: step for step in steps}
    for step in list(steps):
        new = _gate(step, made, readers) or _sum(step, made, readers)
        if new is not None:
            taken, found = new
            made[step.out.index] = found
            for each in taken:
                del made[each.index]
    order = [made[step.out.index] for step in steps if step.out.index in made]
    for step in order:
        if isinstance(step, Pointwise) and step.operation == "relu":
            _rectify(step, made, readers)
    return [made[step.out.index] for step in steps if step.out.index in made]


Fused = tuple[list[Map], Step]  # the maps that are no longer computed, and the step that does it all


def _gate(step: Step, made: dict[int, Step], readers: Counter[int]) -> Fused | None:
    """tanh(a) * sigmoid(b), of which nobody else reads the factors."""
    if not (isinstance(step, Pointwise) and step.operation == "mul"):
        return None
    factors = [_source(each, step, made, readers) for each in step.inputs]
    for one, other in (factors, factors[::-1]):
        if not (isinstance(one, Pointwise) and isinstance(other, Pointwise)):
            continue
        if (one.operation, other.operation) == ("tanh", "sigmoid"):
            return [one.out, other.out], replace(step, operation="gate", inputs=[one.inputs[0], other.inputs[0]])
    return None


def _sum(step: Step, made: dict[int, Step], readers: Counter[int]) -> Fused | None:
    """A product and another term, where nobody else reads the product: the later product of two."""
    if not (isinstance(step, Pointwise) and step.operation == "add"):
        return None
    terms = [
        (_source(each, step, made, readers), other) for each, other in zip(step.inputs, step.inputs[::-1], strict=True)
    ]
    terms.sort(key=lambda term: term[0].out.index if term[0] is not None else -1)
    for source, other in reversed(terms):
        if not isinstance(source, Linear) or len(source.added) == 2 or source.along or not _consecutive(other):
            continue
        if source.out.index not in _maps(other):  # not twice itself
            return [source.out], replace(source, out=step.out, added=[*source.added, other])
    return None


def _rectify(step: Pointwise, made: dict[int, Step], readers: Counter[int]) -> None:
    """relu(out) written by the product, which keeps its outputs if others read them."""
    index = int(parts(step.inputs[0][:1])[0][0])
    source = made.get(index)
    if not isinstance(source, Linear) or source.relu is not None or source.along or not _same_moment(source, step):
        return
    if not np.array_equal(step.inputs[0], source.out.elements()) or (source.out.level != step.out.level).any():
        return
    del made[step.out.index]
    if readers[index] == 1:
        source = replace(source, out=step.out, relu=step.out)
        del made[index]
        made[step.out.index] = source
    else:
        made[index] = replace(source, relu=step.out)


def _source(read: Elements, step: Step, made: dict[int, Step], readers: Counter[int]) -> Step | None:
    """The step that computes just what is read, for this one alone and at the same moment."""
    index = int(parts(read[:1])[0][0])
    source = made.get(index)
    if source is None or readers[index] != 1 or not _same_moment(source, step):
        return None
    return source if np.array_equal(read, source.out.elements()) else None


def _same_moment(one: Step, other: Step) -> bool:
    return _moment(one) == _moment(other)


def _moment(step: Step) -> tuple[object, ...]:
    return step.out.phase, step.out.double, step.from_row, step.every


def _consecutive(elements: Elements) -> bool:
    return bool((np.diff(elements) == 1).all())


def _maps(elements: Elements) -> list[int]:
    return [int(each) for each in np.unique(parts(elements)[0])]
