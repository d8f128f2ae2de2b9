"""Train an encoder as an embedding: images of one class close to each other, those of other classes farther away.

Source: the triplet loss of van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, arXiv
1606.05328, section 3.3; unit-length codes and semi-hard negatives as in Schroff, Kalenichenko and Philbin, FaceNet,
2015, arXiv 1503.03832; the center loss of Wen et al., A Discriminative Feature Learning Approach for Deep Face
Recognition, 2016.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrnn.canvas import scale
from pixelrnn.errors import ConfigError
from pixelrnn.model import PixelModel
from pixelrnn.training.presets import TrainingSettings

_CLASSES, _PER_CLASS = 12, 5  # classes in a batch, and images of each
_SHIFT = 2  # the largest random shift, in pixels


def triplet_loss(codes: Tensor, labels: Tensor, margin: float) -> Tensor:
    """The mean of max(0, |a - p|^2 - |a - n|^2 + margin) over all pairs of an anchor a and a positive p of its class.

    The negative n is semi-hard: the nearest code of another class that is farther from a than p is. If there is none,
    it is the farthest code of another class.

    Shapes: codes (B, D), labels (B,) -> ()

    >>> codes, labels = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1])
    >>> triplet_loss(codes, labels, margin=5.0)  # (1 - 9 + 5 -> 0, and 1 - 4 + 5 = 2) / 2
    tensor(1.)
    """
    distances = torch.cdist(codes, codes).square()
    same = labels[:, None] == labels[None]
    pairs = (same & ~torch.eye(len(codes), dtype=torch.bool, device=codes.device)).nonzero()
    if not len(pairs) or bool(same.all()):
        return codes.sum() * 0  # there are no triplets
    to_positive = distances[pairs[:, 0], pairs[:, 1]]
    to_others = distances[pairs[:, 0]]
    other = ~same[pairs[:, 0]]
    farther = other & (to_others > to_positive[:, None])
    nearest = to_others.masked_fill(~farther, torch.inf).amin(1)
    farthest = to_others.masked_fill(~other, -torch.inf).amax(1)
    to_negative = torch.where(farther.any(1), nearest, farthest)
    return F.relu(to_positive - to_negative + margin).mean()


def center_loss(codes: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Half the mean squared distance of the codes (B, D) to the centers (classes, D) of their classes."""
    return 0.5 * (codes - centers[labels]).square().sum(1).mean()


def train_encoder(
    model: PixelModel, images: Tensor, labels: Tensor, settings: TrainingSettings, on_step: Callable[[int, int], None]
) -> None:
    """Train the model's encoder alone for `settings.encoder_steps` steps, then freeze it.

    Arguments:
        images   (N, C, H, W) levels
        labels   (N,)
        on_step  called with (steps done, total steps)

    Raises:      ConfigError if the model has no encoder, or the data fewer than two classes of two images or more
    """
    if model.encoder is None:
        raise ConfigError("encoder_steps trains an encoder, but the model has none. Add one with  --set code_size=32")
    members = [np.flatnonzero(labels.numpy() == label) for label in labels.unique().tolist()]
    members = [each for each in members if len(each) > 1]
    if len(members) < 2:
        raise ConfigError("Learning an embedding takes at least two classes with at least two images each.")
    rng = np.random.default_rng(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    centers = nn.Parameter(torch.zeros(int(labels.max()) + 1, model.config["options"]["code_size"]))
    optimizer = torch.optim.Adam([*model.encoder.parameters(), centers], lr=settings.encoder_rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.encoder_steps)
    for step in range(settings.encoder_steps):
        classes = rng.choice(len(members), min(_CLASSES, len(members)), replace=False)
        batch = np.concatenate([rng.choice(members[c], min(_PER_CLASS, len(members[c])), False) for c in classes])
        augmented = _augmented(scale(images[batch], model.levels, model.dtype), generator)
        codes, targets = model.encoder(augmented.to(model.device)), labels[batch].to(model.device)
        loss = triplet_loss(codes, targets, settings.margin)
        if settings.center:
            loss = loss + settings.center * center_loss(codes, targets, centers.to(codes.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        on_step(step + 1, settings.encoder_steps)
    freeze(model)


def freeze(model: PixelModel) -> None:
    """Exclude the encoder's weights from training."""
    if model.encoder is not None:
        model.encoder.requires_grad_(False)


def _augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Randomly mirrored and shifted images with random contrast and brightness: (B, C, H, W) in -1..1."""
    count, _, height, width = images.shape
    draw = torch.rand(count, 5, generator=generator).to(images.dtype)
    mirrored = torch.where(draw[:, 0, None, None, None] < 0.5, images.flip(3), images)
    wide = F.pad(mirrored, (_SHIFT, _SHIFT, _SHIFT, _SHIFT), mode="replicate")
    shifted = []
    for image, (down, right) in zip(wide, (draw[:, 1:3] * (2 * _SHIFT + 1)).long().tolist(), strict=True):
        shifted.append(image[:, down : down + height, right : right + width])
    contrast, brightness = 0.8 + 0.4 * draw[:, 3], 0.4 * draw[:, 4] - 0.2
    return torch.stack(shifted) * contrast[:, None, None, None] + brightness[:, None, None, None]
