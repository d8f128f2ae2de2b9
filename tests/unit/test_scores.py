"""Scores of strangeness: each kind from its definition, maps that sum up to scores, and telling sets apart."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pixelrnn
from pixelrnn.data import load_data
from pixelrnn.errors import ConditionError, ConfigError, ImageError
from pixelrnn.measure.evaluation import levels_for
from pixelrnn.measure.inspection import pmf_at
from pixelrnn.measure.scores import codec_bits, detection, every_score
from pixelrnn.model import PixelModel
from pixelrnn.training.presets import load_preset
from pixelrnn.training.run import train


def colour_model(seed: int, levels: int = 4) -> PixelModel:
    torch.manual_seed(seed)
    return pixelrnn.build("pixelcnn", size=(6, 5), channels=3, levels=levels, layers=1, width=6).double()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 4, (7, 3, 6, 5), generator=torch.Generator().manual_seed(5)).to(torch.uint8)


def test_bits_are_those_of_the_likelihood_and_the_map_says_where(images: torch.Tensor) -> None:
    model = colour_model(0)
    found = pixelrnn.scores(model, images, batch_size=3)
    nats = -model.log_prob(images, reduce=False).detach()
    assert found.pixels is not None
    torch.testing.assert_close(found.images, nats.sum((1, 2, 3)) / (90 * math.log(2)))
    torch.testing.assert_close(found.pixels, nats.sum(1) / (3 * math.log(2)))
    torch.testing.assert_close(found.pixels.mean((1, 2)), found.images)
    assert torch.equal(pixelrnn.scores(model, images.numpy(), batch_size=3).images, found.images)
    assert torch.equal(pixelrnn.scores(model, images.long(), batch_size=3).images, found.images)


def test_typicality_is_the_distance_from_usual_bits_on_either_side(images: torch.Tensor) -> None:
    model = colour_model(0)
    bits = pixelrnn.scores(model, images).images
    middle = float(bits.median())
    found = pixelrnn.scores(model, images, "typicality", usual=middle)
    torch.testing.assert_close(found.images, (bits - middle).abs())
    assert found.pixels is None
    with pytest.raises(ConfigError, match="does not say how many bits"):
        pixelrnn.scores(model, images, "typicality")
    model.about = {"progress": {"bits_per_dim": middle}}
    torch.testing.assert_close(pixelrnn.scores(model, images, "typicality").images, found.images)


def test_a_ratio_is_the_difference_of_two_models(images: torch.Tensor) -> None:
    model, other = colour_model(0), colour_model(1)
    found = pixelrnn.scores(model, images, "ratio", against=other)
    expected = (other.log_prob(images) - model.log_prob(images)).detach() / (90 * math.log(2))
    torch.testing.assert_close(found.images, expected)
    assert found.pixels is not None
    torch.testing.assert_close(found.pixels.mean((1, 2)), expected)
    with pytest.raises(ConfigError, match="against=MODEL"):
        pixelrnn.scores(model, images, "ratio")
    with pytest.raises(ImageError, match="and 4 levels, the other 3 and 8"):
        pixelrnn.scores(model, images, "ratio", against=colour_model(1, levels=8))


def test_complexity_is_relative_to_the_smallest_classical_file(images: torch.Tensor) -> None:
    model = colour_model(0)
    sizes = []
    for image in images.numpy():
        files = []
        for form, options in (
            ("PNG", {"optimize": True}),
            ("WebP", {"lossless": True, "quality": 100}),
            ("JPEG2000", {}),
        ):
            file = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(file, form, **options)
            files.append(len(file.getvalue()))
        sizes.append(8 * min(files) / 90)
    expected = pixelrnn.scores(model, images).images - torch.tensor(sizes, dtype=torch.float64)
    torch.testing.assert_close(pixelrnn.scores(model, images, "complexity").images, expected)


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_what_a_codec_stores_badly_has_many_bits(levels: int) -> None:
    noise = np.random.default_rng(0).integers(0, levels, (1, 1, 40, 40)).astype(np.uint8)
    flat = np.zeros_like(noise)
    few, many = codec_bits(np.concatenate([flat, noise]), levels)
    assert 0 < few < 0.6 < math.log2(levels) * 0.8 < many < math.log2(levels) + 1.5


def test_kinds_without_what_they_need_are_left_out() -> None:
    many = pixelrnn.build("pixelcnn", size=(4, 4), channels=2, levels=4, layers=1, width=4)
    images = torch.zeros(2, 2, 4, 4, dtype=torch.uint8)
    assert set(every_score(many, images)) == {"bits"}
    with pytest.raises(ConfigError, match="1 or 3 channels"):
        pixelrnn.scores(many, images, "complexity")
    with pytest.raises(ConfigError, match="kind of score"):
        pixelrnn.scores(many, images, "likelihood")  # type: ignore[arg-type]
    assert set(every_score(many, images, against=many, usual=1.0)) == {"bits", "typicality", "ratio"}


def test_every_image_has_a_condition_of_its_own() -> None:
    model = pixelrnn.build("pixelcnn", size=(4, 4), levels=4, layers=1, width=6, classes=3).eval()
    with torch.no_grad():
        model.condition.label.weight.mul_(10)
    images, labels = torch.randint(0, 4, (7, 1, 4, 4)), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    expected = -model.log_prob(images, label=labels).detach() / (16 * math.log(2))
    for batch_size in (2, 25):
        found = pixelrnn.scores(model, images.numpy()[::-1], label=labels.flip(0), batch_size=batch_size)
        torch.testing.assert_close(found.images.flip(0), expected.double())
    with pytest.raises(ConditionError, match="a list of 7"):
        pixelrnn.scores(model, images, label=[0, 1], batch_size=2)


def test_detection_is_the_chance_that_an_odd_image_scores_higher() -> None:
    chance = np.random.default_rng(1)
    normal, odd = torch.from_numpy(chance.normal(0, 1, 80)), torch.from_numpy(chance.normal(1, 1, 60))
    found = detection(normal, odd)
    higher = (odd[:, None] > normal[None]).double().mean()
    assert found.auroc == pytest.approx(float(higher))
    threshold = odd.sort().values[int(0.05 * 60)]  # 95 % of the odd ones are at least as high
    assert found.fpr95 == pytest.approx(float((normal >= threshold).double().mean()))
    assert found.auroc_interval[0] < found.auroc < found.auroc_interval[1]
    assert found.fpr95_interval[0] <= found.fpr95 <= found.fpr95_interval[1]
    many = detection(normal.repeat(20), odd.repeat(20))
    assert many.auroc_interval[1] - many.auroc_interval[0] < 0.4 * (found.auroc_interval[1] - found.auroc_interval[0])
    assert detection(normal, normal).auroc == pytest.approx(0.5)
    with pytest.raises(ImageError, match="at least one of each"):
        detection(normal, odd[:0])


def test_a_model_that_never_saw_a_class_finds_it_odd(tmp_path: Path) -> None:
    changes = ['leave_out=["0"]', "epochs=3", "layers=2", "width=16", "optimizer=muon", "seed=1"]
    model = train(load_preset("digits", changes), tmp_path / "nine")
    data = load_data("digits", "test")
    images = torch.from_numpy(levels_for(model, data).fixed(data.images))
    bits = pixelrnn.scores(model, images).images
    strange = torch.from_numpy(data.labels == 0)
    assert detection(bits[~strange], bits[strange]).auroc > 0.6


def test_mutation_replaces_values_by_any_other_alike(tmp_path: Path) -> None:
    images = np.ones((400, 1, 6, 6), np.uint8)
    images[0] = 2  # an image of one value only would be taken for a mistake
    np.savez(tmp_path / "ones.npz", train_images=images, valid_images=images[:8], test_images=images[:8])
    changes = [f"data.name={tmp_path}/ones.npz", "values=4", "levels=4", "layers=1", "width=4", "dropout=0"]
    preset = load_preset("digits", [*changes, "mutation=0.3", "epochs=25", "learning_rate=0.01", "ema=0.99"])
    model = train(preset, tmp_path / "run")
    every = [pmf_at(model, torch.from_numpy(images[1]), row, column)[0] for row in range(6) for column in range(6)]
    probability = torch.stack(every).mean(0).tolist()
    assert probability[1] == pytest.approx(0.7, abs=0.05)
    assert [probability[level] for level in (0, 2, 3)] == pytest.approx([0.1] * 3, abs=0.04)
