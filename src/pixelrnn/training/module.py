"""The training step: a LightningModule that knows nothing but nats."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning
import torch
from torch import Tensor

from pixelrnn.conditions import told_of
from pixelrnn.data import Levels
from pixelrnn.model import PixelModel
from pixelrnn.training.batches import Batch
from pixelrnn.training.presets import TrainingSettings

_OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}


class PixelTraining(lightning.LightningModule):
    """Minimises the nats per pixel and colour of a model; logs nats per image.

    The learning rate and the random pixels of a batch are functions of its number alone (and of the time, under a time
    limit), so that a resumed run takes them up where it stopped.

    Arguments:
        levels       how source values become the model's levels; draws binary pixels anew where the protocol says so
        max_seconds  the schedule ends there at the latest; None for no limit
        condition    what the model is told of an image, see `conditions.CONDITIONS`
    """

    def __init__(
        self, model: PixelModel, settings: TrainingSettings, levels: Levels, max_seconds: float | None = None,
        condition: str = "",
    ) -> None:  # fmt: skip
        super().__init__()
        self.condition = condition
        self.model, self.settings, self.levels, self.max_seconds = model, settings, levels, max_seconds
        self.began = time.monotonic()
        self.valid_nats: list[Tensor] = []

    @property
    def seconds(self) -> float:
        """Since this training began, in this process."""
        return time.monotonic() - self.began

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean nats per pixel and colour of a batch."""
        every = self.settings.accumulate
        batch_number = self.global_step * every + batch_idx % every
        torch.manual_seed(self.settings.seed * 1_000_003 + batch_number)  # for the drawn pixels and dropout
        images = self.levels.draw(batch.pixels, None)
        if self.settings.mirror:
            mirrored = torch.rand(len(images), device=images.device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        told = told_of(self.model, self.condition, images, batch.labels)
        nats = self.model.log_prob(images, check=False, **told).mean()
        self.log("train_nats", -nats, prog_bar=True, batch_size=len(images))
        return -nats / images[0].numel()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        rate = self.settings.learning_rate * self.schedule()
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate
        self.log("learning_rate", rate, batch_size=1)

    def schedule(self) -> float:
        """The share of the highest learning rate for the coming step."""
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        warmup = min(self.settings.warmup, steps // 5)  # a short training is not all warm-up
        share = min(1.0, (self.global_step + 1) / warmup) if warmup else 1.0
        if self.settings.schedule == "constant":
            return share
        progress = self.global_step / steps
        if self.max_seconds:
            progress = max(progress, self.seconds / self.max_seconds)
        return share * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        with torch.autocast(batch.pixels.device.type, enabled=False):
            told = told_of(self.model, self.condition, batch.pixels, batch.labels)
            nats = -self.model.log_prob(batch.pixels, **told)
        self.valid_nats.append(nats)
        self.log("valid_nats", nats.mean(), batch_size=len(nats))

    def on_validation_epoch_start(self) -> None:
        self.valid_nats.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.settings
        options: dict[str, Any] = {"weight_decay": settings.weight_decay} if settings.optimizer == "adamw" else {}
        return _OPTIMIZERS[settings.optimizer](self.model.parameters(), lr=settings.learning_rate, **options)
