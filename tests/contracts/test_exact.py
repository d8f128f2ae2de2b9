"""Contract 10: a model in whole numbers gives the same integers everywhere, and an oracle in int64 agrees."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from close import assert_close
from torch import Tensor, nn
from worlds import all_images

import pixelrnn
from pixelrnn.canvas import Whole
from pixelrnn.errors import CausalityError, ConfigError, ModelFolderError
from pixelrnn.exact import IntegerHead, tables, with_bounds
from pixelrnn.exact.heads import integer_head
from pixelrnn.exact.layers import IntegerConv2d, IntegerElu, IntegerGate, IntegerSigmoidGate
from pixelrnn.exact.recurrence import IntegerRecurrence
from pixelrnn.exact.tables import TOTAL
from pixelrnn.heads import Bernoulli, Categorical, Head, LogisticMixture
from pixelrnn.measure.inspection import prove_causal, seen_pairs
from pixelrnn.model import PixelModel

PLUS: dict[str, object] = {"network": "pixelcnn-pp", "resolutions": 2}
MODELS: dict[str, dict[str, object]] = {
    "pixelcnn, binary": {"network": "pixelcnn", "channels": 1, "levels": 2, "layers": 2, "width": 7},
    "pixelcnn, colour": {"network": "pixelcnn", "channels": 3, "levels": 5, "layers": 1, "width": 7, "skip": False},
    "local, coefficients": {"network": "local-pixelcnn", "channels": 3, "levels": 17, "components": 2},
    "local, masked": {"network": "local-pixelcnn", "channels": 3, "levels": 256, "masked": True, "linear": True},
    "local, softmax": {"network": "local-pixelcnn", "channels": 1, "levels": 9, "head": "categorical"},
    "local, labels": {"network": "local-pixelcnn", "channels": 1, "levels": 9, "classes": 2},
    "row-lstm": {"network": "row-lstm", "channels": 1, "levels": 2, "classes": 2},
    "diagonal-bilstm": {"network": "diagonal-bilstm", "channels": 3, "levels": 5},
    "mdlstm": {"network": "mdlstm", "channels": 2, "levels": 4, "layers": 2},
    "spatial-lstm": {"network": "spatial-lstm", "channels": 1, "levels": 9, "head": "categorical"},
    "gated, binary": {"network": "gated-pixelcnn", "channels": 1, "levels": 2, "layers": 2},
    "pixelcnn-pp, binary": PLUS | {"channels": 1, "levels": 2, "head": "bernoulli"},
    "pixelcnn-pp, softmax": PLUS | {"channels": 3, "levels": 4, "head": "categorical"},
    "pixelcnn-pp, labels": {"network": "pixelcnn-pp", "channels": 3, "levels": 17, "components": 2, "classes": 2},
    "gated, labels": {"network": "gated-pixelcnn", "channels": 3, "levels": 5, "classes": 3},
}
every_model = pytest.mark.parametrize("name", MODELS)


def models_in_turn(names: str, ways: Sequence[tuple], each: int) -> pytest.MarkDecorator:
    """Parametrises by model and way: every way for two models, `each` of them in turn for every other."""
    pairs = []
    for index, name in enumerate(MODELS):
        whole = name in ("local, masked", "gated, labels")
        chosen = ways if whole else [ways[(each * index + at) % len(ways)] for at in range(each)]
        pairs += [(name, *way) for way in chosen]
    return pytest.mark.parametrize(names, pairs, ids=str)


def exact_model(name: str, size: tuple[int, int] = (9, 7)) -> tuple[PixelModel, PixelModel]:
    """A model of random weights, and the same in whole numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return copy.deepcopy(_exact_model(name, size))


@functools.cache
def _exact_model(name: str, size: tuple[int, int]) -> tuple[PixelModel, PixelModel]:
    options = {"layers": 1, "width": 7, "size": size, **MODELS[name]}
    if options["network"] == "local-pixelcnn":
        options = {"kernel": 5, **options}
    network = options.pop("network")
    model = pixelrnn.build(network, **options).eval()
    for weight in model.parameters():
        weight.data *= 2
    return model, model.quantised(images_of(model, 4), label=labels_of(model, 4))


def labels_of(model: PixelModel, n: int) -> Tensor | None:
    """Of so many images, if the model takes labels."""
    return None if model.condition is None else torch.arange(n) % model.condition.classes


def images_of(model: PixelModel, n: int, size: tuple[int, int] | None = None) -> Tensor:
    return torch.randint(0, model.levels, (n, model.channels, *(size or model.size)), dtype=torch.uint8)


def integers(model: PixelModel, images: Tensor, label: Tensor | None = None) -> Tensor:
    condition_map = None if label is None else model.embed_condition(len(images), label=label)
    return model.network(Whole(model.head.seen(model.in_order(images), model.dtype), condition_map))


@every_model
def test_the_parameters_are_whole_numbers_whatever_computes_them(name: str) -> None:
    _, exact = exact_model(name)
    images = images_of(exact, 5)
    label = labels_of(exact, 5)
    found = integers(exact, images, label)
    assert torch.equal(found, found.round())
    assert found.abs().max() < 1 << 24
    assert len(found.unique()) > 20
    assert torch.equal(found[1:3], integers(exact, images[1:3], None if label is None else label[1:3]))
    assert torch.equal(found.double(), integers(exact.double(), images, label))


@every_model
def test_an_oracle_in_int64_finds_the_same(name: str) -> None:
    """Every convolution with numbers of int64, and the cut-off places as a shift; every gate likewise. (Recurrences
    have an oracle of their own.)"""
    _, exact = exact_model(name)
    expected: list[bool] = []

    def watch(layer: IntegerConv2d, args: tuple, kwargs: dict, out: Tensor) -> None:
        x = args[0]
        near = (
            args[1].look(layer.conv.reach)
            if x is None
            else near_of(layer, x.clamp(float(layer.least), float(layer.most)))
        )
        weight, size = layer.conv.masked().long().numpy(), layer.conv.kernel_size
        windows = np.lib.stride_tricks.sliding_window_view(near.long().numpy(), size, (2, 3))
        total = np.einsum("bihwyx,oiyx->bohw", windows, weight) + layer.conv.bias.long().numpy()[:, None, None]
        places = (-layer.step.log2()).long().numpy()
        plus = args[2] if len(args) > 2 else kwargs.get("plus")
        cut = np.clip(total >> places, -(1 << 17), 1 << 17) + (0 if plus is None else plus.long().numpy())
        expected.append(bool((cut == out.long().numpy()).all()))

    def watch_gate(gate: IntegerGate, args: tuple, out: Tensor) -> None:
        limit, table = gate.range, tables.gates(gate.places)
        content, opening = (each.long().numpy().clip(-limit, limit) for each in args[0].chunk(2, 1))
        product = table[content + limit] * table[opening + 3 * limit + 1]
        expected.append(bool((((product + (1 << gate.places - 1)) >> gate.places) == out.long().numpy()).all()))

    def watch_sigmoid_gate(gate: IntegerSigmoidGate, args: tuple, out: Tensor) -> None:
        limit, sigmoid = gate.range, tables.gates(gate.places)[2 * gate.range + 1 :]
        content, opening = (each.long().numpy() for each in args[0].chunk(2, 1))
        product = content.clip(-gate.most, gate.most) * sigmoid[opening.clip(-limit, limit) + limit]
        assert abs(product).max() <= 1 << 24
        expected.append(bool((((product + (1 << gate.places - 1)) >> gate.places) == out.long().numpy()).all()))

    def watch_elu(elu: IntegerElu, args: tuple, out: Tensor) -> None:
        x, table = args[0].long().numpy(), tables.elus(elu.places)
        both = np.concatenate([x, -x], 1) if elu.both else x
        found = np.where(both > 0, both, table[(-both).clip(0, elu.range)])
        expected.append(bool((found == out.long().numpy()).all()))

    def near_of(layer: IntegerConv2d, x: Tensor) -> Tensor:
        reach = layer.conv.reach
        return torch.nn.functional.pad(x, (reach.left, reach.right, reach.up, reach.down))

    layers = [each for each in exact.network.modules() if isinstance(each, IntegerConv2d)]
    gates = [each for each in exact.network.modules() if isinstance(each, IntegerGate)]
    others = {IntegerSigmoidGate: watch_sigmoid_gate, IntegerElu: watch_elu}
    more = [each for each in exact.network.modules() if type(each) in others]
    for each in layers:
        each.register_forward_hook(watch, with_kwargs=True)
    for each in gates:
        each.register_forward_hook(watch_gate)
    for each in more:
        each.register_forward_hook(others[type(each)])
    integers(exact, images_of(exact, 2), labels_of(exact, 2))
    # The first layer of a vertical stack has no gate; a layer of PixelCNN++ has an ELU, which it uses twice or thrice.
    least = len(layers) + max(0, len(gates) - 1) + len(more)
    assert len(expected) == least if not more else len(expected) > least
    assert all(expected)


@pytest.mark.parametrize("name", ["row-lstm", "diagonal-bilstm", "mdlstm", "spatial-lstm"])
def test_a_recurrence_is_that_of_a_loop_in_int64(name: str) -> None:
    """Pixel by pixel, with products and sums of int64, shifts and tables."""
    _, exact = exact_model(name)
    layers = [each for each in exact.network.modules() if isinstance(each, IntegerRecurrence)]
    assert layers
    for layer in layers:
        x = torch.randint(-300, 300, (2, layer.convolutions[0].in_channels, 4, 5)).double()
        found = layer.double()(x, Whole(x))
        assert found.unique().numel() > 5
        for image in range(2):
            assert np.array_equal(found[image].long().numpy(), loop_of(layer, x[image].long().numpy()))


def loop_of(layer: IntegerRecurrence, x: np.ndarray) -> np.ndarray:
    """The hidden states (width, H, W) of one image of feature maps (maps, H, W)."""
    conv, width, (height, wide) = layer.convolutions[0], layer.width, x.shape[1:]
    kernel, states, bias = (each.long().numpy() for each in (conv.masked(), layer.weight, conv.bias))
    cut, unit = (-layer.step.log2()).long().numpy().ravel(), layer.places
    tanh, sigmoid = np.split(tables.gates(unit), 2)
    x = x.clip(int(layer.least[0]), int(layer.most[0]))
    h, c = {}, {}

    def at(states: dict, start: Tensor, row: int, column: int) -> np.ndarray:
        return states.get((row, column), start.long().numpy())

    def table(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return values[numbers.clip(-layer.range, layer.range) + layer.range]

    def rounded(product: np.ndarray) -> np.ndarray:
        return (product + (1 << unit - 1)) >> unit

    for row in range(height):
        for column in range(wide)[:: -1 if layer.mirrored else 1]:
            gates = bias.copy()
            for y, dy in enumerate(range(-conv.reach.up, conv.reach.down + 1)):
                for z, dx in enumerate(range(-conv.reach.left, conv.reach.right + 1)):
                    if 0 <= row + dy < height and 0 <= column + dx < wide:
                        gates += kernel[:, :, y, z] @ x[:, row + dy, column + dx]
            near = [at(h, layer.start_h, row + tap.down, column + tap.right) for tap in layer.taps]
            gates = (gates + states @ np.concatenate(near)) >> cut
            out, *forget, into, new = np.split(gates, len(gates) // width)
            total = table(sigmoid, into) * table(tanh, new)
            for gate, tap in zip(forget, layer.carried, strict=True):
                total += table(sigmoid, gate) * at(c, layer.start_c, row + tap.down, column + tap.right)
            cell = rounded(total).clip(-layer.farthest, layer.farthest)
            opened = table(sigmoid, out)
            c[row, column] = cell
            h[row, column] = (
                table(tanh, rounded(opened * cell)) if layer.product else rounded(opened * table(tanh, cell))
            )
    return np.stack([[h[row, column] for column in range(wide)] for row in range(height)]).transpose(2, 0, 1)


@every_model
def test_quantising_costs_little(name: str) -> None:
    model, exact = exact_model(name)
    images = images_of(model, 20)
    label = labels_of(model, 20)
    before, after = (each.bits_per_dim(images, label=label).mean().item() for each in (model, exact))
    assert after < 1.005 * before  # it can be less: no level has a frequency of zero


@every_model
def test_sampling_is_that_of_the_oracle_by_every_canvas(name: str) -> None:
    _, exact = exact_model(name, (4, 5))
    label = labels_of(exact, 2)
    expected = exact.sample(2, seed=0, method="naive", label=label)
    for span in (1, 3, None):
        assert torch.equal(exact.sample(2, seed=0, method="cached", span=span, label=label), expected)
    for threads, model in ((1, exact), (2, exact), (1, exact.double())):
        torch.set_num_threads(threads)
        assert torch.equal(model.sample(2, seed=0, method="compiled", label=label), expected)
    images, known = images_of(exact, 2), torch.rand(2, 1, 4, 5) < 0.5
    completed = exact.complete(images, known, seed=1, method="cached", label=label)
    assert torch.equal(exact.complete(images, known, seed=1, method="compiled", label=label), completed)
    with pytest.raises(ConfigError, match="at temperature 1 only"):
        exact.sample(1, temperature=0.5, method="compiled")


@every_model
def test_it_is_proved_causal_like_the_model_that_it_was_made_of(name: str) -> None:
    model, exact = exact_model(name)
    assert prove_causal(exact) == prove_causal(model)
    assert torch.equal(seen_pairs(exact, (9, 7)), seen_pairs(model, (9, 7)))
    if not hasattr(exact.network, "first"):
        return
    first = exact.network.first.conv
    first.mask = None if first.mask is None else torch.ones_like(first.mask)
    first.weight.data = first.weight.data.abs() + 1
    if first.kernel_size[0] == first.kernel_size[1] // 2 + 1 and model.head.groups > 1:
        with pytest.raises(CausalityError):
            prove_causal(exact)


@every_model
def test_a_model_in_whole_numbers_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    _, exact = exact_model(name)
    images = images_of(exact, 2)
    exact.save(tmp_path / "model")
    found = pixelrnn.load(tmp_path / "model")
    assert found.is_exact
    label = labels_of(exact, 2)
    assert torch.equal(integers(found, images, label), integers(exact, images, label))
    assert torch.equal(found.log_prob(images, label=label), exact.log_prob(images, label=label))


def test_labels_that_are_not_whole_numbers_are_no_exact_model(tmp_path: Path) -> None:
    _, exact = exact_model("gated, labels")
    exact.condition.label.weight.data[0, 0] = 0.5
    exact.save(tmp_path / "model")
    with pytest.raises(ModelFolderError, match="an embedding of labels that is no whole number"):
        pixelrnn.load(tmp_path / "model")


def test_a_folder_without_lower_bounds_has_symmetric_ones(tmp_path: Path) -> None:
    _, exact = exact_model("local, softmax")
    exact.save(tmp_path / "model")
    weights = safetensors.torch.load_file(tmp_path / "model" / "model.safetensors")
    assert all(each in with_bounds(weights) for each in weights)
    older = {name: each for name, each in weights.items() if not name.endswith("least")}
    assert len(older) < len(weights)
    found = with_bounds(older)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[f"{name[:-4]}least"], -each) for name, each in older.items() if name.endswith("most"))


@pytest.mark.parametrize("places", [3, 8, 12])
def test_the_table_of_a_gate_is_that_of_its_functions(places: int) -> None:
    limit = tables.gate_range(places)
    x = torch.arange(-limit, limit + 1, dtype=torch.float64) / 2**places
    found = torch.from_numpy(tables.gates(places)).double() / 2**places
    assert (found[: len(x)] - x.tanh()).abs().max() <= 0.5000001 / 2**places
    assert (found[len(x) :] - x.sigmoid()).abs().max() <= 0.5000001 / 2**places
    assert torch.equal(found[: len(x)].flip(0), -found[: len(x)])
    assert float(x[-1].sigmoid()) > 1 - 0.5 / 2**places - 1e-4


@pytest.mark.parametrize("places", [3, 7, 11])
def test_products_of_a_gate_are_exact_whatever_it_reads(places: int) -> None:
    torch.set_default_dtype(torch.float32)
    gate, limit = IntegerSigmoidGate(places, double=False), 1 << 24
    content = np.array([-limit, -(1 << 17), -8191, -3, 0, 5, 8190, (1 << 17) - 1, limit - 1]).repeat(5)
    opening = np.tile([-limit, -7, 0, 9, limit], 9)
    found = gate(torch.from_numpy(np.concatenate([content, opening])).float().view(1, -1, 1, 1)).flatten()
    sigmoid = tables.gates(places)[2 * gate.range + 1 :][opening.clip(-gate.range, gate.range) + gate.range]
    product = content.clip(-gate.most, gate.most) * sigmoid
    assert abs(product).max() + (1 << places - 1) <= limit
    assert found.long().tolist() == ((product + (1 << places - 1)) >> places).tolist()


@pytest.mark.parametrize("places", [3, 8, 12])
def test_the_table_of_an_elu_is_that_of_its_function(places: int) -> None:
    x = -torch.arange(tables.gate_range(places) + 1, dtype=torch.float64) / 2**places
    found = torch.from_numpy(tables.elus(places)).double() / 2**places
    assert (found - torch.nn.functional.elu(x)).abs().max() <= 0.5000001 / 2**places
    assert float(found[-1]) == -1


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("local, masked", lambda network: network.first.conv.weight.add_(0.5), "weights that are not whole numbers"),
        ("local, masked", lambda network: network.first.conv.weight.add_(1 << 20), r"more than 2\^24"),
        ("local, masked", lambda network: network.first.step.fill_(0.3), "a step that is not a power of two"),
        (
            "pixelcnn-pp, binary",
            lambda network: network.resolution.bias_along.add_(0.5),
            "biases that are no whole numb",
        ),
        ("row-lstm", lambda network: network.blocks[0].states.weight.add_(0.5), "weights that are not whole numbers"),
        ("row-lstm", lambda network: network.blocks[0].states.weight.add_(1 << 20), r"more than 2\^24"),
        ("row-lstm", lambda network: network.blocks[0].states.start_h.add_(1 << 20), "start_h, an initial state, that"),
    ],
)
def test_weights_that_are_not_whole_or_too_large_are_no_exact_model(
    name: str, change: Callable[[nn.Module], object], message: str, tmp_path: Path
) -> None:
    _, exact = exact_model(name)
    change(exact.network)
    exact.save(tmp_path / "model")
    with pytest.raises(ModelFolderError, match=message):
        pixelrnn.load(tmp_path / "model")


@pytest.mark.parametrize("world", [(1, 2, 2, 2), (3, 1, 2, 2), (2, 2, 1, 3)])
@pytest.mark.parametrize("network", ["pixelcnn", "local-pixelcnn", "gated-pixelcnn"])
def test_all_images_of_a_world_have_total_probability_one(network: str, world: tuple[int, int, int, int]) -> None:
    channels, height, width, levels = world
    model = pixelrnn.build(network, size=(height, width), channels=channels, levels=levels, layers=1, width=6)
    exact = model.quantised(images_of(model, 4)).double()
    assert_close(exact.log_prob(all_images(*world)).exp().sum(), torch.tensor(1.0))


def test_models_without_an_exact_form_are_refused_by_name() -> None:
    for network, options, message in (
        ("mcgsm", {"head": "categorical"}, "NeighbourhoodMixture has no exact form"),
        ("mcgsm", {}, "head MCGSM has no exact form"),
        ("pixelcnn", {"layers": 1, "width": 4, "vector_size": 3}, "a vector, a condition map or condition_spatial"),
        ("pixelcnn", {"layers": 1, "width": 4, "map_channels": 1}, "a vector, a condition map or condition_spatial"),
        ("pixelcnn-pp", {"layers": 48, "width": 1, "resolutions": 1}, "more than 47 layers has no exact form"),
    ):
        model = pixelrnn.build(network, size=(4, 4), levels=4, **options)
        with pytest.raises(ConfigError, match=message):
            model.quantised(images_of(model, 1))


# ---- heads

HEADS = [
    Bernoulli(3, 2),
    Categorical(1, 256),
    Categorical(3, 5),
    LogisticMixture(3, 256, components=5, masked=True),
    LogisticMixture(3, 256, components=5),
    LogisticMixture(1, 2, components=1),
    LogisticMixture(2, 17, components=3),
]


def integer_params(head: Head, scale: float) -> tuple[IntegerHead, Tensor, Tensor]:
    """Parameters, and the integers that stand for them."""
    integer = integer_head(head)
    assert integer is not None
    params = scale * torch.randn(2, head.num_params, 4, 3)
    units, offsets = integer.units()
    return integer, params, (params * units[:, None, None] + offsets[:, None, None]).round()


@pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{type(head).__name__}-{head.channels}-{head.levels}")
@pytest.mark.parametrize("scale", [0.5, 50.0, 5000.0])
def test_frequencies_are_positive_and_add_up(head: Head, scale: float) -> None:
    integer, _, params = integer_params(head, scale)
    images = torch.randint(0, head.levels, (2, head.channels, 4, 3))
    starts, sizes = integer.intervals(params, images)
    for channel in range(head.channels):
        ends = integer.cumulated(params, images, channel)
        assert (ends[..., 0] == 0).all()
        assert (ends[..., -1] == TOTAL).all()
        assert (ends.diff(dim=-1) >= 1).all()
        at = images[:, channel, ..., None]
        assert torch.equal(ends.gather(-1, at)[..., 0], starts[:, channel])
        assert torch.equal(ends.gather(-1, at + 1)[..., 0] - starts[:, channel], sizes[:, channel])
    assert_close(integer.log_prob(params.double(), images), (sizes.double() / TOTAL).log())


@pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{type(head).__name__}-{head.channels}-{head.levels}")
def test_frequencies_are_those_of_the_head(head: Head) -> None:
    integer, params, integers = integer_params(head, 0.5)
    images = torch.randint(0, head.levels, (2, head.channels, 4, 3))
    for channel in range(head.channels):
        found, expected = integer.pmf(integers, images, channel), head.pmf(params, images, channel)
        assert (found - expected).abs().max() < 0.002
        divergence = (expected * (expected / found).log()).sum(-1)
        assert divergence.max() < 1e-4
