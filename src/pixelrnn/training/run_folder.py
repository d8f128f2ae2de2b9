"""The folder of a run: who may train into it, and what it was trained with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from pixelrnn.errors import ConfigError, RunFolderError
from pixelrnn.files import write_atomic
from pixelrnn.model.model_folder import holds_model
from pixelrnn.training.presets import Preset, preset_from

OURS = ("config.json", "model.safetensors", "README.md", "samples.png", "training", "logs")
FINISHED = "finished"
_PATIENCE = 7.0  # seconds: processes that read data live up to five seconds longer than a training that was killed


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other trainings out of the folder; the lock goes with the process, however it ends.

    Raises: RunFolderError if another training works in it, or if it cannot be written
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=_PATIENCE)
    except Timeout as error:
        raise RunFolderError(
            f"Another training is at work in {folder}. Wait for it, stop it, or choose another folder."
        ) from error
    except OSError as error:
        raise RunFolderError(f"The run folder {folder} cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def finished(folder: Path) -> bool:
    """Whether a training came to its end in this run folder."""
    return (folder / "training" / FINISHED).is_file()


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


def check_folder(folder: Path, preset: Preset, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that must not be trained into; nothing is changed.

    Raises: RunFolderError or ConfigError
    """
    if resume and overwrite:
        raise ConfigError("--resume goes on with a run and --overwrite throws it away: give one of them.")
    there = [name for name in OURS if _holds_something(folder / name)]
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
    if resume:
        last = folder / "training" / "last.ckpt"
        if not is_run or (finished(folder) and not last.is_file()):
            raise RunFolderError(
                f"{folder} holds a model but no {last.name} to go on from; to train afresh would replace it. Choose "
                "another folder, or throw it away:  --overwrite"
            )
        _same(saved_preset(folder), preset)
        _check_checkpoint(last)


def _holds_something(path: Path) -> bool:
    """Whether there is a file, or a folder with more in it than what a killed process left half written."""
    return any(path.glob("[!.]*")) if path.is_dir() else path.exists()


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


def prepare_folder(folder: Path, preset: Preset, *, overwrite: bool) -> None:
    """Make the folder ready to be trained into.

    Raises: RunFolderError if it cannot be written
    """
    try:
        if overwrite:
            for name in OURS:
                path = folder / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        (folder / "training").mkdir(parents=True, exist_ok=True)
        for place in (folder, folder / "training"):
            for half_written in place.glob(".*.tmp"):  # by a process that was killed
                half_written.unlink(missing_ok=True)
        (folder / "training" / FINISHED).unlink(missing_ok=True)
        write_atomic(folder / "training" / "preset.json", (json.dumps(preset.as_dict(), indent=2) + "\n").encode())
    except OSError as error:
        raise RunFolderError(f"The run folder {folder} cannot be written: {error.strerror or error}.") from error


def _same(before: Preset, now: Preset) -> None:
    """A resumed run may get more epochs, and nothing else.

    Raises: ConfigError
    """
    if now.training.epochs < before.training.epochs:
        raise ConfigError(
            f"The run began with {before.training.epochs} epochs; it can get more when it is resumed, but not "
            f"{now.training.epochs}. Leave --epochs as it was."
        )
    for section in ("data", "model", "training"):
        old, new = before.as_dict()[section], now.as_dict()[section]
        for key in sorted({*old, *new} - {"epochs"}):
            if old.get(key) != new.get(key) and not (key == "name" and _one_path(old[key], new[key])):
                raise ConfigError(
                    f"The run began with {section}.{key} = {old.get(key)!r}, it cannot go on with {new.get(key)!r}. "
                    "Resume it with the same preset and the same --set, or begin another run."
                )


def _one_path(before: str, now: str) -> bool:
    return Path(now).exists() and Path(before).resolve() == Path(now).resolve()
