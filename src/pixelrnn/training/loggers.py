"""Where the metrics of a run go: Lightning's loggers, by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from pixelrnn.errors import ConfigError, unknown

NAMES = ("csv", "tensorboard", "wandb")


def check_loggers(chosen: Sequence[str | Logger]) -> None:
    """Raises ConfigError for the name of an unknown logger, or of one whose package is not installed."""
    for each in chosen:
        if isinstance(each, Logger) or each == "csv":
            continue
        if each not in NAMES:
            raise unknown("logger", each, NAMES)
        if not importlib.util.find_spec(each):
            raise ConfigError(f"The logger {each} needs the package {each}:  pip install {each}")


def loggers_of(folder: Path, chosen: Sequence[str | Logger]) -> list[Logger]:
    """The loggers of a run folder: always the CSV file, and the others that were chosen, by name or as they are.

    If none is chosen, TensorBoard's too, if it is installed. Weights & Biases is set up by its own environment
    variables (WANDB_PROJECT, WANDB_MODE=offline, ...).

    Raises: as `check_loggers`
    """
    check_loggers(chosen)
    csv = CSVLogger(folder, name="logs")
    found: list[Logger] = [csv]
    for each in chosen or (["tensorboard"] if importlib.util.find_spec("tensorboard") else []):
        if isinstance(each, Logger):
            found.append(each)
        elif each == "tensorboard":
            found.append(TensorBoardLogger(folder, name="logs", version=csv.version))
        elif each == "wandb":
            found.append(WandbLogger(name=folder.name, save_dir=str(folder / "logs")))
    return found
