"""Checkpoints that a crash cannot damage, and a training that is stopped by a signal without a loss."""

from __future__ import annotations

import io
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback
from torch import Tensor

from pixelrnn.errors import StoppedError, TrainingError
from pixelrnn.files import replacing
from pixelrnn.training.module import PixelTraining

_SOON = 10.0  # seconds of work that may be lost where the end of the epoch, or a slow validation, is near


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside the one before it, flushes it to the disk, and only then takes its place.

    Raises: TrainingError if it cannot be written, or would hold a number that is not finite; the old one is untouched
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Called by the trainer: write `checkpoint` as the file `path`."""
        path = Path(path)
        for key in ("state_dict", "current_model_state"):
            _check_finite(checkpoint.get(key, {}), path)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as stream:
                stream.write(content.getbuffer())
        except OSError as error:
            stands = "The checkpoint before it stands." if path.is_file() else "There is none before it."
            raise TrainingError(
                f"Training ended: {path} could not be written ({error.strerror or error}). {stands}"
            ) from error


def _check_finite(weights: dict[str, Tensor], path: Path) -> None:
    for name, each in weights.items():
        if each.is_floating_point() and not each.isfinite().all():
            raise TrainingError(
                f"Training ended: the weights {name} are no finite numbers, so {path} was not written. "
                "Lower the learning rate (--set learning_rate=...) or use --set precision=32."
            )


class StopSignals:
    """Ctrl-C and SIGTERM as a wish that is heard after the current step; a second one ends at once."""

    def __init__(self) -> None:
        self.heard = ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals come here, until the block ends; only the main thread can ask for that."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        wanted = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def install(self) -> None:
        """Listen from now on; the trainer puts handlers of its own when it begins."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._hear)

    def _hear(self, number: int, frame: Any) -> None:
        if self.heard:
            raise KeyboardInterrupt
        self.heard = signal.Signals(number).name


class Checkpoints(Callback):
    """Writes training/last.ckpt every so often and after each epoch; stops the training when a signal was heard.

    Arguments: folder of the run; seconds between two checkpoints within an epoch
    Raises:    StoppedError after a signal
    """

    def __init__(self, folder: Path, seconds: float, signals: StopSignals) -> None:
        self.folder, self.path = folder, folder / "training" / "last.ckpt"
        self.seconds, self.signals = seconds, signals
        self.saved = time.monotonic()
        self.saved_step = -1

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.signals.install()
        self.saved, self.saved_step = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a whole step; but not after the last of an epoch, whose validation is still to come."""
        assert isinstance(module, PixelTraining)
        left = len(module.batches.order) - 1 - batch_idx
        if not left or (batch_idx + 1) % module.settings.accumulate:
            return
        validation_is_near = left <= module.settings.accumulate or trainer.should_stop
        limit = min(self.seconds, _SOON) if validation_is_near else self.seconds
        if not _any(trainer, bool(self.signals.heard) or time.monotonic() - self.saved >= limit):
            return
        self._save(trainer)
        if _any(trainer, bool(self.signals.heard)):
            raise self._stopped()

    def on_validation_batch_end(self, trainer: lightning.Trainer, module: Any, *rest: Any) -> None:
        if self.signals.heard and trainer.world_size == 1:
            raise self._stopped()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._save(trainer)
        if _any(trainer, bool(self.signals.heard)):
            raise self._stopped()

    def _save(self, trainer: lightning.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self.saved, self.saved_step = time.monotonic(), trainer.global_step

    def _stopped(self) -> StoppedError:
        name = {"SIGINT": "by Ctrl-C", "": "with another process"}.get(self.signals.heard, f"by {self.signals.heard}")
        if not self.path.is_file():
            return StoppedError(f"Training was stopped {name}, before the first checkpoint of {self.folder}.")
        return StoppedError(
            f"Training was stopped {name}. {self.path} holds step {self.saved_step}; "
            "go on with the same command and --resume"
        )


class SkippedSteps(Callback):
    """Writes down the steps that were skipped, logs/skipped.jsonl, and ends the training after `most` in a row."""

    def __init__(self, folder: Path, most: int = 10) -> None:
        self.path, self.most = folder / "logs" / "skipped.jsonl", most
        self.written = 0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Written anew, as a run that was killed may have written what the checkpoint does not know."""
        assert isinstance(module, PixelTraining)
        self.written = 0
        if trainer.is_global_zero:
            self.path.unlink(missing_ok=True)
        self._write(trainer, module)

    def _write(self, trainer: lightning.Trainer, module: PixelTraining) -> None:
        if trainer.is_global_zero and len(module.skipped) > self.written:
            lines = [json.dumps(each._asdict()) + "\n" for each in module.skipped[self.written :]]
            with self.path.open("a", encoding="utf-8") as stream:
                stream.writelines(lines)
        self.written = len(module.skipped)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write down what is new; end the training if it has come too often."""
        assert isinstance(module, PixelTraining)
        self._write(trainer, module)
        if module.skipped_in_a_row >= self.most:
            raise TrainingError(
                f"Training ended: the gradient was no finite number {self.most} steps in a row; none of them was "
                f"taken, and the last checkpoint stands. The images of these steps are in {self.path}. "
                "Lower the learning rate (--set learning_rate=...) or use --set precision=32."
            )


def _any(trainer: lightning.Trainer, wish: bool) -> bool:
    """Whether any process wishes it; all must agree on when to save."""
    return wish if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(wish, all=False)
