"""Contract 6, spans: however many pixels are tried at once, the images are those of the naive sampler."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cases import SMALL, each_network, enlarge, make, some_images
from close import assert_close
from torch import Tensor
from toys import TwoResolutions, with_network

from pixelrnn.canvas import Incremental, Region, Whole, scale
from pixelrnn.errors import ConfigError
from pixelrnn.model import PixelModel
from pixelrnn.sampling.runner import Cached


@pytest.mark.parametrize("span", [1, 3, 100])
def test_a_sample_is_the_same_for_every_span(model: PixelModel, span: int) -> None:
    assert torch.equal(model.sample(5, seed=1, span=span), model.sample(5, seed=1, method="naive"))


@each_network
@pytest.mark.parametrize("span", [2, SMALL[1]])
def test_a_completion_is_the_same_for_every_span(model: PixelModel, span: int) -> None:
    images, known = some_images(model, 4), torch.rand(4, 1, *SMALL) < 0.5
    known[:, :, 1] = known[:1, :, 1]  # a row that is known, here and there, in all of them
    whole = model.complete(images, known, seed=2, span=span)
    assert torch.equal(whole, model.complete(images, known, seed=2, method="naive"))
    assert torch.equal(torch.where(known, whole, images), images)


@each_network
@pytest.mark.parametrize("temperature", [0.0, 0.3, 3.0])
def test_a_sure_and_an_unsure_model_give_the_same_images_too(model: PixelModel, temperature: float) -> None:
    expected = model.sample(6, seed=5, temperature=temperature, span=1)
    assert torch.equal(model.sample(6, seed=5, temperature=temperature, span=SMALL[1]), expected)


def passes(model: PixelModel, monkeypatch: pytest.MonkeyPatch, **how: object) -> list[Region]:
    """The regions that a network was run on to sample."""
    regions: list[Region] = []
    run = Incremental.run

    def noted(canvas: Incremental, network: Callable) -> Tensor:
        regions.append(canvas.region)
        return run(canvas, network)

    monkeypatch.setattr(Incremental, "run", noted)
    model.sample(**how)
    monkeypatch.undo()
    return regions


def test_where_every_guess_is_right_a_row_takes_one_pass_and_where_each_is_wrong_one_for_every_pixel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make(("", "gated-pixelcnn", 1, "categorical", 4), (6, 5))
    with torch.no_grad():
        for weight in model.network.readout.layers[-1].parameters():
            weight.zero_()
        model.network.readout.layers[-1].bias[0] = 1000.0  # level 0 for sure: what the first row is taken for
    assert passes(model, monkeypatch, n=3, seed=0, span=5) == [Region(row, 0, 5) for row in range(6)]
    with torch.no_grad():
        model.network.readout.layers[-1].bias[3] = 2000.0  # level 3 for sure: the first row is taken for 0 and wrong
    found = passes(model, monkeypatch, n=3, seed=0, span=5)
    assert found[:2] == [Region(0, 0, 5), Region(0, 1, 4)], "the first pass says what the others are"
    assert [each.row for each in found[2:]] == [1, 2, 3, 4, 5]


def test_a_guess_of_the_colours_that_is_right_saves_their_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(("", "pixelcnn", 3, "bernoulli", 2), (3, 4))
    with torch.no_grad():
        model.network.readout.layers[-1].weight.zero_()
        model.network.readout.layers[-1].bias.fill_(-1000.0)
    assert len(passes(model, monkeypatch, n=2, seed=0, span=1)) == 3 * 4
    with torch.no_grad():
        model.network.readout.layers[-1].bias.fill_(1000.0)
    assert len(passes(model, monkeypatch, n=2, seed=0, span=1)) == 4 + 3 * 4, "in the first row a second pass each"


def test_an_image_that_has_finished_its_row_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    model = enlarge(make(("", "pixelcnn", 1, "bernoulli", 2), (8, 12)), 2)
    resting: list[int] = []
    only = Incremental.only
    monkeypatch.setattr(
        Incremental, "only", lambda canvas, images: (resting.append(len(images)), only(canvas, images))[1]
    )
    images = model.sample(16, seed=0, span=12)
    assert resting
    assert max(resting) <= 8, "at least half of them at once"
    assert torch.equal(images, model.sample(16, seed=0, method="naive"))


@pytest.mark.parametrize("network", ["pixelcnn", "row-lstm", "diagonal-bilstm", "spatial-lstm", "two resolutions"])
def test_what_resting_images_keep_is_there_again_in_the_next_row(network: str) -> None:
    """The parameters of a walk in which some images rest, against the whole pass."""
    model = make(("", network if network != "two resolutions" else "pixelcnn", 1, "bernoulli", 2), (4, 6))
    if network == "two resolutions":
        model = with_network(model, TwoResolutions(model.head))
    images = torch.randint(0, 2, (6, 1, 4, 6))
    pixels = scale(images, 2, torch.float64)
    canvas, params = Incremental((6, 1, 4, 6), torch.float64, images.device), torch.zeros(6, 1, 4, 6)
    with torch.no_grad():
        for row in range(4):
            canvas.begin(Region(row, 0, 6))
            canvas.write(1 - pixels[:, :, row])  # guesses, all of them wrong
            canvas.run(model.network)
            at_work = torch.arange(6)
            for column, leave in enumerate([[], [0], [3, 4], [], [5], []]):
                stays = torch.tensor([each not in leave for each in at_work.tolist()])
                done, at_work = at_work[~stays], at_work[stays]
                if len(done):
                    canvas.begin(Region(row, column, 6 - column))
                    canvas.write(
                        pixels[:, :, row, column:] if canvas.images is None else pixels[canvas.images, :, row, column:]
                    )
                    found = canvas.run(model.network)
                    params[done, :, row, column:] = found[~stays, :, 0]
                    canvas.only(at_work)
                canvas.begin(Region(row, column, 1))
                canvas.write(pixels[:, :, row, column : column + 1][at_work])
                params[at_work, :, row, column] = canvas.run(model.network)[:, :, 0, 0]
        whole = model.network(Whole(pixels))
    assert_close(params, whole)


@each_network
def test_a_span_below_one_is_refused(model: PixelModel) -> None:
    for span in (0, -1, 1.5):
        with pytest.raises(ConfigError, match="span"):
            model.sample(1, span=span)  # type: ignore[arg-type]


def test_the_rows_of_a_sample_come_one_by_one_and_no_further_than_they_are_asked_for(
    model: PixelModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, begun = model.sample(3, seed=0, batch_size=2), []
    begin = Cached.begin
    monkeypatch.setattr(Cached, "begin", lambda self, run: (begin(self, run), begun.append(self.row))[0])
    rows = model.sample_rows(3, seed=0, batch_size=2)
    assert not begun
    seen = 0
    for first, row, line in rows:
        assert torch.equal(line, expected[first : first + 2, :, row])
        if model.network.orders == "raster":
            assert begun == [*range(4), *range(4)][: seen + 1]
        seen += 1
    assert seen == 8
    with pytest.raises(ConfigError):
        model.sample_rows(-1)


def test_the_memory_of_a_walk_grows_with_the_width_and_not_with_the_height_while_it_samples(
    model: PixelModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    if model.network.remembers:
        pytest.skip("attention keeps every pixel")
    walks: list[Incremental] = []
    run = Incremental.run
    monkeypatch.setattr(Incremental, "run", lambda canvas, network: (walks.append(canvas), run(canvas, network))[1])

    def memory(size: tuple[int, int]) -> int:
        walks.clear()
        model.sample(1, size=size, seed=0)
        return sum(walk.memory for walk in set(walks))

    small = memory((12, 8))
    assert memory((24, 8)) == small
    assert memory((12, 16)) < 2 * small
