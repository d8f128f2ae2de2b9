"""The training step: a LightningModule that minimises the negative log-likelihood."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor

from pixelrnn.canvas import Order, orders_of
from pixelrnn.data import Levels
from pixelrnn.model import PixelModel
from pixelrnn.model.conditions import condition_of
from pixelrnn.sampling.choosers import uniforms
from pixelrnn.training.batches import Batch, PixelBatches, Share
from pixelrnn.training.optimizers import optimizer_of
from pixelrnn.training.presets import TrainingSettings


class Skipped(NamedTuple):
    """A skipped optimizer step: its epoch, batch and number, and the indices of the images in its last batch."""

    epoch: int
    batch: int
    step: int
    images: list[int]


class PixelTraining(lightning.LightningModule):
    """Minimises the negative log-likelihood, in nats per pixel and channel; logs nats per image.

    Training is reproducible: the learning rate depends on the step (and the elapsed time, with a time limit), random
    binarisation and mirroring of an image on the seed and its position in the run, dropout on the step and the rank. So
    a resumed run continues as if it had not stopped, and several processes draw the same pixels as one.

    A step whose gradient is not finite is skipped, and appended to `skipped`.

    Arguments:
        model        the model to train
        settings     optimiser, learning-rate schedule, seed, augmentation
        levels       quantisation of source values to the model's levels; for binary data, random binarisation too
        max_seconds  end of the learning-rate schedule, counted over all sessions of the run; None for no time limit
        condition    what the model is conditioned on: one of `conditions.CONDITIONS`

    >>> import pixelrnn
    >>> from pixelrnn.data import Levels
    >>> model = pixelrnn.build("pixelcnn", size=(8, 8), levels=2, layers=1, width=4)
    >>> training = PixelTraining(model, TrainingSettings(learning_rate=0.01), Levels(256, 2))
    >>> training.configure_optimizers().param_groups[0]["lr"]
    0.01
    """

    def __init__(
        self,
        model: PixelModel,
        settings: TrainingSettings,
        levels: Levels,
        max_seconds: float | None = None,
        condition: str = "",
    ) -> None:
        super().__init__()
        self.condition = condition
        self.model, self.settings, self.levels, self.max_seconds = model, settings, levels, max_seconds
        self.began = time.monotonic()
        self.seconds_at_step = 0.0  # elapsed time at the start of the step, the same in all processes
        self.valid_nats: list[Tensor] = []
        self.skipped: list[Skipped] = []
        self.skipped_in_a_row = 0

    @property
    def seconds(self) -> float:
        """Training time so far, over all sessions of the run."""
        return time.monotonic() - self.began

    @property
    def batches(self) -> PixelBatches:
        """The data module."""
        batches: PixelBatches = self.trainer.datamodule  # type: ignore[attr-defined]
        return batches

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean nats per pixel and channel of this process' share of the batch, weighted so that the average over
        processes is the mean over the batch."""
        order = self.batches.order
        share = order.share(batch_idx)
        number = self.current_epoch * len(order) + batch_idx
        torch.manual_seed(_mixed_seed(self.settings.seed, number, order.rank))  # for dropout
        images = self._drawn(batch.pixels, share)
        condition = condition_of(self.model, self.condition, images, batch.labels)
        weight = share.counts * share.size * order.world / share.total  # the processes' gradients are averaged
        nats = -self.model.log_prob(images, check=False, order=self._order(number), **condition).mean() * weight
        self.log("train_nats", nats, prog_bar=True, batch_size=share.total, sync_dist=order.world > 1)
        return nats / images[0].numel()

    def _order(self, number: int) -> Order | None:
        """The generation order of a batch, the same in all processes; None for the network's own."""
        if not self.settings.orders:
            return None
        chance = torch.Generator().manual_seed(_mixed_seed(self.settings.seed, number, _OF_ORDERS))
        size = self.model.size
        return orders_of(self.settings.orders, size, chance, self.model.network.order(*size))

    def _drawn(self, pixels: Tensor, share: Share) -> Tensor:
        """The levels of the images of a batch, randomly binarised, mirrored and mutated if the settings say so."""
        mutation = self.settings.mutation
        if not (self.levels.redrawn or self.settings.mirror or mutation):
            return self.levels.draw(pixels, pixels)
        each = pixels[0].numel()
        first = self.current_epoch * len(self.batches.train) + share.first
        positions = range(first, first + len(pixels))
        drawn = 3 * each + 1 if mutation else each + 1
        numbers = uniforms(self.settings.seed, positions, (1, 1, drawn))[:, 0, 0].to(pixels.device)
        images = self.levels.draw(pixels, numbers[:, :each])
        if self.settings.mirror:
            mirrored = numbers[:, each] < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        if mutation:  # Ren et al., arXiv 1906.02845, section 3: a value is replaced by any other, all alike
            which, how = numbers[:, each + 1 :].view(len(images), 2, *images.shape[1:]).unbind(1)
            other = (images.long() + 1 + (how * (self.model.levels - 1)).long()) % self.model.levels
            images = torch.where(which < mutation, other.to(images.dtype), images)
        return images

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self.seconds_at_step = self.seconds
        if self.max_seconds and self.trainer.world_size > 1:
            self.seconds_at_step = self.trainer.strategy.broadcast(self.seconds_at_step)
        rate = self.settings.learning_rate * self.schedule()
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate
        self.log("learning_rate", rate, batch_size=1)

    def schedule(self) -> float:
        """The learning-rate schedule: the factor of the peak learning rate for the next step."""
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        warmup = min(self.settings.warmup, steps // 5)  # so that a short run is not all warm-up
        factor = min(1.0, (self.global_step + 1) / warmup) if warmup else 1.0
        if self.settings.schedule == "constant":
            return factor
        progress = self.global_step / steps
        if self.max_seconds:
            progress = max(progress, self.seconds_at_step / self.max_seconds)
        return factor * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Clip the gradient's norm; drop a gradient that is not finite.

        By now gradients have been averaged over the processes, so all of them do the same.
        """
        parameters = [each for each in self.model.parameters() if each.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.settings.clip or math.inf)
        if torch.isfinite(norm):
            self.skipped_in_a_row = 0
            return
        for each in parameters:
            each.grad = None  # the optimizer ignores these parameters, and keeps their state
        batch = self.trainer.fit_loop.epoch_loop.batch_idx
        images = self.batches.order.images_of(self.current_epoch, batch)
        self.skipped.append(Skipped(self.current_epoch, batch, self.global_step, images))
        self.skipped_in_a_row += 1

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        with torch.autocast(batch.pixels.device.type, enabled=False):
            condition = condition_of(self.model, self.condition, batch.pixels, batch.labels)
            nats = -self.model.log_prob(batch.pixels, **condition)
        self.valid_nats.append(nats)

    def gathered_nats(self) -> Tensor:
        """The nats of every validation image, gathered from all processes in the order of the images: (N,) float64."""
        order, total = self.batches.order, len(self.batches.valid)
        mine = torch.cat([torch.zeros(0, device=self.device), *self.valid_nats]).double()
        if order.world == 1:
            return mine
        padded = mine.new_zeros(-(-total // order.world))
        padded[: len(mine)] = mine
        every: Tensor = self.trainer.strategy.all_gather(padded)
        return every.T.reshape(-1)[:total]  # image r + k * world is the k-th of rank r

    def on_validation_epoch_start(self) -> None:
        self.valid_nats.clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the training time and the skipped steps to the checkpoint."""
        checkpoint["session"] = {"seconds": self.seconds, "in_a_row": self.skipped_in_a_row}
        checkpoint["skipped"] = [list(each) for each in self.skipped]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the training time and the skipped steps."""
        session = checkpoint.get("session") or checkpoint["sitting"]  # its name in version 0.1
        self.began = time.monotonic() - session["seconds"]
        self.skipped_in_a_row = session["in_a_row"]
        self.skipped = [Skipped(*each) for each in checkpoint["skipped"]]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self.model, self.settings)


_OF_ORDERS = 1 << 20  # no rank of a process


def _mixed_seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
