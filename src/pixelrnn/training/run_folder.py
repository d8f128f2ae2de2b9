"""The run folder: locking it, checking what is in it, and reading the preset that it was trained with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
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
_PATIENCE = 7.0  # seconds: data-loading workers live up to five seconds longer than a run that was killed


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder against other runs; the lock is released when the process ends, however it ends.

    Raises: RunFolderError if another run is using the folder, or it cannot be written
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=_PATIENCE)
    except Timeout as error:
        raise RunFolderError(
            f"Another training is running in {folder}. Wait for it, stop it, or choose another folder."
        ) from error
    except OSError as error:
        raise RunFolderError(f"The run folder {folder} cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def finished(folder: Path) -> bool:
    """Whether the run in this folder has finished."""
    return (folder / "training" / FINISHED).is_file()


def saved_preset(folder: str | Path) -> Preset:
    """The preset of a run, with all changes made to it.

    Raises: RunFolderError if there is none
    """
    path = Path(folder) / "training" / "preset.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return preset_from(table["name"], table)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} cannot be read, so {folder} is not a run folder of this package.") from error


def check_folder(folder: Path, preset: Preset, *, resume: bool, overwrite: bool) -> None:
    """Check that training in the folder would not destroy anything; changes nothing.

    Raises: RunFolderError if it would; ConfigError for options that do not go together, or with the run to resume
    """
    if resume and overwrite:
        raise ConfigError("--resume continues a run and --overwrite deletes it: use only one of them.")
    there = [name for name in OURS if _holds_something(folder / name)]
    if not there:
        check_not_foreign(folder, OURS)
        return
    is_run = (folder / "training" / "preset.json").is_file()
    if not is_run and not holds_model(folder):
        raise RunFolderError(
            f"{folder} holds {' and '.join(there)}, which were not written by this package and would be lost. "
            "Choose another folder."
        )
    if not (resume or overwrite):
        raise RunFolderError(f"{folder} already holds a run. Continue it:  --resume   or delete it:  --overwrite")
    if resume:
        last = folder / "training" / "last.ckpt"
        if not is_run or (finished(folder) and not last.is_file()):
            raise RunFolderError(
                f"{folder} holds a model but no {last.name} to resume from, and training from scratch would replace "
                "the model. Choose another folder, or delete the model:  --overwrite"
            )
        _check_same(saved_preset(folder), preset)
        _check_checkpoint(last)


def check_not_foreign(folder: Path, ours: Iterable[str]) -> None:
    """Raises RunFolderError if the folder holds visible files or folders besides `ours`."""
    foreign = sorted(each.name for each in folder.glob("[!.]*") if each.name not in ours)
    if foreign:
        raise RunFolderError(
            f"{folder} holds other files ({foreign[0]}{', ...' if len(foreign) > 1 else ''}), and nothing is written "
            "among them. Choose a new or empty folder."
        )


def _holds_something(path: Path) -> bool:
    """Whether the path is a file, or a folder with more in it than temporary files of a killed process."""
    return any(path.glob("[!.]*")) if path.is_dir() else path.exists()


def _check_checkpoint(path: Path) -> None:
    if not path.is_file():
        return
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise almost anything
        raise RunFolderError(
            f"{path} is damaged, so the run cannot be resumed ({type(error).__name__}). "
            "The best model so far is still in the run folder; start another run, or use --overwrite."
        ) from error


def prepare_folder(folder: Path, preset: Preset, *, overwrite: bool) -> None:
    """Prepare the folder for training: delete an earlier run if asked to, and save the preset.

    Raises: RunFolderError if it cannot be written
    """
    try:
        if overwrite:
            for name in OURS:
                path = folder / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        (folder / "training").mkdir(parents=True, exist_ok=True)
        for parent in (folder, folder / "training"):
            for half_written in parent.glob(".*.tmp"):  # by a process that was killed
                half_written.unlink(missing_ok=True)
        (folder / "training" / FINISHED).unlink(missing_ok=True)
        write_atomic(folder / "training" / "preset.json", (json.dumps(preset.as_dict(), indent=2) + "\n").encode())
    except OSError as error:
        raise RunFolderError(f"The run folder {folder} cannot be written: {error.strerror or error}.") from error


def _check_same(before: Preset, now: Preset) -> None:
    """Raises ConfigError unless the presets are equal; a resumed run may only have more epochs."""
    if now.training.epochs < before.training.epochs:
        raise ConfigError(
            f"The run was started with {before.training.epochs} epochs; a resumed run can have more, but not fewer: "
            f"{now.training.epochs}. Leave --epochs as it was."
        )
    for section in ("data", "model", "training"):
        old, new = before.as_dict()[section], now.as_dict()[section]
        for key in sorted({*old, *new} - {"epochs"}):
            if old.get(key) != new.get(key) and not (key == "name" and _one_path(old[key], new[key])):
                raise ConfigError(
                    f"The run was started with {section}.{key} = {old.get(key)!r}, and cannot continue with "
                    f"{new.get(key)!r}. Resume it with the same preset and the same --set, or start another run."
                )


def _one_path(before: str, now: str) -> bool:
    return Path(now).exists() and Path(before).resolve() == Path(now).resolve()
