"""What several verbs share: sizes, progress bars, writing a result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelrnn.errors import ConditionError, ConfigError, unknown

if TYPE_CHECKING:
    import numpy as np

    from pixelrnn.data import ImageData
    from pixelrnn.model import PixelModel


def picture_out(path: Path | None) -> Path | None:
    """Raises DataError before anything is drawn, if the picture could not be written."""
    from pixelrnn.data.pictures import picture_format

    if path is not None:
        picture_format(path)
    return path


def array_out(path: Path | None) -> Path | None:
    """Raises before anything is drawn, if the array could not be written."""
    from pixelrnn.data.pictures import check_place

    if path is not None:
        if path.suffix != ".npy":
            raise ConfigError(f"Arrays are written as .npy files, but {path} came.")
        check_place(path)
    return path


def run_folder(name: str) -> str:
    """Tells of a folder that is called like a model of the package."""
    from pixelrnn.model.model_folder import shipped

    if name in shipped() and Path(name).is_dir():
        note(f"{name} is the model that comes with the package; write ./{name} for the folder of that name here")
    return name


def data_set(name: str | None) -> str | None:
    """Tells of a folder that is called like a built-in data set."""
    from pixelrnn.data import data_names

    if name in data_names() and Path(str(name)).is_dir():
        note(f"{name} is the data set of that name; write ./{name} for the folder here")
    return name


RunFolder = Annotated[
    str,
    typer.Argument(help="A run folder, any model folder, or a name of `pixelrnn list weights`.", callback=run_folder),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")]
Guidance = Annotated[
    float,
    typer.Option("--guidance", help="Above 1 exaggerates the condition, at twice the price; 1 as it was learned."),
]
Temperature = Annotated[
    float, typer.Option("--temperature", help="Below 1 more probable images, 0 the most probable value of each pixel.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="The same seed gives the same images; left out: a new one.")]
BATCH = 64  # images that are drawn at a time


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


def class_of(model: PixelModel, text: str) -> int:
    """The number of a class that is given by its name or its number; a name wins.

    Raises: ConditionError if the model knows no classes, ConfigError if there is no such class
    """
    count = classes_of(model)
    names = model.about.get("class_names") or [str(number) for number in range(count)]
    if text in names:
        return int(names.index(text))
    if text.isdecimal() and int(text) < count:
        return int(text)
    raise unknown("class", text, names, f"Numbers 0..{count - 1} work too.")


def classes_of(model: PixelModel) -> int:
    """How many classes the model knows.

    Raises: ConditionError if it knows none
    """
    if model.condition is None or not model.condition.classes:
        raise ConditionError(
            "The model knows no classes, so it takes no --label. Train one that does:  pixelrnn train mnist-gated-class"
        )
    return model.condition.classes


def check_encoder(model: PixelModel, wish: str) -> None:
    """Raises ConditionError unless the model has an encoder; `wish` says what it was needed for."""
    if model.encoder is None:
        raise ConditionError(
            f"The model has no encoder, so it cannot {wish}. Train one that has:  pixelrnn train mnist-autoencoder, "
            "or for faces  pixelrnn train faces"
        )


def check_guidance(model: PixelModel, guidance: float, how: str) -> None:
    """Raises ConfigError if a model that is told nothing is to exaggerate it; `how` names the options that tell."""
    if guidance != 1:
        if model.condition is None:
            raise ConfigError("The model learned without conditions, so --guidance has nothing to exaggerate.")
        raise ConfigError(f"--guidance exaggerates a condition: give {how} too.")


def check_not_an_input(out: Path, inputs: list[Path]) -> None:
    """Raises ConfigError if a picture that is read would be written over."""
    if any(out.resolve() == path.resolve() for path in inputs):
        raise ConfigError(f"-o {out} would be written over a picture that is read. Choose another name.")


def note_what_is_left_out(model: PixelModel, condition: Iterable[str]) -> None:
    """Tells what the model learned to be told of, and is not: "label" or "vector"."""
    classes, _, map_channels = (0, 0, 0) if model.condition is None else model.condition.kinds
    if classes and "label" not in condition:
        note(f"the model knows {classes} classes, but draws from all; --label chooses one")
    if model.encoder is not None and "vector" not in condition:
        note("the model has an encoder, but draws without a code; pixelrnn sample --like PICTURE gives it one")
    if map_channels:
        note("the model learned to restore pictures, but draws without one; pixelrnn restore gives it a picture")


def note_split(data: ImageData) -> None:
    """Tells that data without splits was split."""
    if data.total and len(data) < data.total:
        note(f"{len(data)} of the {data.total} images of {data.name}: the split {data.split}; --split all takes all")


def several(count: int, what: str) -> str:
    """So many of something: 1 image, 2 images."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def note(text: str) -> None:
    """One line on standard error."""
    typer.echo(f"note: {text}", err=True)


@contextmanager
def bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error; call what it gives with (done, total). It vanishes at the end."""
    with _bars() as update:
        yield lambda done, total: update(description, done, total)


@contextmanager
def download_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar that appears when something is downloaded: call what it gives with (description, done, total)."""
    with _bars(bytes_=True) as update:
        yield update


@contextmanager
def _bars(bytes_: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """One bar for each description, from its first update on; nothing at all where standard error is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as TimeLeftColumn

    amount = [DownloadColumn()] if bytes_ else []
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), *amount, TimeElapsedColumn(), TimeLeftColumn())
    progress = Progress(*columns, console=console, transient=True)
    tasks: dict[str, TaskID] = {}

    def update(description: str, done: int, total: int) -> None:
        if not console.is_terminal:
            return
        if description not in tasks:
            progress.start()
            tasks[description] = progress.add_task(description)
        progress.update(tasks[description], completed=done, total=total or None)

    try:
        yield update
    finally:
        if tasks:
            progress.stop()


@contextmanager
def walk_bar(description: str, images: int, height: int, batch: int) -> Iterator[Callable[[int, int, object], None]]:
    """A progress bar for `on_row` of sampling and completion."""
    with bar(description) as update:
        yield lambda first, row, _: update(first * height + (row + 1) * min(batch, images - first), images * height)


def save_array(array: np.ndarray, path: Path) -> None:
    """Write an .npy file, whole or not at all.

    Raises: DataError if it cannot be written
    """
    import numpy as np

    from pixelrnn.errors import DataError
    from pixelrnn.files import replacing

    try:
        with replacing(path) as stream:
            np.save(stream, array, allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}.") from error


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began
