"""The gradients of a recurrence are those of its equations: by differences, and by autograd through a plain loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import pytest
import torch
from close import assert_close
from loops import with_random_starts
from plain import plain_sweep
from torch import Tensor

import pixelrnn
from pixelrnn.canvas import Whole
from pixelrnn.layers.convolution import MaskedConv2d, Pointwise
from pixelrnn.layers.recurrence import ABOVE, LEFT, Recurrence, row_above


def row(kernel: int = 3, groups: int = 1, maps: int = 2, h: int = 2) -> Recurrence:
    into = MaskedConv2d(maps, 4 * h, kernel, "B", groups=groups, blocks=4, row=True)
    return Recurrence(h, into, row_above(kernel), [ABOVE])


def diagonal(
    *, mirrored: bool = False, both: bool = False, product: bool = False, learned: bool = True, groups: int = 1
) -> Recurrence:
    """The LSTM of the left and the upper pixel; with a forget gate for both of them, or for the left only."""
    h, carried = max(2, groups), [LEFT, ABOVE] if both else [LEFT]
    gates = 3 + len(carried)
    into = Pointwise(max(3, groups), gates * h, groups=groups, blocks=gates)
    return Recurrence(h, into, [LEFT, ABOVE], carried, mirrored=mirrored, product=product, learned=learned)


def two_inputs() -> Recurrence:
    """One input is read in a neighbourhood with rows above, as an image is; a condition at the pixel itself."""
    return Recurrence(2, MaskedConv2d(1, 8, 3, "A"), [LEFT, ABOVE], [LEFT], condition_width=2)


RECURRENCES: dict[str, Callable[[], Recurrence]] = {
    "row": row,
    "row of 5": lambda: row(5),
    "row of colours": lambda: row(3, groups=3, maps=5, h=4),
    "rightward": diagonal,
    "leftward": lambda: diagonal(mirrored=True),
    "rightward of colours": lambda: diagonal(groups=3),
    "two forget gates": lambda: diagonal(both=True),
    "two forget gates, leftward": lambda: diagonal(both=True, mirrored=True),
    "taps the other way round": lambda: Recurrence(2, Pointwise(3, 10), [ABOVE, LEFT], [LEFT, ABOVE]),
    "product": lambda: diagonal(product=True),
    "product, two forget gates": lambda: diagonal(product=True, both=True),
    "initial states not learned": lambda: diagonal(learned=False),
    "two inputs": two_inputs,
}
SIZES = [(3, 2), (1, 3), (3, 1), (1, 1)]


def made(name: str) -> Recurrence:
    recurrence = RECURRENCES[name]()
    with_random_starts(recurrence)
    return recurrence


def swept(recurrence: Recurrence, inputs: Sequence[Tensor]) -> Tensor:
    """The states over a whole image; a second input is a condition."""
    return recurrence(inputs[0], Whole(*inputs))


def inputs_of(recurrence: Recurrence, size: tuple[int, int], batch: int) -> list[Tensor]:
    return [torch.randn(batch, conv.in_channels, *size, requires_grad=True) for conv in recurrence.inputs]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", [name for name in RECURRENCES if "colours" not in name])
def test_the_gradients_of_a_recurrence_are_differences_of_its_states(name: str, size: tuple[int, int]) -> None:
    recurrence = made(name)
    inputs = inputs_of(recurrence, size, batch=2)
    names, weights = zip(*recurrence.named_parameters(), strict=True)
    assert {"weight", "inputs.0.weight", "inputs.0.bias"} <= set(names)
    assert ("start_h" in names) == ("start_c" in names) == (name != "initial states not learned")

    def states(*tensors: Tensor) -> Tensor:
        xs, parameters = tensors[: len(inputs)], dict(zip(names, tensors[len(inputs) :], strict=True))
        return torch.func.functional_call(recurrence, parameters, (xs[0], Whole(*xs)))

    assert torch.autograd.gradcheck(states, (*inputs, *weights))


def gradients(states: Tensor, upstream: Tensor, of: Iterable[Tensor]) -> list[Tensor]:
    """A weight that is not used has the gradient zero."""
    of = list(of)
    found = torch.autograd.grad(states, of, upstream, allow_unused=True)
    return [torch.zeros_like(each) if grad is None else grad for each, grad in zip(of, found, strict=True)]


def assert_all_close(found: Iterable[Tensor], expected: Iterable[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [*SIZES, (6, 5), (2, 4), (4, 9)], ids=str)
@pytest.mark.parametrize("name", RECURRENCES)
def test_a_recurrence_and_its_gradients_are_those_of_a_plain_loop(name: str, size: tuple[int, int], batch: int) -> None:
    recurrence = made(name)
    inputs = inputs_of(recurrence, size, batch)
    needed = [*inputs, *recurrence.parameters()]
    canvas = Whole(*inputs)
    plain = plain_sweep(recurrence, recurrence.near(inputs[0], canvas))
    found = swept(recurrence, inputs)
    assert_all_close([plain_sweep(recurrence, recurrence.near(inputs[0], Whole(*inputs)), padded=True)], [plain])
    assert found.shape == (batch, recurrence.width, *size)
    assert_all_close([found], [plain])
    for upstream in (torch.randn_like(plain), torch.ones(()).expand_as(plain)):  # the second is the gradient of a sum
        new = swept(recurrence, inputs)
        assert_all_close(
            gradients(new, upstream, needed), torch.autograd.grad(plain, needed, upstream, retain_graph=True)
        )
    with torch.no_grad():
        assert_all_close([swept(recurrence, inputs)], [plain])


@pytest.mark.parametrize("name", ["row", "rightward", "leftward"])
def test_the_layout_of_an_input_in_memory_does_not_matter(name: str) -> None:
    recurrence = made(name)
    (x,) = inputs_of(recurrence, (4, 5), batch=3)
    upstream = torch.randn(3, 2, 4, 5)
    expected = gradients(swept(recurrence, [x]), upstream, [x, *recurrence.parameters()])
    for order in itertools.permutations(range(4)):
        back = [order.index(k) for k in range(4)]
        y = x.detach().permute(order).contiguous().permute(back).requires_grad_()
        upstream_y = upstream.permute(order).contiguous().permute(back)
        assert_all_close(gradients(swept(recurrence, [y]), upstream_y, [y, *recurrence.parameters()]), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", ["row-lstm", "diagonal-bilstm"])
def test_every_gradient_of_a_network_is_that_of_plain_loops(
    network: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pixelrnn.build(network, size=(5, 4), levels=4, channels=channels, layers=3, width=5)
    with_random_starts(model)
    images = torch.randint(0, 4, (3, channels, 5, 4))

    def now() -> list[Tensor]:
        return list(torch.autograd.grad(-model.log_prob(images).sum(), list(model.parameters())))

    found = now()
    calls = []

    def sweep(recurrence: Recurrence, near: list[Tensor]) -> Tensor:
        calls.append(recurrence)
        return plain_sweep(recurrence, near)

    def sweep_both(one: Recurrence, other: Recurrence, near: list[Tensor], other_near: list[Tensor]) -> list[Tensor]:
        return [sweep(one, near), sweep(other, other_near)]

    monkeypatch.setattr(Recurrence, "sweep", sweep)
    monkeypatch.setattr(Recurrence, "sweep_both", sweep_both)
    expected = now()
    assert len(calls) == {"row-lstm": 3, "diagonal-bilstm": 6}[network]
    assert all(each.abs().max() > 0 for each in expected), "every weight has a part in the probability"
    assert_all_close(found, expected)
