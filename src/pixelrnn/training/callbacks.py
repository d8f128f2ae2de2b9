"""Callbacks: keep the best model, report progress, average the weights, stop at the time limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import RichProgressBar
from torch import Tensor

from pixelrnn.data import grid, save_picture
from pixelrnn.model import PixelModel
from pixelrnn.model.conditions import condition_of
from pixelrnn.training.card import model_card
from pixelrnn.training.module import PixelTraining


@dataclass(frozen=True)
class Progress:
    """The state of a run after a validation; nats are per image, for the averaged weights."""

    epoch: int
    step: int
    images: int
    seconds: float
    train_nats: float | None
    valid_nats: float
    standard_error: float | None
    bits_per_dim: float
    best: bool
    skipped: int = 0  # steps whose gradient was not finite


class KeepBest(Callback):
    """After each validation, write a grid of samples, and the model folder if the model is the best so far.

    `on_validation` is called with the progress. This callback comes before the weight averaging in the list of
    callbacks, so that it sees the averaged weights.
    """

    def __init__(self, folder: Path, about: dict[str, Any], on_validation: Callable[[Progress], None]) -> None:
        self.folder, self.about, self.on_validation = folder, about, on_validation
        self.best = math.inf
        self.images = 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, PixelTraining)
        self.images += module.batches.order.share(batch_idx).total

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Save the model if it is the best so far, draw samples, and report the progress."""
        assert isinstance(module, PixelTraining)
        nats = module.gathered_nats()
        module.log("valid_nats", nats.mean(), rank_zero_only=True)
        better = float(nats.mean()) < self.best
        train_nats = trainer.callback_metrics.get("train_nats")  # of the last step
        progress = Progress(
            epoch=trainer.current_epoch + 1,
            step=trainer.global_step,
            images=self.images,
            seconds=round(module.seconds, 1),
            train_nats=None if train_nats is None else float(train_nats),
            valid_nats=float(nats.mean()),
            standard_error=float(nats.std() / math.sqrt(len(nats))) if len(nats) > 1 else None,
            bits_per_dim=float(nats.mean()) / (module.model.dimensions * math.log(2)),
            best=better,
            skipped=len(module.skipped),
        )
        self.best = min(self.best, progress.valid_nats)
        if trainer.is_global_zero:
            self._write(module, progress)
            self.on_validation(progress)

    def _write(self, module: PixelTraining, progress: Progress) -> None:
        if progress.best:
            module.model.about = {**self.about, "progress": asdict(progress)}
            module.model.save(self.folder, model_card(module.model))
        if not math.isfinite(progress.valid_nats):
            return  # it cannot be sampled from
        path = self.folder / "logs" / "samples" / f"epoch-{progress.epoch:03d}.png"
        valid = module.batches.valid
        pixels, labels = valid[list(range(min(16, len(valid))))]
        condition = condition_of(module.model, module.condition, pixels, labels)
        samples = draw_samples(module.model, path, len(pixels), condition)
        if progress.best:
            save_picture(grid(samples, module.model.levels), self.folder / "samples.png")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "images": self.images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.images = state_dict["best"], state_dict["images"]


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """The update of an exponential moving average of weights, with a lower decay in the first steps.

    After n steps the decay is min(decay, (1 + n) / (10 + n)), as in TensorFlow's `ExponentialMovingAverage` with
    `num_updates`. With a constant decay of 0.999, the random initial weights would still be a third of the average
    after 1000 steps.

    >>> average, current = [torch.zeros(1)], [torch.ones(1)]
    >>> moving_average(0.999)(average, current, 0)  # the decay is 1 / 10
    >>> average
    [tensor([0.9000])]
    """

    @torch.no_grad()
    def update(average: list[Tensor], current: list[Tensor], steps: Tensor | int) -> None:
        share = min(decay, (1 + int(steps)) / (10 + int(steps)))
        torch._foreach_lerp_(average, current, 1 - share)

    return update


class TimeLimit(Callback):
    """Stops training after so many seconds, with a final validation and checkpoint.

    `on_limit` is called with the number of validation images, in the first process only.
    """

    def __init__(self, seconds: float, on_limit: Callable[[int], None] = lambda _: None) -> None:
        self.seconds, self.on_limit = seconds, on_limit

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(module, PixelTraining)
        if module.seconds_at_step > self.seconds and not trainer.should_stop:
            trainer.should_stop = True
            if trainer.is_global_zero:
                self.on_limit(len(module.batches.valid))


class Bar(RichProgressBar):
    """A progress bar on standard error with the nats of the step; epochs are counted from 1, as in every report."""

    def __init__(self) -> None:
        super().__init__(leave=False, console_kwargs={"stderr": True})

    def _get_train_description(self, current_epoch: int) -> str:
        last = "" if self.trainer.max_epochs is None else f"/{self.trainer.max_epochs}"
        return f"Epoch {current_epoch + 1}{last}".ljust(len(self.validation_description))  # so that widths are equal

    def get_metrics(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> dict[str, Any]:
        nats = trainer.progress_bar_metrics.get("train_nats")
        return {} if nats is None else {"nats/image": f"{nats:.2f}"}


def draw_samples(model: PixelModel, path: Path, n: int, condition: dict[str, Any]) -> Tensor:
    """Draw `n` samples with seed 0 and the given conditions, save them as one picture, and return them."""
    samples = model.sample(n, seed=0, **condition).cpu()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_picture(grid(samples, model.levels), path)
    return samples
