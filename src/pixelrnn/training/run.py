"""A training run, from a preset to a model folder; it can be stopped and resumed.

RUN/config.json, model.safetensors, README.md, samples.png    the best model so far (see `pixelrnn.model.model_folder`)
RUN/training/     preset.json, and last.ckpt, the checkpoint to resume from
RUN/logs/         metrics as CSV (and for TensorBoard, if it is installed), samples of every epoch, skipped.jsonl
"""

from __future__ import annotations

import inspect
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

import pixelrnn
from pixelrnn.data import ImageData, Levels, ProgressCallback, Shape
from pixelrnn.errors import ConfigError, TrainingError, unknown
from pixelrnn.files import write_atomic
from pixelrnn.measure.verification import verify
from pixelrnn.model import PixelModel
from pixelrnn.model.conditions import LABELS_HINT, torch_labels
from pixelrnn.model.model_folder import holds_model, read_config
from pixelrnn.training.batches import PixelBatches
from pixelrnn.training.callbacks import Bar, KeepBest, Progress, TimeLimit, moving_average
from pixelrnn.training.checkpoints import AtomicCheckpointIO, Checkpoints, SkippedSteps, StopSignals
from pixelrnn.training.embedding import freeze, train_encoder
from pixelrnn.training.loggers import check_loggers, loggers_of
from pixelrnn.training.machine import Machine
from pixelrnn.training.memory import keep_freed_memory
from pixelrnn.training.module import PixelTraining
from pixelrnn.training.prepare import (
    build_model,
    check_fits_memory,
    check_levels,
    check_orders,
    fit_initial_weights,
    load_for,
)
from pixelrnn.training.presets import Preset
from pixelrnn.training.run_folder import FINISHED, check_folder, locked, prepare_folder


def train(
    preset: Preset,
    out: str | Path,
    *,
    model: PixelModel | None = None,
    data: tuple[ImageData, ImageData] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    max_minutes: float | None = None,
    machine: Machine | None = None,
    command: str = "",
    bar: bool = False,
    on_data: Callable[[ImageData], None] = lambda _: None,
    on_validation: Callable[[Progress], None] = lambda _: None,
    on_time_limit: Callable[[int], None] = lambda _: None,
    download: ProgressCallback | None = None,
    on_encoder: Callable[[int, int], None] = lambda done, total: None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[str | Logger] = (),
    trainer: Mapping[str, Any] | None = None,
) -> PixelModel:
    """Train a preset in the run folder `out` and return the best model.

    With several processes, all of them call this; only rank 0 writes files.

    Arguments:
        preset         data, model and training settings
        out            the run folder
        model          the model to train; None for a new one, as the preset says
        data           training and validation images; None for those that the preset names
        resume         continue from the last checkpoint in the folder, or start from scratch if there is none yet
        overwrite      delete an earlier run in the folder
        max_minutes    stop after this time, even if epochs are left; the learning-rate schedule ends there too. Counted
                       over all sessions of a resumed run.
        machine        devices and processes; None for Machine()
        command        the command line of the run, for the model card
        bar            show a progress bar on standard error
        on_data        called with the training images, in the first process only, before training starts
        on_validation  called after each validation
        on_time_limit  called with the number of validation images when the time limit is reached
        download       called with the progress of a download
        on_encoder     called with (steps done, total steps) while the encoder is trained alone
        callbacks      of Lightning, besides those of this package
        loggers        names ("csv", "tensorboard", "wandb") or loggers of Lightning; see `loggers_of`
        trainer        further arguments of `lightning.Trainer`, which take precedence

    Raises:            RunFolderError if the folder holds another run, is in use or cannot be written; ConfigError if
                       the preset does not fit its data; TrainingError if training cannot continue; StoppedError after
                       Ctrl-C or SIGTERM
    """
    folder, first, machine = Path(out), is_first(), machine or Machine()
    own = _Own(callbacks, loggers, trainer or {})
    limit = _seconds(max_minutes)
    own.check()
    if first:
        check_folder(folder, preset, resume=resume, overwrite=overwrite)
    keep_freed_memory()
    torch.manual_seed(preset.training.seed)
    task = _task(preset, model, data, machine, download)
    # The folder has not been touched so far: errors in the preset or its data have been found by now.
    with locked(folder) if first else nullcontext():
        if first:
            check_folder(folder, preset, resume=resume, overwrite=overwrite)  # again, now that it is locked
            prepare_folder(folder, preset, overwrite=overwrite)
            on_data(task.train)
        last = folder / "training" / "last.ckpt"
        checkpoint = last if resume and last.is_file() else None
        about = _about(preset, task, machine, command)
        if preset.training.encoder_steps:
            about["verification"] = _embed(preset, task, folder if checkpoint else None, on_encoder)
        if not checkpoint:
            fit_initial_weights(task.model, task.train, task.levels, preset)
        module = PixelTraining(task.model, preset.training, task.levels, limit, preset.data.condition)
        keep = KeepBest(folder, about, on_validation)
        more: list[Callback] = [TimeLimit(limit, on_time_limit)] if limit else []
        _fit(folder, preset, module, task.batches, [keep, *more], checkpoint, own, machine=machine, bar=bar)
        if not (folder / "config.json").is_file():
            raise TrainingError(f"No validation of {folder} had a finite likelihood, so there is no model.")
        if first:
            write_atomic(folder / "training" / FINISHED, b"")
    return PixelModel.load(folder)


def is_first() -> bool:
    """Whether this process writes files: the only process, or rank 0."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


class _Own(NamedTuple):
    """What the caller adds to Lightning's trainer."""

    callbacks: Sequence[Callback]
    loggers: Sequence[str | Logger]
    trainer: Mapping[str, Any]

    def check(self) -> None:
        """Raises ConfigError for loggers and arguments that there are none of."""
        check_loggers(self.loggers)
        for name in self.trainer:
            if name not in (arguments := inspect.signature(lightning.Trainer).parameters):
                raise unknown("argument of lightning.Trainer", name, arguments)


class _Task(NamedTuple):
    """What is trained, and on what."""

    model: PixelModel
    train: ImageData
    valid: ImageData
    levels: Levels
    batches: PixelBatches


def _task(
    preset: Preset,
    model: PixelModel | None,
    data: tuple[ImageData, ImageData] | None,
    machine: Machine,
    download: ProgressCallback | None,
) -> _Task:
    """Raises ConfigError if model and data do not fit each other, MemoryLimitError if a step would not fit."""

    def check_pictures(shape: Shape) -> None:
        check_fits_memory(preset, shape, machine, decoded=math.prod(shape))

    train_data, valid_data = data or (load_for(preset, split, download, check_pictures) for split in ("train", "valid"))
    levels = Levels(train_data.values, preset.data.levels, preset.data.binarise or None)
    model, settings = model or build_model(preset, train_data), preset.training
    check_orders(preset, model)
    check_fits_memory(preset, (len(train_data), train_data.channels, *train_data.size), machine)
    batches = PixelBatches(train_data, valid_data, levels, settings.batch_size, settings.seed, machine.workers)
    check_levels(preset, train_data.name, batches)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # halves a step on a CPU
    return _Task(model, train_data, valid_data, levels, batches)


def _seconds(max_minutes: float | None) -> float | None:
    """Raises ConfigError for no time at all."""
    if max_minutes is None:
        return None
    if not max_minutes > 0:
        raise ConfigError(f"--max-minutes must be above 0, not {max_minutes}.")
    return max_minutes * 60


def _fit(
    folder: Path,
    preset: Preset,
    module: PixelTraining,
    batches: PixelBatches,
    reporting: list[Callback],
    checkpoint: Path | None,
    own: _Own,
    *,
    machine: Machine,
    bar: bool,
) -> None:
    signals = StopSignals()
    callbacks: list[Callback] = [*reporting, SkippedSteps(folder), *own.callbacks]
    if preset.training.ema:
        callbacks.append(WeightAveraging(use_buffers=False, multi_avg_fn=moving_average(preset.training.ema)))
    if bar:
        callbacks.append(Bar())
    callbacks.append(Checkpoints(folder, machine.save_minutes * 60, signals))
    with _quiet(), signals.listening():
        try:
            trainer = _trainer(folder, preset, callbacks, own, machine, bar)
        except (ImportError, ValueError, MisconfigurationException) as error:
            raise ConfigError(f"Lightning refused these settings: {str(error).splitlines()[0]}") from error
        try:
            trainer.fit(module, batches, ckpt_path=checkpoint, weights_only=True)
            trainer.strategy.barrier()  # rank 0 may still be writing
        except SystemExit as stop:  # the trainer turns a second Ctrl-C into this
            raise KeyboardInterrupt from stop
        except OSError as error:
            raise TrainingError(f"Training ended: {error}. The last checkpoint in {folder} is kept.") from error
        except RuntimeError as error:
            if trainer.world_size == 1 or isinstance(error, torch.OutOfMemoryError):
                raise
            raise TrainingError(
                f"Training ended: another of its {trainer.world_size} processes died or does not respond "
                f"({str(error).splitlines()[0]}). The last checkpoint in {folder} is kept; continue with --resume"
            ) from error


def _trainer(
    folder: Path, preset: Preset, callbacks: list[Callback], own: _Own, machine: Machine, bar: bool
) -> lightning.Trainer:
    settings = preset.training
    arguments: dict[str, Any] = {
        "accelerator": machine.accelerator,
        "devices": machine.devices,
        "num_nodes": machine.nodes,
        "strategy": machine.chosen_strategy,
        "max_epochs": settings.epochs,
        "precision": _PRECISIONS[settings.precision],
        "accumulate_grad_batches": settings.accumulate,
        "callbacks": callbacks,
        "plugins": [AtomicCheckpointIO()],
        "logger": loggers_of(folder, own.loggers),
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": bar,
        "log_every_n_steps": 10,
    }
    return lightning.Trainer(**(arguments | dict(own.trainer)))


def _about(preset: Preset, task: _Task, machine: Machine, command: str) -> dict[str, Any]:
    """The `about` of the model folder: how the model was trained."""
    return {
        "pixelrnn": pixelrnn.__version__,
        "preset": preset.as_dict(),
        "protocol": task.levels.protocol,
        "data": task.train.name,
        "values": task.train.values,
        "train_images": len(task.train),
        **({"skipped_pictures": task.train.skipped} if task.train.skipped else {}),
        "valid_images": len(task.valid),
        "machine": machine.described(),
        "torch": torch.__version__,
        **_classes(preset, task.train),
        "command": command or f"pixelrnn train {preset.name} --out FOLDER",
    }


def _embed(preset: Preset, task: _Task, resumed: Path | None, on_step: Callable[[int, int], None]) -> dict[str, Any]:
    """Train the encoder with the triplet loss, and measure how well it verifies classes on the validation split.

    A resumed run has its encoder in the checkpoint, and the measurement in the model folder.
    """
    if resumed is not None and holds_model(resumed):
        freeze(task.model)
        found: dict[str, Any] = read_config(resumed)["about"].get("verification", {})
        return found
    pairs = []
    for data in (task.train, task.valid):
        if data.labels is None:
            raise ConfigError(f"{data.name} has no labels, so no embedding can be learned. {LABELS_HINT}")
        pairs.append(
            (torch.from_numpy(np.ascontiguousarray(task.levels.fixed(data.images))), torch_labels(data.labels))
        )
    (images, labels), valid = pairs
    assert labels is not None
    assert valid[1] is not None
    train_encoder(task.model, images, labels, preset.training, on_step)
    return verify(task.model, valid[0], valid[1]).as_dict()


def _classes(preset: Preset, data: ImageData) -> dict[str, Any]:
    """The part of `about` on classes: their names, and the number of training images of each."""
    if preset.data.condition != "class" or data.labels is None:
        return {}
    counts = np.bincount(data.labels, minlength=len(data.class_names))
    return {"class_names": list(data.class_names), "class_counts": counts.tolist()}


_PRECISIONS: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed"}


@contextmanager
def _quiet() -> Any:
    """Silence Lightning's notices and warnings, which mean nothing to users of this package."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)
