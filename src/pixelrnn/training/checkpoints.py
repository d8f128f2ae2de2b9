"""Atomic checkpoints, and stopping on a signal after saving one."""

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

_SOON = 10.0  # seconds between checkpoints near the end of an epoch, as a slow validation may follow


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file, syncs it to disk, and only then replaces the previous checkpoint.

    Raises: TrainingError if it cannot be written, or weights are not finite; the previous checkpoint is kept
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
            previous = "The previous checkpoint is kept." if path.is_file() else "There is no previous checkpoint."
            raise TrainingError(
                f"Training ended: {path} could not be written ({error.strerror or error}). {previous}"
            ) from error


def _check_finite(weights: dict[str, Tensor], path: Path) -> None:
    for name, each in weights.items():
        if each.is_floating_point() and not each.isfinite().all():
            raise TrainingError(
                f"Training ended: the weights {name} are not finite, so {path} was not written. "
                "Lower the learning rate (--set learning_rate=...) or use --set precision=32."
            )


class StopSignals:
    """Handles Ctrl-C and SIGTERM: the first stops training after the current step, a second one immediately."""

    def __init__(self) -> None:
        self.received = ""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Restore the previous signal handlers when the block ends; does nothing outside the main thread."""
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
        """Install the handlers; called once training starts, as the trainer installs its own before that."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name


class Checkpoints(Callback):
    """Writes training/last.ckpt at intervals and after each epoch; stops training after a signal.

    Arguments:
        folder   the run folder
        seconds  between checkpoints within an epoch

    Raises:      StoppedError after a signal
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
        """Save after an optimizer step, but not after the last one of an epoch, which is saved after its validation."""
        assert isinstance(module, PixelTraining)
        left = len(module.batches.order) - 1 - batch_idx
        if not left or (batch_idx + 1) % module.settings.accumulate:
            return
        validation_is_near = left <= module.settings.accumulate or trainer.should_stop
        limit = min(self.seconds, _SOON) if validation_is_near else self.seconds
        if not _any(trainer, bool(self.signals.received) or time.monotonic() - self.saved >= limit):
            return
        self._save(trainer)
        if _any(trainer, bool(self.signals.received)):
            raise self._stopped()

    def on_validation_batch_end(self, trainer: lightning.Trainer, module: Any, *rest: Any) -> None:
        if self.signals.received and trainer.world_size == 1:
            raise self._stopped()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self._save(trainer)
        if _any(trainer, bool(self.signals.received)):
            raise self._stopped()

    def _save(self, trainer: lightning.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self.saved, self.saved_step = time.monotonic(), trainer.global_step

    def _stopped(self) -> StoppedError:
        name = {"SIGINT": "by Ctrl-C", "": "with another process"}.get(
            self.signals.received, f"by {self.signals.received}"
        )
        if not self.path.is_file():
            return StoppedError(f"Training was stopped {name}, before the first checkpoint of {self.folder}.")
        return StoppedError(
            f"Training was stopped {name}. {self.path} holds step {self.saved_step}; "
            "continue with the same command and --resume"
        )


class SkippedSteps(Callback):
    """Logs skipped steps to logs/skipped.jsonl, and stops training after `most` of them in a row."""

    def __init__(self, folder: Path, most: int = 10) -> None:
        self.path, self.most = folder / "logs" / "skipped.jsonl", most
        self.written = 0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Rewrite the log: before it was killed, a run may have logged steps that are not in its checkpoint."""
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
        """Log new skipped steps; stop if there were too many in a row."""
        assert isinstance(module, PixelTraining)
        self._write(trainer, module)
        if module.skipped_in_a_row >= self.most:
            raise TrainingError(
                f"Training ended: the gradient was not finite for {self.most} steps in a row. These steps were "
                f"skipped, and the last checkpoint is kept; {self.path} lists the images of each step. "
                "Lower the learning rate (--set learning_rate=...) or use --set precision=32."
            )


def _any(trainer: lightning.Trainer, condition: bool) -> bool:
    """Whether the condition holds in any process: all of them must save at the same step."""
    return condition if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(condition, all=False)
