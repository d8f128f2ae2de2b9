"""pixelrnn sample: new images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from pixelrnn.cli.common import (
    BATCH,
    Clock,
    Device,
    Guidance,
    RunFolder,
    Seed,
    Temperature,
    check_encoder,
    class_of,
    classes_of,
    note,
    parse_size,
    pick_device,
    save_array,
    walk_bar,
)
from pixelrnn.cli.pictures import read_pictures
from pixelrnn.errors import ConfigError

if TYPE_CHECKING:
    from pixelrnn.model import PixelModel

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn sample runs/digits -n 16 --seed 0 -o samples.png\n"
    "  pixelrnn sample runs/mnist-gated-class --label 3 --guidance 1.5 -o threes.png\n"
    "  pixelrnn sample runs/mnist-gated-class --label all -n 10 -o classes.png\n"
    "  pixelrnn sample runs/faces --like photo.png -n 8 -o alike.png\n"
)


def run(
    run: RunFolder,
    n: int = typer.Option(16, "-n", min=1, help="How many; with --label all, of each class."),
    out: Path = typer.Option(Path("samples.png"), "-o", "--out", help="The picture to write, a grid of all of them."),
    label: str | None = typer.Option(None, "--label", help="A class, by name or number; all: a row of n for each."),
    like: Path | None = typer.Option(None, "--like", help="A picture; images are drawn given its code."),
    guidance: Guidance = 1.0,
    temperature: Temperature = 1.0,
    size: str | None = typer.Option(None, "--size", help="HxW of each; left out: as trained."),
    seed: Seed = None,
    array: Path | None = typer.Option(None, "--array", help="Also write the integers, (n, C, H, W), as .npy."),
    device: Device = "auto",
) -> None:
    """Draw new images and write them as one picture.

    A model that learned with classes draws of a class (--label), one with an encoder what has the code of a picture
    (--like, cropped and resized as needed); without them both draw from everything they learned.
    """
    from pixelrnn.data import grid, save_picture
    from pixelrnn.model import PixelModel

    model = PixelModel.load(run, pick_device(device))
    wish = _wish(model, n, label, like)
    if guidance != 1 and not wish.told:
        raise ConfigError("--guidance exaggerates a condition: give --label or --like too.")
    height, width = parse_size(size) or model.size
    clock = Clock()
    with walk_bar("sampling", wish.images, height, BATCH) as on_row:
        images = model.sample(
            wish.images, size=(height, width), temperature=temperature, seed=seed, batch_size=BATCH, guidance=guidance,
            on_row=on_row, **wish.told,
        ).cpu()  # fmt: skip
    seconds = clock.seconds
    save_picture(grid(images, model.levels, rows_of=wish.rows_of), out)
    if array is not None:
        save_array(images.numpy(), array)
    typer.echo(f"{out}  {wish.images} images {height}x{width}   {seconds:.1f} s")


class _Wish(NamedTuple):
    """How many images, what the model is told, and how many are in a row (None: about as many as rows)."""

    images: int
    told: dict[str, Any]
    rows_of: int | None


def _wish(model: PixelModel, n: int, label: str | None, like: Path | None) -> _Wish:
    import torch

    told: dict[str, Any] = {}
    images, rows_of = n, None
    if label == "all":
        images, rows_of = n * classes_of(model), n
        told["label"] = torch.arange(classes_of(model)).repeat_interleave(n)
    elif label is not None:
        told["label"] = class_of(model, label)
    if like is not None:
        check_encoder(model, "draw what is like a picture")
        with torch.no_grad():
            told["vector"] = model.encode(read_pictures(model, [like], model.size))[0]
    _note_what_is_left_out(model, told)
    return _Wish(images, told, rows_of)


def _note_what_is_left_out(model: PixelModel, told: dict[str, Any]) -> None:
    classes, _, map_channels = (0, 0, 0) if model.condition is None else model.condition.kinds
    if classes and "label" not in told:
        note(f"the model knows {classes} classes, but draws from all; --label chooses one, --label all shows each")
    if model.encoder is not None and "vector" not in told:
        note("the model has an encoder, but draws without a code; --like PICTURE gives it one")
    if map_channels:
        note("the model learned to restore pictures, but draws new ones; pixelrnn restore gives it a picture")
