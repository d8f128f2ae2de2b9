"""pixelrnn sample: new images."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pixelrnn.cli.common import (
    BATCH,
    Clock,
    Device,
    Guidance,
    Order,
    RunFolder,
    Temperature,
    array_out,
    bar,
    check_encoder,
    check_guidance,
    check_not_an_input,
    class_of,
    classes_of,
    note_untrained_orders,
    note_what_is_left_out,
    parse_size,
    pick_device,
    picture_out,
    save_array,
    several,
)
from pixelrnn.cli.drawing import SHEET, Drawing, Request, draw_shards
from pixelrnn.cli.pictures import read_pictures
from pixelrnn.errors import ConfigError

if TYPE_CHECKING:
    from pixelrnn.model import PixelModel

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn sample runs/digits -n 16 --seed 0 -o samples.png\n"
    "  pixelrnn sample mnist --label 3 --guidance 1.5 -o threes.png\n"
    "  pixelrnn sample mnist --label all -n 10 -o classes.png\n"
    "  pixelrnn sample runs/lmconv --order s-curve-3 -o samples.png\n"
    "  pixelrnn sample faces --like photo.png -n 8 -o alike.png\n"
    "  pixelrnn sample runs/mnist -n 100000 --shards many --processes 4\n"
    "  srun --ntasks 8 pixelrnn sample runs/mnist -n 100000 --shards many\n"
)
_SHARD = 1000  # images per file


def run(
    run: RunFolder,
    n: int = typer.Option(16, "-n", min=1, help="Number of images; with --label all, per class."),
    out: Path | None = typer.Option(
        None,
        "-o",
        "--out",
        help="The picture to write, a grid of all images; samples.png by default. With --shards: "
        f"of the first {SHEET}; none by default.",
        callback=picture_out,
    ),
    label: str | None = typer.Option(None, "--label", help="A class, by name or number; all: a row of n for each."),
    like: Path | None = typer.Option(None, "--like", help="A picture; images are drawn conditioned on its code."),
    guidance: Guidance = 1.0,
    temperature: Temperature = 1.0,
    size: str | None = typer.Option(None, "--size", help="HxW of each image; by default the training size."),
    order: Order = None,
    seed: int | None = typer.Option(
        None, "--seed", help="The same seed gives the same images; by default a random one, with --shards 0."
    ),
    array: Path | None = typer.Option(
        None, "--array", help="Also write the integers, (n, C, H, W), as .npy.", callback=array_out
    ),
    shards: Path | None = typer.Option(None, "--shards", help="Write the integers into files in this folder instead."),
    shard_size: int | None = typer.Option(
        None, "--shard-size", min=1, help=f"Images per file, with --shards; {_SHARD} by default."
    ),
    processes: int = typer.Option(1, "--processes", min=1, help="With --shards, draw in this many processes."),
    device: Device = "auto",
) -> None:
    """Draw new images and write them as one picture, or very many of them as arrays.

    --label chooses the class, for a class-conditional model; --like conditions on the code of a picture (cropped and
    resized as needed), for a model with an encoder. Without them, the condition is left out. With --label all, image i
    is of class i // n.

    --shards FOLDER writes samples-00000.npy, samples-00001.npy, ..., each (n, C, H, W) uint8: the same images whatever
    the number of files and processes. If stopped, the same command continues. Under torchrun or SLURM's srun, on one
    machine or many, each process draws its share of the files into the common folder.
    """
    from pixelrnn.model.processes import Workers

    _check_together(shards, shard_size, processes, array)
    if like is not None:
        check_not_an_input(out or Path("samples.png"), [like])
    with Workers(run, pick_device(device), processes) as workers:
        if label is None and like is None:
            check_guidance(workers.model, guidance, "--label or --like")
        note_untrained_orders(workers.model, [order] if order else [], "images are")
        request = _request(workers.model, n, label, like)
        options = {
            "size": parse_size(size) or workers.model.size,
            "temperature": temperature,
            "guidance": guidance,
            "order": order,
            "seed": seed,
        }
        if shards is None:
            _draw_picture(workers.model, request, options, out or Path("samples.png"), array)
        else:
            drawing = Drawing(shards, request, options | {"seed": seed or 0}, shard_size or _SHARD)
            draw_shards(workers, drawing, out)


def _check_together(shards: Path | None, shard_size: int | None, processes: int, array: Path | None) -> None:
    """Raises ConfigError for options that do not go together."""
    if shards is None and (processes > 1 or shard_size is not None):
        raise ConfigError("--processes and --shard-size are for many images in files: give --shards FOLDER too.")
    if shards is not None and array is not None:
        raise ConfigError("The files of --shards hold the integers already: leave --array out.")


def _request(model: PixelModel, n: int, label: str | None, like: Path | None) -> Request:
    import numpy as np
    import torch

    condition: dict[str, Any] = {}
    summary: dict[str, Any] = {"label": label, "like": None}
    images, rows_of = n, None
    if label == "all":
        images, rows_of = n * classes_of(model), n
        condition["label"] = np.arange(classes_of(model)).repeat(n)
    elif label is not None:
        summary["label"] = condition["label"] = class_of(model, label)
    if like is not None:
        check_encoder(model, "sample images like a picture")
        picture = read_pictures(model, [like], model.size)
        with torch.no_grad():
            condition["vector"] = model.encode(picture)[0].cpu().numpy()
        summary["like"] = hashlib.sha256(picture.numpy().tobytes()).hexdigest()
    note_what_is_left_out(model, condition)
    return Request(images, condition, rows_of, summary)


def _draw_picture(model: PixelModel, request: Request, options: dict[str, Any], out: Path, array: Path | None) -> None:
    """Draw all images as one picture."""
    from pixelrnn.data import grid, save_picture
    from pixelrnn.model.processes import launched

    if launched().world > 1:
        raise ConfigError(
            "Every process of the launcher would write the same picture: give --shards FOLDER, or use no launcher."
        )
    height, width = options["size"]
    clock = Clock()
    with bar("sampling") as on_progress:
        images = model.sample(
            request.images, batch_size=BATCH, on_progress=on_progress, **options, **request.condition
        ).cpu()
    seconds = clock.seconds
    if array is not None:
        save_array(images.numpy(), array)
    save_picture(grid(images, model.levels, rows_of=request.rows_of), out)
    typer.echo(f"{out}  {several(request.images, 'image')} {height}x{width}   {seconds:.1f} s")
