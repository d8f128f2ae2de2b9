"""Contract 6: every way to sample gives the same images, in any company."""

from __future__ import annotations

import threading

import pytest
import torch
from cases import SMALL, WALKED, RecordedRows, each_network, enlarge, in_turn, make, some_images
from torch import Tensor

from pixelrnn.model import PixelModel


@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_cached_and_naive_sampling_give_the_same_images(model: PixelModel, temperature: float) -> None:
    cached = model.sample(3, seed=1, temperature=temperature, method="cached")
    assert torch.equal(cached, model.sample(3, seed=1, temperature=temperature, method="naive"))
    assert torch.equal(cached, model.sample(3, seed=1, temperature=temperature))


def test_an_image_does_not_depend_on_how_many_are_made_or_in_which_batches(model: PixelModel) -> None:
    five = model.sample(5, seed=3)
    assert torch.equal(model.sample(3, seed=3), five[:3])
    assert torch.equal(model.sample(7, seed=3)[:5], five)
    for batch_size in (1, 2, 4, 5):
        assert torch.equal(model.sample(5, seed=3, batch_size=batch_size), five)
    assert len({bytes(image.numpy()) for image in five}) == 5, "different images in a batch"


@each_network
def test_another_seed_gives_other_images_and_the_same_seed_the_same(model: PixelModel) -> None:
    assert torch.equal(model.sample(2, seed=4), model.sample(2, seed=4))
    assert not torch.equal(model.sample(2, seed=4), model.sample(2, seed=5))
    assert not torch.equal(model.sample(2), model.sample(2)), "no seed: new images every time"


@each_network
def test_a_sample_neither_reads_nor_moves_the_global_random_numbers_when_it_has_a_seed(model: PixelModel) -> None:
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), model.sample(1, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(model.sample(1, seed=0), first)


def test_samples_are_levels_in_uint8(model: PixelModel) -> None:
    images = model.sample(8, seed=0)
    assert images.dtype == torch.uint8
    assert images.shape == (8, model.channels, *SMALL)
    assert images.unique().tolist() == list(range(model.levels)), "every level comes up, and none above"


def test_images_of_256_levels_use_the_whole_byte() -> None:
    model = make(("", "pixelcnn", 1, "categorical", 256))
    assert model.sample(30, seed=0).max() == 255
    assert model.sample(30, seed=0).min() == 0


@in_turn("model, size", WALKED, [(9, 11), (1, 1), (1, 6), (6, 1)])
def test_images_may_be_larger_or_smaller_than_the_trained_size(model: PixelModel, size: tuple[int, int]) -> None:
    images = model.sample(2, size=size, seed=0)
    assert images.shape == (2, model.channels, *size)
    assert model.log_prob(images).isfinite().all()
    if size != (9, 11):
        assert torch.equal(images, model.sample(2, size=size, seed=0, method="naive"))


@each_network
def test_a_model_with_dropout_samples_as_in_evaluation_and_stays_in_training(model: PixelModel) -> None:
    network, channels, head, levels = (model.config[key] for key in ("network", "channels", "head", "levels"))
    if "dropout" not in model.config["options"]:
        pytest.skip("a network without dropout")
    doubtful = enlarge(make(("", network, channels, head, levels), SMALL, dropout=0.5), 2).train()
    first = doubtful.sample(2, seed=0)
    assert all(each.training for each in doubtful.modules())
    images = some_images(model, 2)
    torch.manual_seed(0)
    assert not torch.equal(doubtful.log_prob(images), doubtful.eval().log_prob(images)), "the dropout is a real one"
    assert torch.equal(doubtful.sample(2, seed=0), first)
    assert not doubtful.training


@each_network
def test_a_sampling_that_is_broken_off_leaves_the_model_in_training(model: PixelModel) -> None:
    def stop(first: int, row: int, pixels: Tensor) -> None:
        raise KeyboardInterrupt

    model.train()
    with pytest.raises(KeyboardInterrupt):
        model.sample(1, seed=0, on_row=stop)
    assert all(each.training for each in model.modules())


@each_network
def test_two_walks_side_by_side_on_one_model_give_the_images_that_they_give_alone(model: PixelModel) -> None:
    expected = [model.sample(2, seed=seed) for seed in (1, 2)]
    meet = threading.Barrier(2, timeout=20)
    found: dict[int, Tensor] = {}

    def work(seed: int) -> None:
        found[seed] = model.sample(2, seed=seed, on_row=lambda first, row, pixels: meet.wait() and None)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(found[1], expected[0])
    assert torch.equal(found[2], expected[1])


def test_float32_draws_what_float64_draws_nearly_everywhere(model: PixelModel) -> None:
    """A rounding error flips a draw where a uniform number is within 1e-6 of a step: once in 100 000 pixels or so."""
    exact, single = model.sample(40, seed=0), model.float().sample(40, seed=0)
    assert single.dtype == torch.uint8
    assert (exact == single).double().mean() > 0.98


@each_network
@pytest.mark.parametrize("method", ["cached", "naive"])
def test_on_row_gets_every_row_of_every_batch_once_and_finished(model: PixelModel, method: str) -> None:
    recorded = RecordedRows(5, model)
    images = model.sample(5, seed=0, batch_size=2, method=method, on_row=recorded)
    assert recorded.calls == [(first, row) for first in (0, 2, 4) for row in range(4)]
    assert torch.equal(recorded.images, images)
