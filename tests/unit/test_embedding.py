"""Embeddings: the triplet loss is its definition, an encoder learns it, verification is what its name says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import pixelrnn
from pixelrnn.errors import ConfigError, DataError
from pixelrnn.measure.verification import verify
from pixelrnn.model import PixelModel
from pixelrnn.training.embedding import center_loss, train_encoder, triplet_loss
from pixelrnn.training.presets import TrainingSettings


def evident_triplet_loss(codes: Tensor, labels: Tensor, margin: float) -> float:
    """Pair by pair, from the words of the definition."""
    found = []
    for a in range(len(codes)):
        for p in range(len(codes)):
            if a == p or labels[a] != labels[p]:
                continue
            positive = float((codes[a] - codes[p]).square().sum())
            others = [float((codes[a] - codes[n]).square().sum()) for n in range(len(codes)) if labels[n] != labels[a]]
            farther = [each for each in others if each > positive]
            found.append(max(0.0, positive - (min(farther) if farther else max(others)) + margin))
    return float(np.mean(found))


@pytest.mark.parametrize("margin", [0.0, 0.2, 3.0])
def test_the_triplet_loss_is_its_definition(margin: float) -> None:
    codes = torch.nn.functional.normalize(torch.randn(9, 4, dtype=torch.float64))
    labels = torch.tensor([0, 1, 1, 2, 0, 2, 2, 1, 3])
    assert triplet_loss(codes, labels, margin).item() == pytest.approx(evident_triplet_loss(codes, labels, margin))


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_a_batch_without_a_triplet_has_no_loss_but_a_gradient(labels: list[int]) -> None:
    codes = torch.randn(3, 4, requires_grad=True)
    loss = triplet_loss(codes, torch.tensor(labels), 0.2)
    loss.backward()
    assert loss.item() == 0
    assert codes.grad is not None
    assert not codes.grad.any()


def test_the_center_loss_is_half_the_squared_distance_from_the_center_of_the_class() -> None:
    codes, centers = torch.randn(5, 3), torch.randn(2, 3)
    labels = torch.tensor([0, 1, 1, 0, 1])
    expected = sum(float((codes[i] - centers[labels[i]]).square().sum()) for i in range(5)) / 10
    assert center_loss(codes, labels, centers).item() == pytest.approx(expected, rel=1e-5)


def people(number: int, of_each: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 8, 8) of 16 levels: a pattern for each person, and noise."""
    rng = np.random.default_rng(number)
    pattern = rng.integers(0, 12, (number, 1, 8, 8)).repeat(of_each, 0)
    images = torch.from_numpy((pattern + rng.integers(0, 4, pattern.shape)).astype(np.uint8))
    return images, torch.arange(number).repeat_interleave(of_each)


def model_with_encoder() -> PixelModel:
    torch.manual_seed(0)
    return pixelrnn.build(
        "gated-pixelcnn", size=(8, 8), levels=16, layers=1, width=4, code_size=8, unit_code=True
    ).float()


def test_an_encoder_learns_to_put_images_of_a_class_together_and_is_left_as_it_is() -> None:
    model, (images, labels) = model_with_encoder(), people(6, 6)
    before = verify(model, images, labels)
    steps: list[tuple[int, int]] = []
    settings = TrainingSettings(encoder_steps=200, center=0.01)
    train_encoder(model, images, labels, settings, lambda done, total: steps.append((done, total)))
    after = verify(model, images, labels)
    assert steps[-1] == (200, 200)
    assert after.auc > before.auc + 0.03, "though every image is shown moved, mirrored and of another brightness"
    assert after.equal_error_rate < before.equal_error_rate
    assert model.encoder is not None
    assert not any(weight.requires_grad for weight in model.encoder.parameters())
    assert model.encode(images).norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)


def test_verification_of_codes_that_say_all_and_of_codes_that_say_nothing() -> None:
    model, (images, labels) = model_with_encoder(), people(4, 5)
    codes = torch.eye(8)[labels] + 0.01 * torch.randn(20, 8)

    class Fixed(torch.nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return codes[: len(image)]

    model.encoder = Fixed()
    found = verify(model, images, labels)
    assert (found.auc, found.equal_error_rate, found.nearest) == (1.0, 0.0, 1.0)
    assert (found.classes, found.images, found.same_pairs, found.other_pairs) == (4, 20, 40, 150)
    assert found.roc[0] == (0.0, 1.0)
    codes = torch.randn(20, 8, generator=torch.Generator().manual_seed(1))
    assert 0.3 < verify(model, images, labels).auc < 0.7
    codes = torch.zeros(20, 8)
    assert verify(model, images, labels).auc == 0.5


def test_what_cannot_be_embedded_is_refused() -> None:
    images, labels = people(3, 2)
    settings = TrainingSettings(encoder_steps=1)
    plain = pixelrnn.build("gated-pixelcnn", size=(8, 8), levels=16, layers=1, width=4)
    with pytest.raises(ConfigError, match="code_size"):
        train_encoder(plain, images, labels, settings, lambda done, total: None)
    with pytest.raises(ConfigError, match="two classes"):
        train_encoder(model_with_encoder(), images, torch.zeros(6, dtype=torch.long), settings, lambda *_: None)
    with pytest.raises(DataError, match=r"two classes.*6 images of 6 classes"):
        verify(model_with_encoder(), images, torch.arange(6))
