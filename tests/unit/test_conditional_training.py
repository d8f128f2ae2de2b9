"""The conditions that come from the images of a data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import pixelrnn
from pixelrnn.errors import ConfigError, DataError
from pixelrnn.measure.evaluation import evaluate, load_like
from pixelrnn.model import PixelModel
from pixelrnn.model.conditions import condition_kind, condition_of, degraded, described, enlarged
from pixelrnn.training.presets import load_preset
from pixelrnn.training.run import train


@pytest.fixture(autouse=True)
def _single_precision() -> None:
    torch.set_default_dtype(torch.float32)


def trained(folder: Path, *changes: str) -> PixelModel:
    settings = ["layers=2", "width=6", "batch_size=200", "schedule=constant", "warmup=0", "epochs=1", "ema=0"]
    return train(load_preset("digits", [*settings, *changes]), folder)


@pytest.mark.parametrize("size", [(6, 4), (7, 5), (1, 1)])
def test_half_the_size_is_the_mean_of_blocks_and_blur_that_of_a_neighbourhood(size: tuple[int, int]) -> None:
    images = torch.randint(0, 5, (2, 3, *size), dtype=torch.uint8)
    shown = images.double() / 2 - 1
    half, blur = degraded(images, 5, "half"), degraded(images, 5, "blur")
    height, width = size
    for row in range(height):
        for column in range(width):
            rows = [min(row // 2 * 2 + down, height - 1) for down in (0, 1)]
            columns = [min(column // 2 * 2 + right, width - 1) for right in (0, 1)]
            block = sum(shown[:, :, y, x] for y in rows for x in columns) / 4
            torch.testing.assert_close(half[:, :, row, column].double(), block, atol=1e-6, rtol=0)
            near = shown[:, :, max(0, row - 2) : row + 3, max(0, column - 2) : column + 3].mean((2, 3))
            torch.testing.assert_close(blur[:, :, row, column].double(), near, atol=1e-6, rtol=0)


def test_a_small_image_is_enlarged_block_by_block() -> None:
    small = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert enlarged(small, (3, 4))[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["condition=class"], "the class of the image"),
        (["condition=half"], "the image at half its size"),
        (["condition=blur"], "the image, blurred"),
        (["code_size=3"], "its code"),
        (
            ["condition=class", "code_size=3", "encoder=mdrnn", "condition_spatial=true"],
            "the class of the image and its code",
        ),
    ],
)
def test_a_conditional_model_is_trained_saved_and_measured_under_its_condition(
    tmp_path: Path, changes: list[str], words: str
) -> None:
    model = trained(tmp_path / "run", *changes)
    assert described(model) == words
    again = PixelModel.load(tmp_path / "run")
    data = load_like(again, None, "valid")
    condition = evaluate(again, data)
    assert condition.protocol.endswith(f"given {words}")
    assert condition.nats == pytest.approx(model.about["progress"]["valid_nats"], abs=1e-3)
    unconditional = evaluate(again, data, use_condition=False)
    assert "given" not in unconditional.protocol
    assert abs(unconditional.nats - condition.nats) > 1e-6, "the condition is used"
    pixels, labels = (
        torch.from_numpy(data.images[:30].copy()),
        torch.as_tensor(data.labels[:30]),
    )  # 17 levels as they are
    nats = -again.log_prob(pixels, **condition_of(again, condition_kind(again), pixels, labels)).mean().item()
    assert 0.5 * condition.nats < nats < 2 * condition.nats


def test_a_class_model_knows_its_classes_and_how_often_they_came(tmp_path: Path) -> None:
    trained(tmp_path / "run", "condition=class")
    about = json.loads((tmp_path / "run" / "config.json").read_text())["about"]
    assert about["class_names"] == [str(digit) for digit in range(10)]
    assert sum(about["class_counts"]) == about["train_images"] == 1297


def test_an_encoder_that_learned_by_triplets_stays_as_it_was_and_is_verified(tmp_path: Path) -> None:
    model = trained(tmp_path / "run", "code_size=4", "unit_code=true", "encoder_steps=20", "mirror=true")
    assert 0.5 < model.about["verification"]["auc"] <= 1
    other = trained(tmp_path / "other", "code_size=4", "unit_code=true", "encoder_steps=20", "learning_rate=1e-5")
    assert model.encoder is not None
    assert other.encoder is not None
    for mine, theirs in zip(model.encoder.parameters(), other.encoder.parameters(), strict=True):
        assert torch.equal(mine, theirs), "whatever the other layers learn"


def test_data_without_classes_is_refused_where_classes_are_asked_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", images=np.random.default_rng(0).integers(0, 256, (30, 6, 6), dtype=np.uint8))
    for change in ("condition=class", "encoder_steps=5"):
        preset = load_preset("digits", [f'data.name="{tmp_path / "some.npz"}"', "levels=4", change, "code_size=2"])
        with pytest.raises(ConfigError, match="sub-folder"):
            train(preset, tmp_path / change)
    model = pixelrnn.build("pixelcnn", size=(6, 6), levels=4, layers=1, width=4, classes=2)
    with pytest.raises(DataError, match="sub-folder"):
        condition_of(model, "class", torch.zeros(1, 1, 6, 6, dtype=torch.uint8), None)


def test_an_unknown_condition_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="blur, class, half"):
        load_preset("digits", ["condition=smell"])


def test_a_resumed_run_keeps_its_encoder_and_what_it_was_measured_to_be(tmp_path: Path) -> None:
    changes = ["code_size=4", "unit_code=true", "encoder_steps=20"]
    before = trained(tmp_path / "run", *changes)
    settings = ["layers=2", "width=6", "batch_size=200", "schedule=constant", "warmup=0", "ema=0", *changes]
    after = train(load_preset("digits", [*settings, "epochs=2"]), tmp_path / "run", resume=True)
    assert after.about["verification"] == before.about["verification"]
    assert after.encoder is not None
    assert before.encoder is not None
    for mine, theirs in zip(after.encoder.parameters(), before.encoder.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(after.network.readout.layers[0].weight, before.network.readout.layers[0].weight)
