"""Options, checks, notes and progress bars that several commands share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelrnn.errors import ConditionError, ConfigError

if TYPE_CHECKING:
    import numpy as np

    from pixelrnn.data import ImageData
    from pixelrnn.model import PixelModel


def picture_out(path: Path | None) -> Path | None:
    """Raises DataError before any sampling if the picture could not be written."""
    from pixelrnn.data.pictures import picture_format

    if path is not None:
        picture_format(path)
    return path


def array_out(path: Path | None) -> Path | None:
    """Raises ConfigError or DataError before any sampling if the array could not be written."""
    from pixelrnn.data.pictures import check_place

    if path is not None:
        if path.suffix != ".npy":
            raise ConfigError(f"Arrays are written as .npy files, so the name must end in .npy: {path}")
        check_place(path)
    return path


def run_folder(name: str) -> str:
    """Notes if there is also a folder with the name of a model of the package."""
    from pixelrnn.model.model_folder import shipped

    if name in shipped() and Path(name).is_dir():
        note(f"{name} is the model that comes with the package; for the folder of that name, write ./{name}")
    return name


def data_set(name: str | None) -> str | None:
    """Notes if there is also a folder with the name of a built-in data set."""
    from pixelrnn.data import data_names

    if name in data_names() and Path(str(name)).is_dir():
        note(f"{name} is the built-in data set; for the folder of that name, write ./{name}")
    return name


RunFolder = Annotated[
    str,
    typer.Argument(
        help="A run folder, a model folder, a name from `pixelrnn list weights`, or hf://user/name.",
        callback=run_folder,
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto (a CUDA GPU if there is one), cpu or cuda.")]
Guidance = Annotated[
    float,
    typer.Option(
        "--guidance", help="Classifier-free guidance: above 1 exaggerates the condition, in twice the time; 1: none."
    ),
]
Temperature = Annotated[
    float,
    typer.Option("--temperature", help="Below 1: more probable images; 0: the most probable value of each pixel."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="The same seed gives the same images; random by default.")]
ORDER_HELP = "The generation order, for a network that takes any: raster, s-curve-0 to s-curve-7, random-SEED"
Order = Annotated[str | None, typer.Option("--order", help=f"{ORDER_HELP}.")]
BATCH = 64  # images sampled at a time


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(H, W) from "HxW"; None stays None.

    Raises: ConfigError if the string is not a size

    >>> parse_size("28x32")
    (28, 32)
    """
    if text is None:
        return None
    height, x, width = text.lower().partition("x")
    if not (x and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ConfigError(f"A size must be HEIGHTxWIDTH, for example 28x28, not {text!r}.")
    return int(height), int(width)


def pick_device(device: str) -> str:
    """The device to use: cpu or cuda.

    Raises: ConfigError for an unknown device, or one that is not available
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("No CUDA device is available (or this build of torch has no CUDA). Use --device cpu.")
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"--device must be auto, cpu or cuda, not {device!r}.")
    return device


def class_of(model: PixelModel, text: str) -> int:
    """The number of a class from its name or number.

    Raises: ConditionError if the model is not conditioned on classes, or there is no such class
    """
    from pixelrnn.checks import class_number

    count = classes_of(model)
    return class_number(text, model.about.get("class_names") or [str(number) for number in range(count)])


def classes_of(model: PixelModel) -> int:
    """The number of classes of a class-conditional model.

    Raises: ConditionError if the model is not conditioned on classes
    """
    if model.condition is None or not model.condition.classes:
        raise ConditionError(
            "The model is not conditioned on classes, so it takes no --label. Train one that is:  "
            "pixelrnn train mnist-gated-class   or, with another preset:  --set condition=class"
        )
    return model.condition.classes


def check_encoder(model: PixelModel, wish: str) -> None:
    """Raises ConditionError if the model has no encoder; `wish` says what it is needed for."""
    if model.encoder is None:
        raise ConditionError(
            f"The model has no encoder, so it cannot {wish}. Train one that has:  pixelrnn train mnist-autoencoder, "
            "or for faces:  pixelrnn train faces"
        )


def check_guidance(model: PixelModel, guidance: float, how: str) -> None:
    """Raises ConfigError for guidance without a condition; `how` names the options that set a condition."""
    if guidance != 1:
        if model.condition is None:
            raise ConfigError("The model is unconditional, so it takes no --guidance.")
        raise ConfigError(f"--guidance needs a condition: use it with {how}.")


def check_not_an_input(out: Path, inputs: list[Path]) -> None:
    """Raises ConfigError if the output would overwrite an input."""
    if any(out.resolve() == path.resolve() for path in inputs):
        raise ConfigError(f"-o {out} would overwrite an input picture. Choose another name.")


def note_what_is_left_out(model: PixelModel, condition: Iterable[str]) -> None:
    """Notes the conditions that the model takes and that are missing from `condition` ("label", "vector")."""
    classes, _, map_channels = (0, 0, 0) if model.condition is None else model.condition.kinds
    if classes and "label" not in condition:
        note(f"the model is conditioned on {classes} classes, but no class is set; --label sets one")
    if model.encoder is not None and "vector" not in condition:
        note("the model is conditioned on codes, but no code is set; pixelrnn sample --like PICTURE sets one")
    if map_channels:
        note("the model is conditioned on degraded pictures, but samples without one here; see pixelrnn restore")


def note_untrained_orders(model: PixelModel, orders: Sequence[str], what: str) -> None:
    """Notes that the model was not trained in one of the orders; without any, they are its own.

    Arguments: what, of the model is worse there, with its verb: "its likelihood is"
    Raises:    ConfigError for an order that there is none of, or that the network cannot take
    """
    from pixelrnn.canvas import each_order, family_of
    from pixelrnn.model.orders import trained_orders

    names = [str(name) for name in each_order(orders)]
    for name in names:
        model.network.checked_order(name, model.size)
    own, trained = model.network.own_order, trained_orders(model.about)
    if trained is None or model.network.orders != "any":  # nobody says how it was trained, or there is but one order
        return
    if trained in ("", "completion", "random"):  # its own order is one of these, or it begins with known pixels
        others = [name for name in names if name != own and family_of(name) != trained]
    else:
        others = [name for name in names or [own] if family_of(name) != trained]
    if others:
        how = f"on {trained} orders" if trained else f"in {own} order"
        note(f"the model was trained {how}; in the order {others[0]}, {what} likely far worse")


def note_layout(data: ImageData) -> None:
    """Notes which layout was taken of an array whose shape fits two."""
    if data.layout:
        note(f"{data.name}: {data.layout}")


def note_split(data: ImageData) -> None:
    """Notes that a part of an unsplit data set is used."""
    if data.total and len(data) < data.total:
        note(
            f"using {len(data)} of the {data.total} images of {data.name}, its {data.split} split; --split all uses all"
        )


def several(count: int, what: str) -> str:
    """A count with a noun in the singular or plural.

    >>> several(1, "image"), several(2, "image")
    ('1 image', '2 images')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"


def note_compiling(model: PixelModel) -> None:
    """Notes that the code which compresses is compiled first, if it is."""
    import torch

    from pixelrnn.program import native

    number = "codec64" if model.dtype == torch.float64 else "codec32"
    if native.is_installed() and native.seconds_until_ready(number) > 1:
        note("compiling for this processor, which takes some ten seconds, once")


def note(text: str) -> None:
    """Print one line on standard error."""
    typer.echo(f"note: {text}", err=True)


@contextmanager
def bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, which disappears at the end; yields a function of (done, total)."""
    with _bars() as update:
        yield lambda done, total: update(description, done, total)


@contextmanager
def pixel_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar for work that several threads do; yields a function of the pixels that one of them has done."""
    import threading

    done, lock = 0, threading.Lock()
    with _bars() as update:

        def add(pixels: int) -> None:
            nonlocal done
            with lock:
                done += pixels
                update(description, done, total)

        yield add


@contextmanager
def download_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar that appears with the first download; yields a function of (description, done, total)."""
    with _bars(bytes_=True) as update:
        yield update


@contextmanager
def _bars(bytes_: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """One bar per description, shown from its first update on; nothing if standard error is not a terminal."""
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


def save_array(array: np.ndarray, path: Path) -> None:
    """Write an .npy file atomically.

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
    """A stopwatch that starts when it is created."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began
