"""What several verbs share: sizes, progress bars, writing a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pixelrnn.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

RUN_HELP = "A run folder, or any model folder."
DEVICE_HELP = "cpu, cuda, or auto."


def parse_size(text: str | None) -> tuple[int, int] | None:
    """HxW as two whole numbers; None stays None.

    Raises: ConfigError if it is no size
    """
    if text is None:
        return None
    height, x, width = text.lower().partition("x")
    if not (x and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ConfigError(f"A size is HEIGHTxWIDTH, for example 28x28, but {text!r} came.")
    return int(height), int(width)


def pick_device(device: str) -> str:
    """cpu or cuda.

    Raises: ConfigError if it is not there
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("There is no CUDA device here (or this build of torch has no CUDA). Take --device cpu.")
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"--device must be auto, cpu or cuda, not {device!r}.")
    return device


@contextmanager
def bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error; call what it gives with (done, total). It vanishes at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)


@contextmanager
def download_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar that appears when something is downloaded."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def update(description: str, done: int, total: int) -> None:
            if description not in tasks:
                tasks[description] = progress.add_task(description)
            progress.update(tasks[description], completed=done, total=total or None)

        yield update


@contextmanager
def walk_bar(description: str, images: int, height: int, batch: int) -> Iterator[Callable[[int, int, object], None]]:
    """A progress bar for `on_row` of sampling and completion."""
    with bar(description) as update:
        yield lambda first, row, _: update(first * height + (row + 1) * min(batch, images - first), images * height)


def save_array(array: np.ndarray, path: Path) -> None:
    """Write an .npy file, whole or not at all.

    Raises: DataError if it cannot be written
    """
    import io

    import numpy as np

    from pixelrnn.errors import DataError
    from pixelrnn.files import write_atomic

    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    try:
        write_atomic(path, content.getvalue())
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began
