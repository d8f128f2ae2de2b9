"""Networks that take any generation order: completions see every known pixel, and orders have names and families."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from cases import RecordedRows
from close import assert_close
from torch import Tensor
from worlds import all_images, as_often, count

import pixelrnn
from pixelrnn.canvas import FAMILIES, Order, Ordered, Reach, Whole, known_first, orders_of, scale
from pixelrnn.errors import ConfigError, MemoryLimitError
from pixelrnn.measure.inspection import pmf_at, prove_causal, seen_by
from pixelrnn.model import PixelModel
from pixelrnn.model.options import CONDITION
from pixelrnn.model.orders import completion_order, unseen_known
from pixelrnn.networks import NETWORKS, options_of
from pixelrnn.sampling.choosers import Draw
from pixelrnn.sampling.walk import walk
from pixelrnn.training.presets import load_preset
from pixelrnn.training.run import train

of_any_order = pytest.mark.parametrize("network", [name for name, each in NETWORKS.items() if each.orders == "any"])


def transformer(size: tuple[int, int], channels: int = 1, levels: int = 2, **options: object) -> PixelModel:
    return built("pixel-transformer", size, channels, levels, **options)


def built(network: str, size: tuple[int, int], channels: int = 1, levels: int = 2, **options: object) -> PixelModel:
    """A model of large random weights."""
    settings = {"layers": 1, "width": 8, "heads": 2, "blocks": 2, **options}
    settings = {key: value for key, value in settings.items() if key in {**options_of(network), **CONDITION}}
    model = pixelrnn.build(network, size=size, channels=channels, levels=levels, **settings).eval()
    for weight in model.parameters():
        weight.data *= 2.5
    return model


def some_order(size: tuple[int, int], seed: int = 0) -> Order:
    return Order.named(f"random-{seed}", *size)


@pytest.mark.parametrize("window", [1, 3, 6, 19, 20, 40])
def test_a_window_limits_what_is_seen_in_the_whole_pass_and_in_the_walk(window: int) -> None:
    model, size = transformer((4, 5), levels=3, layers=2, window=window), (4, 5)
    for place in ((0, 0), (2, 1), (3, 4)):
        assert torch.equal(seen_by(model, *place, size), model.network.field(*place, *size))
    images = model.sample(3, seed=1, method="naive")
    for settings in ({"span": 1}, {"span": 3}, {"span": 8}, {"method": "compiled"}):
        assert torch.equal(model.sample(3, seed=1, **settings), images)
    order = some_order(size)
    images = model.sample(3, seed=1, order=order, method="naive")
    assert torch.equal(model.sample(3, seed=1, order=order, span=4), images)
    assert torch.equal(model.sample(3, seed=1, order=order, method="compiled"), images)
    prove_causal(model, size, order)


def test_a_window_needs_no_memory_for_all_pairs_of_pixels() -> None:
    """24,000 pixels squared would be 4.6 GB."""
    model = transformer((2, 2), window=8).requires_grad_(False)
    images = torch.randint(0, 2, (1, 1, 120, 200))
    assert model.log_prob(images).isfinite().all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("span", [1, 3, 8])
@of_any_order
@torch.no_grad()
def test_a_walk_along_an_order_gives_the_parameters_of_the_whole_pass(network: str, channels: int, span: int) -> None:
    model, size = built(network, (4, 5), channels, 4, layers=2, vector_size=2), (4, 5)
    images = torch.randint(0, 4, (3, channels, *size))
    pixels, order = scale(images, 4, torch.float64), some_order(size)
    s = model.embed_condition(3, vector=torch.randn(3, 2))
    whole = model.network(Whole(pixels, s, order)).flatten(2)[:, :, order.along]
    canvas = Ordered(tuple(pixels.shape), torch.float64, images.device, order, s)
    along = pixels.flatten(2)[:, :, order.along]
    for rank in range(0, 20, span):
        wide = min(span, 20 - rank)
        canvas.write(rank, along[:, :, rank : rank + wide])
        canvas.begin(rank, wide)
        assert_close(model.network(canvas)[:, :, 0], whole[:, :, rank : rank + wide])
    with pytest.raises(AssertionError, match="no neighbouring rows"):
        canvas.look(Reach(1, 0, 0, 0))


@pytest.mark.parametrize("channels", [1, 3])
@of_any_order
def test_every_method_and_batch_draws_the_same_images_in_any_order(network: str, channels: int) -> None:
    model = built(network, (4, 5), channels, 4, layers=2)
    for seed in range(3):
        order = some_order((4, 5), seed)
        expected = model.sample(5, seed=0, method="naive", order=order)
        for settings in ({"span": 1}, {"span": 4}, {"batch_size": 2}, {}, {"method": "compiled"}):
            assert torch.equal(model.sample(5, seed=0, order=order, **settings), expected)


@pytest.mark.parametrize("name", ["raster", "s-curve-3", "s-curve-6", *(f"random-{seed}" for seed in range(5))])
@of_any_order
def test_it_is_causal_in_every_order(network: str, name: str) -> None:
    for channels in (1, 3):
        report = prove_causal(built(network, (4, 3), channels, 3), (4, 3), Order.named(name, 4, 3))
        assert report.replacements == 12 * channels


@pytest.mark.parametrize(("size", "known"), [((2, 2), [[0, 1], [0, 1]]), ((2, 3), [[0, 0, 1], [1, 0, 0]])])
@of_any_order
def test_completions_are_as_frequent_as_the_exact_conditional_probability(
    network: str, size: tuple[int, int], known: list[list[int]]
) -> None:
    """By enumeration of all images that agree with the known pixels, some of which come last in raster order."""
    model, mask = built(network, size), torch.tensor(known, dtype=torch.bool)
    image, n = torch.randint(0, 2, (1, 1, *size), dtype=torch.uint8), 4000
    every = all_images(1, *size, 2)
    fits = ((every == image) | ~mask).flatten(1).all(1)
    with torch.no_grad():
        exact = model.log_prob(every, order=known_first(mask))[fits].softmax(0)
        raster = model.log_prob(every)[fits].softmax(0)
    found = count(model.complete(image.expand(n, -1, -1, -1), mask, seed=0, batch_size=n), every[fits])
    assert as_often(found, n * exact)
    assert not as_often(found, n * raster)


@pytest.mark.parametrize("known", ["the lower half", "every other pixel", "what is around"])
def test_a_transformer_sees_every_known_pixel_at_every_hidden_one(known: str) -> None:
    """Also where the known ones are far away; and no hidden one that comes later."""
    size, model = (9, 7), transformer((9, 7), layers=2)
    mask = torch.zeros(size, dtype=torch.bool)
    if known == "every other pixel":
        mask.view(-1)[::2] = True
    elif known == "the lower half":
        mask[5:] = True
    else:
        mask[:] = True
        mask[2:6, 2:5] = False
    order = completion_order(model.network, {"preset": {"training": {"orders": "completion"}}}, mask)
    for row, column in (~mask).nonzero().tolist():
        seen = seen_by(model, row, column, size, order)
        assert seen[mask].all()
        assert torch.equal(seen, order.ranks < order.ranks[row, column])


def trained_on(model: PixelModel, orders: str) -> PixelModel:
    model.about = {"preset": {"training": {"orders": orders}}}
    return model


@of_any_order
def test_a_completion_goes_in_orders_like_those_of_the_training(network: str) -> None:
    """Known pixels first, if the model has seen that; of S-curves, the one that grows out of them."""
    size = (4, 5)
    model, lower = built(network, size, 1, 3), torch.arange(4)[:, None].expand(size) >= 2
    images = model.sample(2, seed=0)

    def drawn(orders: str, **order: object) -> Tensor:
        return trained_on(model, orders).complete(images, lower, seed=1, **order)

    for own_alone in ("", "raster"):
        assert torch.equal(drawn(own_alone), drawn(own_alone, order="raster"))
    for several in ("completion", "random"):
        assert torch.equal(drawn(several), drawn(several, order=known_first(lower)))
    assert torch.equal(drawn("s-curves"), drawn("s-curves", order="s-curve-1"))
    assert not torch.equal(drawn("s-curves"), drawn("random"))
    for middle in (torch.zeros(size, dtype=torch.bool), torch.ones(size, dtype=torch.bool)):
        middle[1:3, 1:4] = ~middle[1:3, 1:4]
        order = completion_order(model.network, model.about, middle)
        assert order is not None
        assert unseen_known(order, middle) == 0


def test_a_locally_masked_completion_begins_beside_what_is_known() -> None:
    """So that every hidden pixel has an earlier neighbour through which the known half reaches it."""
    size = (8, 6)
    model = trained_on(built("lmconv", size), "s-curves")
    for along in range(4):
        mask = torch.zeros(size, dtype=torch.bool)
        mask[[slice(4), slice(4, 8)][along % 2] if along < 2 else slice(None)] = along < 2
        if along >= 2:
            mask[:, [slice(3), slice(3, 6)][along % 2]] = True
        order = completion_order(model.network, model.about, mask)
        for row, column in (~mask).nonzero().tolist():
            assert seen_by(model, row, column, size, order)[mask].any(), f"({row}, {column}) is drawn blind"


def test_a_completion_of_several_masks_is_that_of_each() -> None:
    model = transformer((3, 4), 1, 3)
    images, known = model.sample(5, seed=0), torch.zeros(5, 1, 3, 4, dtype=torch.bool)
    known[:2, :, :, 3], known[2:4, :, 2], known[4] = True, True, True
    together = model.complete(images, known, seed=1)
    assert torch.equal(together, model.complete(images, known, seed=1, batch_size=1))
    for method in ("naive", "compiled"):
        assert torch.equal(together, model.complete(images, known, seed=1, method=method))
    assert torch.equal(together * known, images * known)
    recorded = RecordedRows(5, model)
    model.complete(images, known, seed=1, batch_size=2, on_row=recorded)
    assert recorded.calls == [(first, row) for first in (0, 2, 4) for row in range(3)]
    known[1], recorded = known[2], RecordedRows(5, model)
    cut = model.complete(images, known, seed=1, batch_size=2, on_row=recorded)
    assert recorded.calls == [(first, row) for first in (0, 1, 3, 4) for row in range(3)]
    assert torch.equal(recorded.images, cut)
    known[1] = known[0]
    own = model.complete(images, known, seed=1, order=None)
    assert torch.equal(own, model.complete(images, known, seed=1, order=Order.raster(3, 4)))
    assert not torch.equal(own, together)


def test_the_probability_under_several_orders_is_the_mean_of_theirs() -> None:
    model, every = transformer((2, 3)), all_images(1, 2, 3, 2)
    orders = [Order.named(f"s-curve-{number}", 2, 3) for number in range(8)]
    with torch.no_grad():
        found = model.log_prob(every, order=orders)
        assert_close(found.exp(), torch.stack([model.log_prob(every, order=order).exp() for order in orders]).mean(0))
        assert torch.equal(found, model.log_prob(every, order="s-curves"))
        assert_close(model.bits_per_dim(every, order=orders), -found / (6 * math.log(2)))
    assert_close(found.exp().sum(), torch.tensor(1.0))
    for wrong in ({"order": []}, {"order": orders, "reduce": False}):
        with pytest.raises(ConfigError, match="Several orders give one probability"):
            model.log_prob(every, **wrong)


def test_the_eight_s_curves_are_different_and_go_from_pixel_to_neighbour() -> None:
    curves = [Order.named(f"s-curve-{number}", 3, 4).along.tolist() for number in range(8)]
    assert len({tuple(curve) for curve in curves}) == 8
    for curve in curves:
        assert sorted(curve) == list(range(12))
        for one, other in itertools.pairwise(curve):
            assert abs(one // 4 - other // 4) + abs(one % 4 - other % 4) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_gives_orders(family: str) -> None:
    def drawn(seed: int) -> list[Tensor]:
        chance = torch.Generator().manual_seed(seed)
        return [orders_of(family, (3, 4), chance).ranks for _ in range(30)]

    some = drawn(0)
    assert all(sorted(each.flatten().tolist()) == list(range(12)) for each in some)
    assert all(torch.equal(one, other) for one, other in zip(some, drawn(0), strict=True))
    different = len({tuple(each.flatten().tolist()) for each in some})
    assert different == 1 if family == "raster" else 4 < different <= 30


def test_an_order_can_be_named() -> None:
    model, order = transformer((3, 4), 1, 3), Order.named("s-curve-3", 3, 4)
    images = model.sample(3, seed=0, order="s-curve-3")
    assert torch.equal(images, model.sample(3, seed=0, order=order))
    assert torch.equal(model.log_prob(images, order="s-curve-3"), model.log_prob(images, order=order))
    with pytest.raises(ConfigError, match="There is no order 'spiral'"):
        model.complete(images, torch.ones(3, 4, dtype=torch.bool), order="spiral")
    with pytest.raises(ConfigError, match="There is no order 'random-99999999999999999999'"):
        model.sample(1, order="random-99999999999999999999")


@of_any_order
def test_a_network_has_an_order_of_its_own_that_is_taken_when_none_is_asked_for(network: str, tmp_path: Path) -> None:
    size, own = (4, 5), Order.named("s-curve-3", 4, 5)
    model = built(network, size, 1, 3, order="s-curve-3").requires_grad_(False)
    images, known = model.sample(3, seed=0), torch.zeros(size, dtype=torch.bool)
    known[1:3, 2:] = True
    assert torch.equal(images, model.sample(3, seed=0, order=own, method="naive"))
    assert not torch.equal(images, model.sample(3, seed=0, order="raster"))
    assert torch.equal(model.log_prob(images), model.log_prob(images, order=own))
    along = known_first(known, own)
    assert torch.equal(model.complete(images, known, seed=1), model.complete(images, known, seed=1, order=along))
    for place in ((0, 0), (2, 1), (3, 4)):
        assert torch.equal(seen_by(model, *place, size), model.network.field(*place, *size))
    assert prove_causal(model, size).replacements == 20
    given = pmf_at(model, images[0], 0, 4)
    assert_close(given, model.head.pmf(*_at(model, images[:1], own, 0, 4), 0).flatten(1))
    for method in ("naive", "cached", "compiled"):
        assert torch.equal(model.sample(3, seed=0, order="auto", method=method), images)
        assert torch.equal(model.complete(images, known, seed=1, method=method), model.complete(images, known, seed=1))
    walks = []
    for method in ("naive", "cached", "compiled"):
        drawn = torch.zeros_like(images[:1])
        numbers = torch.linspace(0.05, 0.95, 20).view(1, 1, *size)
        for event in walk(model.network, model.head, drawn, Draw(numbers), dtype=model.dtype, method=method):
            event.write_to(drawn)
        walks.append(drawn)
    assert all(torch.equal(walks[0], each) for each in walks)
    model.save(tmp_path / "model")
    loaded = pixelrnn.load(tmp_path / "model").double()
    assert torch.equal(loaded.sample(3, seed=0, method="naive"), images)
    with pytest.raises(ConfigError, match="There is no order 'spiral'"):
        built(network, size, order="spiral")


def test_a_completion_goes_in_orders_that_were_trained() -> None:
    base = Order.named("s-curve-0", 3, 4)
    for seed in range(40):
        order = orders_of("completion", (3, 4), torch.Generator().manual_seed(seed), base)
        runs = order.along.tolist()
        place = [base.ranks.flatten()[each].item() for each in runs]
        assert sum(one > other for one, other in itertools.pairwise(place)) <= 1, "known, then unknown, each along it"


def test_a_training_in_orders_that_are_not_the_networks_own_is_refused(tmp_path: Path) -> None:
    for changes, own in ((["orders=s-curves"], "s-curve-0"), (["order=s-curve-1", "orders=raster"], "raster")):
        preset = load_preset("digits", ["network=lmconv", "layers=1", "width=4", *changes])
        with pytest.raises(ConfigError, match=f"which is none of them: add  --set order={own}"):
            train(preset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_positions_are_asked_for_once_by_a_module() -> None:
    canvas, module = Whole(torch.zeros(1, 1, 2, 3)), torch.nn.Identity()
    canvas.positions(module, lambda here, there, size: here)
    with pytest.raises(AssertionError, match="twice"):
        canvas.positions(module, lambda here, there, size: there)


def _at(model: PixelModel, images: Tensor, order: Order, row: int, column: int) -> tuple[Tensor, Tensor]:
    """The parameters of a pixel, and the pixel."""
    params = model.network(Whole(model.head.seen(images, model.dtype), None, order))
    return tuple(each[..., row : row + 1, column : column + 1] for each in (params, images))


def test_a_walk_that_would_keep_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk by rows keeps a few of them; attention keeps every pixel."""
    monkeypatch.setenv("PIXELRNN_MEMORY_LIMIT", str(10**8))
    by_rows = pixelrnn.build("pixelcnn", size=(4, 4), levels=2, layers=1, width=8)
    next(by_rows.sample_rows(1, size=(400, 400)))
    for network in ("pixel-transformer", "lmconv", "pixelsnail"):
        with pytest.raises(MemoryLimitError, match="To draw 1 images of 400 x 400"):
            next(built(network, (4, 4), width=32).sample_rows(1, size=(400, 400)))


def test_orders_that_are_not_there_are_refused_in_one_sentence() -> None:
    model = transformer((3, 4))
    for name in ("s-curve-8", "random-x", "s-curve", "zigzag", ""):
        with pytest.raises(ConfigError, match=r"There is no order .*Orders: raster, s-curve-0 to s-curve-7, random-SE"):
            Order.named(name, 3, 4)
    with pytest.raises(ConfigError, match="family of orders"):
        orders_of("spirals", (3, 4), torch.Generator())
    with pytest.raises(ConfigError, match="for images of 4x3, but they are 3x4"):
        model.sample(1, order=Order.raster(4, 3))
    for wrong in (3, ["raster"]):
        with pytest.raises(ConfigError, match="must be an Order or a name"):
            model.sample(1, order=wrong)
    with pytest.raises(ConfigError, match="must be an Order or a name"):
        model.log_prob(torch.zeros(1, 1, 3, 4, dtype=torch.uint8), order=3)
