"""Contract 9: the compiled walk is the network: the same parameters, the same images, in any company."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from cases import CASES, SMALL, WALKED, RecordedRows, each_network, enlarge, in_turn, make, some_images
from close import assert_close
from conditions import CONDITIONAL, CONDITIONS, conditional, something
from test_completion import masks
from torch import Tensor
from toys import AnyOrder, TwoResolutions, with_network

import pixelrnn
from pixelrnn.canvas import Canvas, Order, Reach, Whole, scale
from pixelrnn.errors import ConfigError, ModelError
from pixelrnn.model import PixelModel
from pixelrnn.networks import NETWORKS
from pixelrnn.program import Machine, Programs, Tables, block, machine
from pixelrnn.sampling import compiled as compiled_walk

ODD = (9, 7)
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
ANY_ORDER = [case for case in CASES if NETWORKS[case[1]].orders == "any"]


@pytest.fixture(params=WALKED, ids=lambda case: case[0])
def model(request: pytest.FixtureRequest) -> PixelModel:
    """Every network, and every head."""
    return enlarge(make(request.param, SMALL), 2)


def compiled_params(
    model: PixelModel, images: Tensor, condition_map: Tensor | None = None, order: Order | None = None
) -> Tensor:
    """The parameters of known images, read from the machine's memory pixel by pixel, stage by stage."""
    params = torch.full((len(images), model.head.num_params, *images.shape[2:]), torch.nan)
    for stage in model.network.stages():
        pixels = images[:, :, :: stage.step, :: stage.step]
        s = None if condition_map is None else condition_map[:, :, :: stage.step, :: stage.step]
        if stage.condition_map is not None:
            s = stage.condition_map(scale(pixels, model.levels, torch.float64), s)
        tables = Programs().of(stage.network, model.head, s)
        every_pass = np.stack([tables.passes[0]] * 2)  # also where all pixels are known
        tables = dataclasses.replace(tables, passes=every_pass)
        batch, _, *size = pixels.shape
        if stage.network.orders == "any":  # all pixels in one row, in generation order
            along = (order or Order.raster(*size)).along
            pixels, size = pixels.flatten(2)[:, :, None, along], [1, len(along)]
            s = s if s is None or s.shape[2:] == (1, 1) else s.flatten(2)[:, :, None, along]
        height, width = size
        at_work = Machine(
            tables,
            scale(torch.arange(model.levels), model.levels, torch.float64),
            (height, width),
            batch,
            torch.float64,
            s,
            1,
            order or Order.raster(images.shape[2], images.shape[3]),
        )
        flat = np.ascontiguousarray(pixels.flatten(2).numpy().astype(np.uint8))
        known, numbers = np.ones((batch, height * width), dtype=bool), np.zeros(flat.shape)
        found = torch.zeros(batch, model.head.num_params, height, width)
        for row in range(height):
            for column in range(width):
                assert at_work.draw(row, 1, column, 1, flat, known, numbers, 1.0, 1.0) is None
                at = 0
                for operand, n, _ in tables.checks:
                    first, rows, line, down = at_work.places[operand]
                    an_image, a_column = at_work.steps[2 * operand : 2 * operand + 2]
                    for image in range(batch):
                        here = first + (row + down) % rows * line + column * a_column + image * an_image
                        found[image, at : at + n, row, column] = torch.from_numpy(
                            at_work.memory[here : here + n].copy()
                        )
                    at += n
        if stage.network.orders == "any":
            found = found[:, :, 0, along.argsort()].unflatten(2, tuple(images.shape[2:]))
        part = params[:, :, :: stage.step, :: stage.step]
        part.copy_(torch.where(part.isnan(), found, part))
    return params


# ---- one function


@every_case
@torch.no_grad()
def test_the_compiled_walk_gives_the_parameters_of_the_whole_pass(case: tuple) -> None:
    model = make(case)
    images = torch.randint(0, model.levels, (3, model.channels, *ODD))
    assert_close(compiled_params(model, images), model.network(Whole(scale(images, model.levels, torch.float64))))


@in_turn("case, size", CASES, [(1, 1), (1, 6), (2, 3), (6, 1)], each=1)
@torch.no_grad()
def test_images_smaller_than_a_kernel_are_no_exception(case: tuple, size: tuple[int, int]) -> None:
    model = make(case)
    images = torch.randint(0, model.levels, (2, model.channels, *size))
    assert_close(compiled_params(model, images), model.network(Whole(scale(images, model.levels, torch.float64))))


@in_turn("case, name", CONDITIONAL, CONDITIONS)
@torch.no_grad()
def test_that_holds_for_every_kind_of_condition(case: tuple, name: str) -> None:
    model = conditional(case, name)
    images = torch.randint(0, model.levels, (3, model.channels, *ODD))
    s = model.embed_condition(3, **something(model, 3))
    whole = model.network(Whole(scale(images, model.levels, torch.float64), s))
    assert_close(compiled_params(model, images, s), whole)


@in_turn("case, name", ANY_ORDER, ["s-curve-3", "s-curve-6", "random-0", "random-1"])
@torch.no_grad()
def test_that_holds_along_every_order(case: tuple, name: str) -> None:
    model, order = make(case), Order.named(name, *ODD)
    images = torch.randint(0, model.levels, (3, model.channels, *ODD))
    whole = model.network(Whole(scale(images, model.levels, torch.float64), order=order))
    assert_close(compiled_params(model, images, order=order), whole)


# ---- the same images


def test_compiled_and_naive_sampling_give_the_same_images(model: PixelModel) -> None:
    compiled = model.sample(3, seed=1, method="compiled")
    assert torch.equal(compiled, model.sample(3, seed=1, method="naive"))


@pytest.mark.parametrize("temperature", [0.7, 0.0])
def test_compiled_and_cached_sampling_give_the_same_images_at_any_temperature(
    model: PixelModel, temperature: float
) -> None:
    compiled = model.sample(3, seed=1, temperature=temperature, method="compiled")
    assert torch.equal(compiled, model.sample(3, seed=1, temperature=temperature, method="cached"))


@in_turn("model, size", WALKED, [(9, 11), (1, 1), (1, 6), (6, 1)])
def test_compiled_and_cached_sampling_give_the_same_images_of_any_size(
    model: PixelModel, size: tuple[int, int]
) -> None:
    compiled = model.sample(3, size=size, seed=1, method="compiled")
    assert torch.equal(compiled, model.sample(3, size=size, seed=1, method="cached"))


@each_network
def test_an_image_does_not_depend_on_its_company(model: PixelModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor on the number of threads."""
    monkeypatch.setattr(machine, "_WORTH_A_THREAD", 1)  # also of images as small as these
    monkeypatch.setattr(machine, "_TEAMWORK", 0)
    monkeypatch.setattr(machine, "_REMEMBERED", 2)
    torch.set_num_threads(1)
    five = model.sample(5, seed=3, method="compiled")
    torch.set_num_threads(3)
    for batch_size in (1, 2, 4):
        assert torch.equal(model.sample(5, seed=3, batch_size=batch_size, method="compiled"), five)
    assert torch.equal(model.sample(2, seed=3, start=3, method="compiled"), five[3:])


@each_network
@pytest.mark.parametrize("span", [1, 3])
def test_an_image_does_not_depend_on_what_is_drawn_between_two_events(
    model: PixelModel, span: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model.sample(3, seed=3, method="compiled")
    monkeypatch.setattr(compiled_walk, "_BETWEEN_EVENTS", span * 1e6)
    monkeypatch.setattr(Tables, "cost", lambda tables, pixels: 1e6 / 3)
    assert torch.equal(model.sample(3, seed=3, method="compiled"), whole)


@in_turn("model, name, n", WALKED, [(name, 1 + 2 * (index % 2)) for index, name in enumerate(masks(3))], each=3)
def test_compiled_and_cached_completion_give_the_same_images(model: PixelModel, name: str, n: int) -> None:
    images, known = some_images(model, 3)[:n], masks(3)[name]
    known = known[:n] if known.ndim == 4 and len(known) > 1 else known
    completed = model.complete(images, known, seed=1, method="compiled")
    assert torch.equal(completed, model.complete(images, known, seed=1, method="cached"))


@in_turn("case, name, guidance", CONDITIONAL, itertools.product(["label", "map", "all three"], [1.0, 2.0]))
def test_compiled_and_cached_sampling_give_the_same_images_for_the_same_conditions(
    case: tuple, name: str, guidance: float
) -> None:
    model = conditional(case, name, SMALL)
    condition = something(model, 3)
    compiled = model.sample(3, seed=1, batch_size=2, guidance=guidance, method="compiled", **condition)
    assert torch.equal(compiled, model.sample(3, seed=1, guidance=guidance, method="cached", **condition))
    images, known = some_images(model, 3), masks(3)["spans"]
    completed = model.complete(images, known, seed=1, guidance=guidance, method="compiled", **condition)
    assert torch.equal(
        completed, model.complete(images, known, seed=1, guidance=guidance, method="cached", **condition)
    )


@each_network
def test_two_threads_walk_one_model_at_the_same_time(model: PixelModel) -> None:
    alone = [model.sample(2, seed=seed, method="compiled") for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: model.sample(2, seed=seed, method="compiled"), range(4)))
    assert all(torch.equal(one, other) for one, other in zip(alone, found, strict=True))


def test_float32_draws_what_float64_draws_nearly_everywhere(model: PixelModel) -> None:
    exact = model.sample(40, seed=0, method="compiled")
    single = model.float().sample(40, seed=0, method="compiled")
    assert (exact == single).double().mean() > 0.98


@each_network
def test_rows_come_as_they_are_finished(model: PixelModel) -> None:
    recorded = RecordedRows(5, model)
    images = model.sample(5, seed=0, batch_size=2, method="compiled", on_row=recorded)
    assert recorded.calls == [(first, row) for first in (0, 2, 4) for row in range(4)]
    assert torch.equal(recorded.images, images)


@pytest.mark.parametrize("network", ["lmconv", "pixel-transformer"])
def test_images_do_not_depend_on_whether_there_is_memory_to_draw_ahead(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(("", network, 1, "bernoulli", 2), SMALL)
    monkeypatch.setattr(machine, "_MOST_AHEAD", 1 << 24)
    ahead = model.sample(1, seed=0, method="compiled")
    assert model.programs()[0].ahead
    monkeypatch.setattr(machine, "_MOST_AHEAD", 0)
    assert torch.equal(model.sample(1, seed=0, method="compiled"), ahead)


# ---- programs


@each_network
def test_a_program_is_made_anew_when_the_weights_have_changed(model: PixelModel) -> None:
    before = model.sample(4, seed=0, method="compiled")
    with torch.no_grad():
        for each in model.parameters():
            each.data.add_(torch.randn_like(each))
    after = model.sample(4, seed=0, method="compiled")
    assert not torch.equal(before, after)
    assert torch.equal(after, model.sample(4, seed=0, method="cached"))


def test_a_copy_of_a_model_has_programs_of_its_own() -> None:
    model = make(CASES[0], SMALL)
    before = model.sample(1, seed=0, method="compiled")
    twin = copy.deepcopy(model)
    enlarge(model, 3)
    assert torch.equal(twin.sample(1, seed=0, method="compiled"), before)


@each_network
def test_weights_that_are_not_finite_are_an_error(model: PixelModel) -> None:
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(ModelError, match="not finite for the pixel in row 0, column 0 of image 0"):
        model.sample(2, seed=0, method="compiled")


def test_a_step_that_no_program_knows_is_named_and_walked_as_before() -> None:
    model = pixelrnn.build("pixelcnn", size=(6, 5), levels=2, layers=1, width=4).double()
    model.network = AnyOrder(model.head, height=6, width=5).double()
    with pytest.raises(ConfigError, match="reads the whole image again at every pixel"):
        model.sample(1, method="compiled")
    assert torch.equal(model.sample(2, seed=0), model.sample(2, seed=0, method="naive"))
    assert "reads the whole image" in str(model.not_compiled())


def test_a_model_in_training_mode_is_compiled_without_its_dropout() -> None:
    model = pixelrnn.build("pixelcnn-pp", size=(4, 4), levels=4, layers=1, width=4, dropout=0.5)
    assert model.training
    assert model.not_compiled() is None
    assert all(each.training for each in model.modules())
    compiled, cached = (model.sample(2, seed=0, method=method) for method in ("compiled", "cached"))
    assert torch.equal(compiled, cached)


@pytest.mark.parametrize("size", [(9, 7), (6, 8), (1, 6), (6, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_parts_at_coarser_resolutions_are_compiled(channels: int, size: tuple[int, int]) -> None:
    model = pixelrnn.build("pixelcnn", size=size, channels=channels, levels=4, layers=1, width=4, vector_size=2)
    model = enlarge(with_network(model, TwoResolutions(model.head, condition_width=32)), 2)
    vector = torch.randn(3, 2)
    found = model.sample(3, seed=0, vector=vector, method="compiled")
    assert torch.equal(found, model.sample(3, seed=0, vector=vector, method="naive"))
    assert len(found.unique()) > 1


def test_an_operation_that_no_program_knows_is_named() -> None:
    class Rounded(TwoResolutions):
        def forward(self, canvas: Canvas) -> Tensor:
            return self.last(self.first(None, canvas).round(), canvas)

    model = make(CASES[0], SMALL)
    model.network = Rounded(model.head).double()
    with pytest.raises(ConfigError, match=r"aten\.round"):
        model.sample(1, method="compiled")


def test_a_network_that_looks_at_its_own_pixel_is_refused() -> None:
    class Cheat(TwoResolutions):
        def forward(self, canvas: Canvas) -> Tensor:
            return self.last(self.first(None, canvas) + canvas.look(Reach(0, 0, 0, 0)), canvas)

    model = make(CASES[0], SMALL)
    model.network = Cheat(model.head).double()
    with pytest.raises(ConfigError, match="colours that come later"):
        model.sample(1, method="compiled")


@torch.no_grad()
def test_steps_that_are_read_twice_are_not_fused_away() -> None:
    """A product plus itself, and one whose relu and whose numbers are both read."""

    class Twice(TwoResolutions):
        def forward(self, canvas: Canvas) -> Tensor:
            x = self.first(None, canvas)
            x = x + x
            return self.last(self.coarse(x, canvas).relu() + x.relu() - x, canvas)

    model = make(CASES[0])
    model.network = Twice(model.head).double()
    images = torch.randint(0, model.levels, (2, model.channels, *ODD))
    assert_close(compiled_params(model, images), model.network(Whole(scale(images, model.levels, torch.float64))))


def test_a_walk_that_is_interrupted_leaves_no_thread_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after one member of a team has begun and before the other does."""
    monkeypatch.setattr(machine, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(machine, "_TEAMWORK", 0)
    torch.set_num_threads(2)
    model = make(CASES[0])
    call = Machine._call

    def interrupted(self: Machine, one: np.ndarray, work: int, **settings: int) -> int:
        if work == block.PREPARE and one[block.MEMBER] == 0:
            raise KeyboardInterrupt
        return call(self, one, work, **settings)

    monkeypatch.setattr(Machine, "_call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.sample(1, seed=0, method="compiled")
