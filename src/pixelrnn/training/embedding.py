"""Embeddings: an encoder that puts images of one class near each other and those of another class farther away.

Source: the triplet loss of van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, arXiv
1606.05328, section 3.3; codes of length one and semi-hard negatives as in Schroff, Kalenichenko and Philbin, FaceNet,
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

_CLASSES, _OF_EACH = 12, 5  # of a batch
_SHIFT = 2  # pixels, at most


def triplet_loss(codes: Tensor, labels: Tensor, margin: float) -> Tensor:
    """The mean of max(0, |a - p|^2 - |a - n|^2 + margin) over all pairs of an anchor a and another p of its class.

    n is the nearest of another class that is farther from a than p is (semi-hard), or the farthest of all if none is.

    Shapes: codes (B, D), labels (B,) -> ()
    """
    distances = torch.cdist(codes, codes).square()
    same = labels[:, None] == labels[None]
    pairs = (same & ~torch.eye(len(codes), dtype=torch.bool, device=codes.device)).nonzero()
    if not len(pairs) or bool(same.all()):
        return codes.sum() * 0  # no triplet
    to_positive = distances[pairs[:, 0], pairs[:, 1]]
    to_others = distances[pairs[:, 0]]
    other = ~same[pairs[:, 0]]
    farther = other & (to_others > to_positive[:, None])
    nearest = to_others.masked_fill(~farther, torch.inf).amin(1)
    farthest = to_others.masked_fill(~other, -torch.inf).amax(1)
    to_negative = torch.where(farther.any(1), nearest, farthest)
    return F.relu(to_positive - to_negative + margin).mean()


def center_loss(codes: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Half the mean squared distance of the codes (B, D) from the centers (classes, D) of their classes."""
    return 0.5 * (codes - centers[labels]).square().sum(1).mean()


def train_encoder(
    model: PixelModel, images: Tensor, labels: Tensor, settings: TrainingSettings, tell: Callable[[int, int], None]
) -> None:
    """Train the model's encoder alone, `settings.encoder_steps` steps, and leave it as it is from then on.

    Arguments: images (N, C, H, W) levels and labels (N,); tell is called with (steps done, steps in all)
    Raises:    ConfigError if the model has no encoder, or the data less than two classes of at least two images
    """
    if model.encoder is None:
        raise ConfigError("encoder_steps trains an encoder, but the model has none. Give it one:  --set code_size=32")
    places = [np.flatnonzero(labels.numpy() == label) for label in labels.unique().tolist()]
    places = [each for each in places if len(each) > 1]
    if len(places) < 2:
        raise ConfigError("An embedding is learned from at least two classes of at least two images each.")
    rng = np.random.default_rng(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    centers = nn.Parameter(torch.zeros(int(labels.max()) + 1, model.config["options"]["code_size"]))
    optimizer = torch.optim.Adam([*model.encoder.parameters(), centers], lr=settings.encoder_rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.encoder_steps)
    for step in range(settings.encoder_steps):
        chosen = rng.choice(len(places), min(_CLASSES, len(places)), replace=False)
        batch = np.concatenate([rng.choice(places[each], min(_OF_EACH, len(places[each])), False) for each in chosen])
        seen = _varied(scale(images[batch], model.levels, model.dtype), generator)
        codes, mine = model.encoder(seen.to(model.device)), labels[batch].to(model.device)
        loss = triplet_loss(codes, mine, settings.margin)
        if settings.center:
            loss = loss + settings.center * center_loss(codes, mine, centers.to(codes.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        tell(step + 1, settings.encoder_steps)
    freeze(model)


def freeze(model: PixelModel) -> None:
    """Leave the encoder as it is."""
    if model.encoder is not None:
        model.encoder.requires_grad_(False)


def _varied(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images mirrored, moved by a few pixels and of another brightness, each by chance: (B, C, H, W) in -1..1."""
    count, _, height, width = images.shape
    draw = torch.rand(count, 5, generator=generator).to(images.dtype)
    mirrored = torch.where(draw[:, 0, None, None, None] < 0.5, images.flip(3), images)
    wide = F.pad(mirrored, (_SHIFT, _SHIFT, _SHIFT, _SHIFT), mode="replicate")
    moved = []
    for image, (down, right) in zip(wide, (draw[:, 1:3] * (2 * _SHIFT + 1)).long().tolist(), strict=True):
        moved.append(image[:, down : down + height, right : right + width])
    contrast, brightness = 0.8 + 0.4 * draw[:, 3], 0.4 * draw[:, 4] - 0.2
    return torch.stack(moved) * contrast[:, None, None, None] + brightness[:, None, None, None]
