"""One training, from a preset to a model folder, stopped and taken up again.

RUN/config.json, model.safetensors, README.md, samples.png    the best model so far (see `pixelrnn.folder`)
RUN/training/     preset.json and the trainer's checkpoints: last.ckpt to resume from, best.ckpt
RUN/logs/         metrics as CSV (TensorBoard too, if it is installed), samples of every epoch
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import shutil
import signal
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

import pixelrnn
from pixelrnn.conditions import torch_labels
from pixelrnn.data import ImageData, Levels, load_data
from pixelrnn.data import Progress as DownloadProgress
from pixelrnn.errors import ConfigError, RunFolderError, TrainingError
from pixelrnn.files import write_atomic
from pixelrnn.folder import holds_model, read_config
from pixelrnn.model import PixelModel
from pixelrnn.training.batches import PixelBatches
from pixelrnn.training.callbacks import Bar, KeepBest, Progress, StopAtNaN, TimeLimit
from pixelrnn.training.embedding import freeze, train_encoder
from pixelrnn.training.memory import keep_freed_memory
from pixelrnn.training.module import PixelTraining
from pixelrnn.training.presets import Preset, preset_from
from pixelrnn.verification import verify

_OURS = ("config.json", "model.safetensors", "README.md", "samples.png", "training", "logs")
_FINISHED = "finished"


def train(
    preset: Preset, out: str | Path, *, resume: bool = False, overwrite: bool = False, max_minutes: float | None = None,
    device: str = "auto", command: str = "", bar: bool = False, tell: Callable[[Progress], None] = lambda _: None,
    download: DownloadProgress | None = None, on_encoder: Callable[[int, int], None] = lambda done, total: None,
) -> PixelModel:  # fmt: skip
    """Train a preset into the run folder `out` and return the best model.

    Arguments:
        resume       go on from the folder's last checkpoint; where there is none yet, start afresh
        overwrite    throw an earlier run in the folder away
        max_minutes  end then, whatever the epochs; the schedule of the learning rate ends there too
        device       "auto", "cpu" or "cuda"
        command      what made this run, for the model card
        bar          a progress bar on standard error
        tell         called after each validation
        on_encoder   called with (steps done, steps in all) while an encoder learns alone
    Raises:          RunFolderError if the folder is taken or cannot be written; ConfigError if the preset does not fit
                     its data; TrainingError if the likelihood is no number
    """
    folder = Path(out)
    if max_minutes is not None and not max_minutes > 0:
        raise ConfigError(f"--max-minutes must be above 0, not {max_minutes}.")
    _check(folder, preset, resume=resume, overwrite=overwrite)
    keep_freed_memory()
    torch.manual_seed(preset.training.seed)
    train_data, valid_data = (load_for(preset, split, download) for split in ("train", "valid"))
    levels = Levels(train_data.source, preset.data.levels, preset.data.binarise or None)
    model = build_model(preset, train_data)
    batches = PixelBatches(train_data, valid_data, levels, preset.training.batch_size, preset.training.seed)
    if batches.train.pixels.min() == batches.train.pixels.max():
        raise ConfigError(
            f"Every pixel of {train_data.name} falls on one level of {preset.data.levels}. If its values are not bytes "
            "0..255, say how many there are, for example 4 for 0..3:  --set values=4 --set levels=4"
        )
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # halves a step on a CPU
    # Nothing in the folder was touched so far: what is wrong with the preset or its data has been found by now.
    checkpoint = _prepare(folder, preset, resume=resume, overwrite=overwrite)
    limit = max_minutes * 60 if max_minutes else None
    module = PixelTraining(model, preset.training, levels, limit, preset.data.condition)
    about = {
        "pixelrnn": pixelrnn.__version__, "preset": preset.as_dict(), "protocol": levels.protocol,
        "data": train_data.name, "source_values": train_data.source, "train_images": len(train_data),
        "valid_images": len(valid_data), "device": str(device), "torch": torch.__version__,
        **_classes(preset, train_data), "command": command or f"pixelrnn train {preset.name} --out FOLDER",
    }  # fmt: skip
    if preset.training.encoder_steps:
        about["verification"] = _embed(
            model, train_data, valid_data, levels, preset, folder if checkpoint else None, on_encoder
        )
    on_interrupt = signal.getsignal(signal.SIGINT)
    with _quiet():
        trainer = _trainer(folder, preset, KeepBest(folder, about, tell), limit, device, bar)
        try:
            trainer.fit(module, batches, ckpt_path=checkpoint, weights_only=True)
        except SystemExit as stop:  # the trainer has caught a Ctrl-C, and has let its callbacks finish
            signal.signal(signal.SIGINT, on_interrupt)  # it leaves Ctrl-C ignored, for good
            raise KeyboardInterrupt from stop
        except OSError as error:
            raise TrainingError(f"Training ended: {error}. The last checkpoint in {folder} stands.") from error
    if not (folder / "config.json").is_file():
        raise TrainingError(f"The time was over before the first validation of {folder}. Give more --max-minutes.")
    write_atomic(folder / "training" / _FINISHED, b"")
    return PixelModel.load(folder)


def finished(folder: Path) -> bool:
    """Whether a training came to its end in this run folder."""
    return (folder / "training" / _FINISHED).is_file()


def load_for(preset: Preset, split: str, download: DownloadProgress | None = None) -> ImageData:
    """One split of a preset's data."""
    size = (preset.data.size[0], preset.data.size[1]) if len(preset.data.size) == 2 else None
    if preset.data.size and size is None:
        raise ConfigError(f"data.size must be [H, W], not {preset.data.size}.")
    data = load_data(preset.data.name, split, size=size, channels=preset.data.channels or None, progress=download)
    return dataclasses.replace(data, source=preset.data.values) if preset.data.values else data


def build_model(preset: Preset, data: ImageData) -> PixelModel:
    """The untrained model of a preset, for images like those of `data`."""
    options = {key: value for key, value in preset.model.items() if key not in ("network", "head")}
    if preset.data.condition == "class":
        if data.labels is None:
            raise ConfigError(f"{data.name} has no classes, so no model can be told of them. Give each a sub-folder.")
        options["classes"] = len(data.class_names)
    elif preset.data.condition:
        options["map_channels"] = data.channels
    return pixelrnn.build(
        preset.model["network"], head=preset.model.get("head"), size=data.size, channels=data.channels,
        levels=preset.data.levels, **options,
    )  # fmt: skip


def _embed(
    model: PixelModel, train_data: ImageData, valid_data: ImageData, levels: Levels, preset: Preset,
    resumed: Path | None, on_step: Callable[[int, int], None],
) -> dict[str, Any]:  # fmt: skip
    """Train the encoder by the triplet loss; how well it tells the classes of the validation split apart.

    A run that is resumed has its encoder in the checkpoint, and what it was measured to be in the model folder.
    """
    if resumed is not None and holds_model(resumed):
        freeze(model)
        found: dict[str, Any] = read_config(resumed)["about"].get("verification", {})
        return found
    pairs = []
    for data in (train_data, valid_data):
        if data.labels is None:
            raise ConfigError(f"{data.name} has no classes, so no embedding can be learned. Give each a sub-folder.")
        pairs.append((torch.from_numpy(np.ascontiguousarray(levels.fixed(data.images))), torch_labels(data.labels)))
    (images, labels), valid = pairs
    assert labels is not None
    assert valid[1] is not None
    train_encoder(model, images, labels, preset.training, on_step)
    return verify(model, valid[0], valid[1]).as_dict()


def _classes(preset: Preset, data: ImageData) -> dict[str, Any]:
    """What the model folder says of the classes: their names, and how often each came."""
    if preset.data.condition != "class" or data.labels is None:
        return {}
    counts = np.bincount(data.labels, minlength=len(data.class_names))
    return {"class_names": list(data.class_names), "class_counts": counts.tolist()}


def saved_preset(folder: str | Path) -> Preset:
    """The resolved preset that a run folder was trained with.

    Raises: RunFolderError if there is none
    """
    path = Path(folder) / "training" / "preset.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return preset_from(table["name"], table)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} cannot be read, so {folder} is no run folder of this package.") from error


def _check(folder: Path, preset: Preset, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that must not be trained into; nothing is changed.

    Raises: RunFolderError or ConfigError
    """
    there = [name for name in _OURS if (folder / name).exists()]
    if not there:
        return
    is_run = (folder / "training" / "preset.json").is_file()
    if not is_run and not holds_model(folder):
        raise RunFolderError(
            f"{folder} holds {' and '.join(there)}, which were not written by this package and would be lost. "
            "Choose another folder."
        )
    if not (resume or overwrite):
        raise RunFolderError(f"{folder} already holds a run. Go on with it:  --resume   or throw it away:  --overwrite")
    if resume and not overwrite:
        if is_run:
            _same(saved_preset(folder), preset)
        _check_checkpoint(folder / "training" / "last.ckpt")


def _check_checkpoint(path: Path) -> None:
    if not path.is_file():
        return
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything
        raise RunFolderError(
            f"{path} is damaged and cannot be resumed from ({type(error).__name__}). "
            "The best model so far stands beside it; begin another run, or give --overwrite."
        ) from error


def _prepare(folder: Path, preset: Preset, *, resume: bool, overwrite: bool) -> str | None:
    """Make the folder ready; return the checkpoint to go on from, if any."""
    last = folder / "training" / "last.ckpt"
    try:
        if overwrite:
            for name in _OURS:
                path = folder / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        (folder / "training").mkdir(parents=True, exist_ok=True)
        (folder / "training" / _FINISHED).unlink(missing_ok=True)
        write_atomic(folder / "training" / "preset.json", (json.dumps(preset.as_dict(), indent=2) + "\n").encode())
    except OSError as error:
        raise RunFolderError(f"The run folder {folder} cannot be written: {error.strerror or error}.") from error
    return str(last) if resume and last.is_file() else None


def _same(before: Preset, now: Preset) -> None:
    """A resumed run may get more epochs, and nothing else."""
    for section in ("data", "model", "training"):
        old, new = before.as_dict()[section], now.as_dict()[section]
        for key in sorted({*old, *new} - {"epochs"}):
            if old.get(key) != new.get(key):
                raise ConfigError(
                    f"The run began with {section}.{key} = {old.get(key)!r}, it cannot go on with {new.get(key)!r}. "
                    "Resume it with the same preset and the same --set, or begin another run."
                )


def _trainer(
    folder: Path, preset: Preset, keep: KeepBest, limit: float | None, device: str, bar: bool
) -> lightning.Trainer:
    settings = preset.training
    callbacks: list[Callback] = [keep, StopAtNaN()]
    if settings.ema:
        callbacks.append(EMAWeightAveraging(decay=settings.ema, use_buffers=False))
    if limit:
        callbacks.append(TimeLimit(limit))
    if bar:
        callbacks.append(Bar())
    callbacks.append(
        ModelCheckpoint(
            folder / "training", "best", monitor="valid_nats", save_last=True, save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
    )  # fmt: skip
    loggers: list[Logger] = [CSVLogger(folder, name="logs")]
    if importlib.util.find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(folder, name="logs", version=loggers[0].version))
    return lightning.Trainer(
        accelerator=device, devices=1, max_epochs=settings.epochs, precision=_PRECISIONS[settings.precision],
        gradient_clip_val=settings.clip or None, accumulate_grad_batches=settings.accumulate, callbacks=callbacks,
        logger=loggers, num_sanity_val_steps=0,
        enable_model_summary=False, enable_progress_bar=bar, log_every_n_steps=10,
    )  # fmt: skip


_PRECISIONS: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed"}


@contextmanager
def _quiet() -> Any:
    """The trainer's own notices are not for the users of this package; warnings of ours are errors with a sentence."""
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
