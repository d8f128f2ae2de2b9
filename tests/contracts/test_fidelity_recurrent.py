"""Contract 0 for the recurrent networks: each is the one of its paper, pixel by pixel, and so are its gradients.

The loops below are written from sections 3.1 to 3.5, equation 3, figure 5 and table 1 of the PixelRNN paper
(arXiv 1601.06759). They share nothing with the package but the weights. Inputs outside the image are zero, states
outside the image are the initial ones, the same everywhere. For the Diagonal BiLSTM the map is skewed in earnest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch
from plain import plain_sweep
from test_fidelity import Layer, masked, one_by_one, pointwise, relu, sigmoid
from torch import Tensor, nn

import pixelrnn
from pixelrnn.canvas import Whole, scale
from pixelrnn.layers.convolution import CausalConv2d, MaskedConv2d, Pointwise
from pixelrnn.layers.recurrence import ABOVE, LEFT, Recurrence, row_above
from pixelrnn.model import PixelModel

Array = np.ndarray


class States(NamedTuple):
    """The weights of one LSTM: input to state, state to state (4h, h) for each tap, the initial states."""

    into: Layer
    taps: list[Array]
    start_h: Array
    start_c: Array


def states_of(recurrence: Recurrence, kernel: int, taps: int, colours: str, mistake: str) -> States:
    (conv,) = recurrence.inputs
    width = len(recurrence.start_h)
    kind = "A" if mistake == "mask A in the input to state" else "B"
    # Each of the four gates is split into colours, not all 4h maps at once.
    into = Layer(conv, (1, kernel), kind, colours, 1 if mistake == "colours over all 4h" else 4)
    weights = np.split(recurrence.weight.detach().numpy(), taps, axis=1)
    if mistake == "state to state masked by colour":
        allowed = Layer(Pointwise(width, 4 * width), (1, 1), "B", colours, 4).centre("B")
        weights = [weight * allowed for weight in weights]
    if mistake == "state to state masked along the row":
        weights = [weight * (k <= taps // 2) for k, weight in enumerate(weights)]
    if mistake == "taps in the other order":
        weights = weights[::-1]
    starts = [start.detach().numpy() for start in (recurrence.start_h, recurrence.start_c)]
    if mistake == "initial states ignored":
        starts = [np.zeros_like(start) for start in starts]
    return States(into, weights, *starts)


def cell(gates: Array, memory: Array, mistake: str) -> tuple[Array, Array]:
    """Equation 3: what the gates were before they were opened, and the old c -> the new h and c; maps first."""
    o, f, i, g = np.split(gates, 4)
    if mistake == "gates in another order":
        i, f, o, g = np.split(gates, 4)
    o, f, i = sigmoid(o), sigmoid(f), sigmoid(i)
    g = sigmoid(g) if mistake == "sigmoid for g" else np.tanh(g)
    c = f * memory + i * g
    return (np.tanh(o * c) if mistake == "tanh(o c)" else o * np.tanh(c)), c


def row_states(states: States, x: Array, mistake: str) -> Array:
    """Section 3.1: the row above is finished, a k x 1 kernel moves over its states."""
    into = states.into(x)
    height, width = x.shape[1:]
    h, c = (np.empty((len(states.start_h), height, width)) for _ in "hc")
    outside = np.zeros_like(states.start_h) if mistake == "zeros beyond the ends of a row" else states.start_h
    for row, column in itertools.product(range(height), range(width)):
        gates = into[:, row, column]
        for k, weight in enumerate(states.taps):
            there = column + k - len(states.taps) // 2
            above = h[:, row - 1, there] if 0 <= there < width else outside
            gates = gates + weight @ (above if row else states.start_h)
        memory = c[:, row - 1, column] if row else states.start_c
        h[:, row, column], c[:, row, column] = cell(gates, memory, mistake)
    return h


def diagonal_states(states: States, x: Array, mistake: str) -> Array:
    """Section 3.2, from the top left: skew, go over the columns with a 2 x 1 kernel, unskew."""
    maps, height, width = x.shape
    skewed = np.zeros((maps, height, width + height - 1))
    for row in range(height):
        skewed[:, row, row : row + width] = x[:, row]
    into = states.into(skewed)
    start_h, start_c = (np.repeat(start[:, None], height, 1) for start in (states.start_h, states.start_c))
    left, above = states.taps
    h, c = start_h, start_c  # of the column before, (h, H)
    columns = []
    for t in range(width + height - 1):
        padded_h = np.concatenate([start_h[:, :1], h], 1)  # one row on top, none at the bottom
        over, memory = padded_h[:, :-1], c
        if mistake == "2 x 1 reads the row below":
            over = np.concatenate([h, start_h[:, :1]], 1)[:, 1:]
        if mistake == "forget gate for the cell above":
            memory = np.concatenate([start_c[:, :1], c], 1)[:, :-1]
        h, c = cell(into[:, :, t] + left @ padded_h[:, 1:] + above @ over, memory, mistake)
        inside = np.array([0 <= t - row < width for row in range(height)])
        if mistake != "padding left to evolve":
            h, c = np.where(inside, h, start_h), np.where(inside, c, start_c)
        columns.append(h)
    skewed = np.stack(columns, 2)
    return np.stack([skewed[:, row, row : row + width] for row in range(height)], 1)


def row_block(block: nn.Module, x: Array, kernel: int, colours: str, mistake: str) -> Array:
    return row_states(states_of(block.states, kernel, kernel, colours, mistake), x, mistake)


def diagonal_block(block: nn.Module, x: Array, _: int, colours: str, mistake: str) -> Array:
    """Both directions; the map from right to left is shifted down by one row, the first becomes zeros."""
    rightward, leftward = (
        states_of(each, 1, 2, colours, mistake)
        for each in ([block.rightward] * 2 if mistake == "one LSTM twice" else [block.rightward, block.leftward])
    )
    h = diagonal_states(rightward, x, mistake)
    if mistake == "leftward not mirrored":
        late = diagonal_states(leftward, x, mistake)
    else:
        late = diagonal_states(leftward, x[:, :, ::-1], mistake)[:, :, ::-1]
    if mistake == "no shift":
        return h + late
    shifted = np.zeros_like(late)
    if mistake == "last row zeroed":
        shifted[:, :-1] = late[:, :-1]
    elif mistake == "first row is the initial state":
        shifted[:, 1:], shifted[:, 0] = late[:, :-1], leftward.start_h[:, None]
    else:
        shifted[:, 1:] = late[:, :-1]
    return h + shifted


BLOCKS = {"row-lstm": row_block, "diagonal-bilstm": diagonal_block}


def pixelrnn_loop(
    network: str, model: PixelModel, image: Array, kernel: int, first_kernel: int, residual: bool, mistake: str
) -> Array:
    """Table 1 and figure 5 (right): the parameters of every pixel, (params, H, W)."""
    net, colours = model.network, "RGB"[: model.channels]
    kind = "B" if mistake == "mask B first" else "A"
    x = Layer(net.first, (first_kernel, first_kernel), kind, colours)(image)  # 2h maps
    skipped = np.zeros_like(x)
    skips = pointwise(net.skips, colours)
    for index, block in enumerate(net.blocks):
        (expand,) = pointwise([block.expand], colours, mistake)
        h = BLOCKS[network](block, relu(x) if mistake == "a ReLU more" else x, kernel, colours, mistake)
        y = expand(h)  # back to 2h
        x = x + y if residual and mistake != "no residual" else y
        if skips and mistake != "no skip":
            skipped = skipped + skips[index](x)
    x = x + skipped
    for layer in pointwise(net.readout.layers, colours):  # two 1 x 1 layers, then the logits
        x = layer(relu(x))
    return x


def with_random_starts(module: nn.Module) -> list[Recurrence]:
    """The initial states begin as zeros; here they are anything."""
    recurrences = [each for each in module.modules() if isinstance(each, Recurrence)]
    for each in recurrences:
        nn.init.normal_(each.start_h)
        nn.init.normal_(each.start_c)
    return recurrences


def both_ways(
    network: str, mistake: str = "", size: tuple[int, int] = (5, 4), batch: int = 2, **options: object
) -> tuple[Array, Array]:
    """The parameters of some random images by the package, and by the loops above."""
    settings = {"layers": 2, "width": 7, "first_kernel": 7, **options}
    kernel = {"kernel": settings.get("kernel", 3)} if network == "row-lstm" else {}
    model = pixelrnn.build(network, size=size, levels=4, **{**settings, **kernel}).eval()
    assert with_random_starts(model)
    images = torch.randint(0, 4, (batch, model.channels, *size))
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 2  # so that no gate is nearly linear
        found = model.network(Whole(scale(images, 4, torch.float64))).numpy()
    seen = 2 * images.numpy() / 3 - 1
    rest = (kernel.get("kernel", 1), settings["first_kernel"], settings.get("residual", True), mistake)
    return found, np.stack([pixelrnn_loop(network, model, image, *rest) for image in seen])


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(
    "options", [{"width": 5}, {"width": 6}, {"first_kernel": 3, "layers": 3}, {"out_width": 4}, {"layers": 1}], ids=str
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", BLOCKS)
def test_a_recurrent_network_is_the_loop_of_its_paper(
    network: str, channels: int, options: dict, skip: bool, residual: bool
) -> None:
    found, expected = both_ways(network, channels=channels, skip=skip, residual=residual, **options)
    assert found.shape == expected.shape == (2, 4 * channels, 5, 4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [(4, 6), (6, 1), (1, 6), (2, 1), (1, 2), (1, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", BLOCKS)
def test_a_recurrent_network_is_that_loop_on_images_of_any_size(
    network: str, channels: int, size: tuple[int, int], batch: int
) -> None:
    found, expected = both_ways(network, size=size, batch=batch, channels=channels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [5, 7])
@pytest.mark.parametrize("size", [(5, 4), (4, 9), (3, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_lstm_of_a_wide_kernel_is_that_loop(channels: int, size: tuple[int, int], kernel: int) -> None:
    found, expected = both_ways("row-lstm", size=size, channels=channels, kernel=kernel)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


MISTAKES = {
    "both": [
        "mask B first", "mask A in the input to state", "colours over all 4h", "1 x 1 without mask", "a ReLU more",
        "state to state masked by colour", "taps in the other order", "gates in another order", "sigmoid for g",
        "tanh(o c)", "initial states ignored", "no residual", "no skip",
    ],
    "row-lstm": ["state to state masked along the row", "zeros beyond the ends of a row"],
    "diagonal-bilstm": [
        "no shift", "last row zeroed", "first row is the initial state", "2 x 1 reads the row below",
        "padding left to evolve", "forget gate for the cell above", "one LSTM twice", "leftward not mirrored",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("network", "mistake"), [(network, each) for network in BLOCKS for each in MISTAKES["both"] + MISTAKES[network]]
)
def test_one_mistake_in_a_recurrent_network_would_be_seen(network: str, mistake: str) -> None:
    found, expected = both_ways(network, mistake, channels=3)
    assert np.abs(found - expected).max() > 1e-3


# Gradients


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
    return Recurrence(2, MaskedConv2d(1, 8, 3, "A"), [LEFT, ABOVE], [LEFT], given=2)


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
        xs, given = tensors[: len(inputs)], dict(zip(names, tensors[len(inputs) :], strict=True))
        return torch.func.functional_call(recurrence, given, (xs[0], Whole(*xs)))

    assert torch.autograd.gradcheck(states, (*inputs, *weights))


def gradients(states: Tensor, told: Tensor, of: Iterable[Tensor]) -> list[Tensor]:
    """A weight that is told nothing has the gradient zero."""
    of = list(of)
    found = torch.autograd.grad(states, of, told, allow_unused=True)
    return [torch.zeros_like(each) if grad is None else grad for each, grad in zip(of, found, strict=True)]


def assert_all_close(found: Iterable[Tensor], expected: Iterable[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


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
    for told in (torch.randn_like(plain), torch.ones(()).expand_as(plain)):  # the second is what a sum tells
        new = swept(recurrence, inputs)
        assert_all_close(gradients(new, told, needed), torch.autograd.grad(plain, needed, told, retain_graph=True))
    with torch.no_grad():
        assert_all_close([swept(recurrence, inputs)], [plain])


@pytest.mark.parametrize("name", ["row", "rightward", "leftward"])
def test_the_layout_of_an_input_in_memory_does_not_matter(name: str) -> None:
    recurrence = made(name)
    (x,) = inputs_of(recurrence, (4, 5), batch=3)
    told = torch.randn(3, 2, 4, 5)
    expected = gradients(swept(recurrence, [x]), told, [x, *recurrence.parameters()])
    for order in itertools.permutations(range(4)):
        back = [order.index(k) for k in range(4)]
        y = x.detach().permute(order).contiguous().permute(back).requires_grad_()
        told_y = told.permute(order).contiguous().permute(back)
        assert_all_close(gradients(swept(recurrence, [y]), told_y, [y, *recurrence.parameters()]), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", BLOCKS)
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


# Counts


def free_weights(model: PixelModel) -> int:
    """Weights that no mask hides, biases, and initial states."""
    layers = [each for each in model.modules() if isinstance(each, CausalConv2d)]
    hidden = sum(int((~layer.mask).sum()) for layer in layers if layer.mask is not None)
    return model.num_parameters - hidden


def table_1(
    network: str, *, channels: int, levels: int, layers: int, width: int, out_width: int, skip: bool, kernel: int = 3
) -> int:
    h, params = width, channels if levels == 2 else channels * levels
    first = (3 * 7 + 3) * channels * 2 * h + masked("A", 2 * h, channels, channels) + 2 * h
    into = 4 * masked("B", h, 2 * h, channels) + 4 * h  # the pixel itself, for each of the four gates
    if network == "row-lstm":
        lstm = kernel // 2 * 2 * h * 4 * h + into + kernel * h * 4 * h + 2 * h  # two initial states
    else:
        lstm = 2 * (into + 2 * h * 4 * h + 2 * h)
    block = lstm + one_by_one(2 * h, h, channels)
    skips = layers * one_by_one(2 * h, 2 * h, channels) if skip else 0
    end = sum(
        one_by_one(out, seen, channels) for seen, out in itertools.pairwise([2 * h, out_width, out_width, params])
    )
    return first + layers * block + skips + end


MNIST = {"channels": 1, "levels": 2, "layers": 7, "width": 16, "out_width": 32}
CIFAR = {"channels": 3, "levels": 256, "layers": 12, "width": 128, "out_width": 1024}


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize(
    ("network", "settings"),
    [
        ("diagonal-bilstm", MNIST),
        ("row-lstm", CIFAR),
        ("row-lstm", MNIST | {"kernel": 5}),
        ("diagonal-bilstm", CIFAR | {"layers": 2, "width": 47, "out_width": 40}),
    ],
    ids=["Diagonal BiLSTM for binary MNIST", "Row LSTM for CIFAR-10", "Row LSTM of 5", "Diagonal BiLSTM of 47 maps"],
)
def test_a_recurrent_network_has_the_free_weights_of_table_1(network: str, settings: dict, skip: bool) -> None:
    model = pixelrnn.build(network, size=(32, 32), skip=skip, **settings)
    assert free_weights(model) == table_1(network, skip=skip, **settings)


def test_the_free_weights_of_the_binary_diagonal_bilstm_are_this_number() -> None:
    """7 blocks, h = 16, 32 maps: worked out by hand, so that the formula above is not the only opinion."""
    model = pixelrnn.build("diagonal-bilstm", size=(28, 28), skip=False, **MNIST)
    first = 24 * 32 + 32  # 800
    direction = (32 * 64 + 64) + 32 * 64 + 2 * 16  # 2112 + 2048 + 32 = 4192
    block = 2 * direction + (16 * 32 + 32)  # 8928
    end = (32 * 32 + 32) * 2 + 33  # 2145
    assert free_weights(model) == first + 7 * block + end == 65441


def test_the_free_weights_of_the_row_lstm_for_cifar_10_are_this_number() -> None:
    """12 blocks, h = 128. The colours have 43, 43, 42 of 128 maps, 86, 85, 85 of 256, 342, 341, 341 of 1024."""
    model = pixelrnn.build("row-lstm", size=(32, 32), skip=False, **CIFAR)
    first = 24 * 3 * 256 + (85 + 85 * 2) + 256  # 18943
    left, own = 256 * 512, 4 * (43 * 86 + 43 * 171 + 42 * 256)  # 131072 and 87212
    expand = 86 * 43 + 85 * 86 + 85 * 128 + 256  # 22144
    block = left + own + 512 + 3 * 128 * 512 + 2 * 128 + expand  # 437804
    wide = 342 * 86 + 341 * 171 + 341 * 256 + 1024  # 176043
    deep = 342 * 342 + 341 * 683 + 341 * 1024 + 1024  # 700075
    logits = 256 * (342 + 683 + 1024) + 768  # 525312
    assert free_weights(model) == first + 12 * block + wide + deep + logits == 6674021
