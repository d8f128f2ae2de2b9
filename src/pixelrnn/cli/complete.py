"""pixelrnn complete: pictures with a part hidden, finished in several ways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pixelrnn.cli.common import (
    BATCH,
    Clock,
    Device,
    Guidance,
    RunFolder,
    Seed,
    Temperature,
    check_guidance,
    check_not_an_input,
    class_of,
    note,
    note_what_is_left_out,
    parse_size,
    pick_device,
    picture_out,
    several,
    walk_bar,
)
from pixelrnn.cli.pictures import read_pictures
from pixelrnn.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from pixelrnn.model import PixelModel

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn complete runs/digits three.png -o out.png --keep top -n 4\n"
    "  pixelrnn complete runs/mine a.png b.png -o out.png --mask known.png\n"
    "  pixelrnn complete mnist three.png -o out.png --keep top --label 3 --size 28x28\n"
    "\n\nThe mask is as large as the pictures, white where they are known. What is transparent counts as white."
)


def run(
    run: RunFolder,
    pictures: list[Path] = typer.Argument(..., help="Pictures to complete."),
    out: Path = typer.Option(
        Path("completions.png"), "-o", "--out", help="The picture to write, a row for each.", callback=picture_out
    ),
    mask: Path | None = typer.Option(
        None, "--mask", help="A picture, white (128..255) where the pictures are known, black where not."
    ),
    keep: str | None = typer.Option(None, "--keep", help="top or left: this half is known."),
    n: int = typer.Option(4, "-n", min=1, help="Completions of each."),
    size: str | None = typer.Option(
        None, "--size", help="HxW to crop and resize the pictures to; left out: as they are."
    ),
    temperature: Temperature = 1.0,
    seed: Seed = None,
    label: str | None = typer.Option(None, "--label", help="A class, by name or number, of a model that knows some."),
    guidance: Guidance = 1.0,
    device: Device = "auto",
) -> None:
    """Finish half-hidden pictures: each row shows the picture, what is kept of it, and its completions.

    Pixels are drawn in the network's order, each given all pixels before it: raster order, or for a multi-scale network
    the small image first. So a completion is an exact draw where the known pixels come before the unknown ones, as with
    --keep top in raster order; known pixels further on are kept but not seen, and with --keep left the right half is
    drawn without a look at the rows below.
    """
    from pixelrnn.data import save_picture
    from pixelrnn.model import PixelModel
    from pixelrnn.report.sheets import completion_sheet

    if (mask is None) == (keep is None):
        raise ConfigError("Say what is known, in one way: --keep top, --keep left, or --mask MASK.png.")
    check_not_an_input(out, [*pictures, *([mask] if mask else [])])
    model = PixelModel.load(run, pick_device(device))
    number = _label(model, label, guidance)
    images = read_pictures(model, pictures, parse_size(size))
    height, width = images.shape[2:]
    if (height, width) != model.size:
        trained = f"{model.size[0]}x{model.size[1]}"
        note(f"the model was trained on {trained}, not {height}x{width}; --size {trained} fits")
    known = _known(mask, keep, height, width)
    if known.all():
        note("the mask says that every pixel is known; there is nothing to complete")
    if not known.any():
        note("the mask says that no pixel is known (it is white, 128..255, where they are); all is drawn")
    clock = Clock()
    with walk_bar("completing", len(images) * n, height, BATCH) as on_row:
        sheet = completion_sheet(
            model,
            images,
            known,
            n,
            temperature=temperature,
            seed=seed,
            batch_size=BATCH,
            label=number,
            guidance=guidance,
            on_row=on_row,
        )
    save_picture(sheet, out)
    drawn = f"{several(n, 'completion')} of {several(len(images), 'picture')}"
    typer.echo(f"{out}  {drawn} {height}x{width}   {clock.seconds:.1f} s")


def _label(model: PixelModel, label: str | None, guidance: float) -> int | None:
    if label == "all":
        raise ConfigError("A picture is completed under one class: --label takes one here.")
    if label is not None:
        return class_of(model, label)
    check_guidance(model, guidance, "--label")
    note_what_is_left_out(model, ())
    return None


def _known(mask: Path | None, keep: str | None, height: int, width: int) -> Tensor:
    import torch

    from pixelrnn.data import read_mask
    from pixelrnn.errors import unknown

    if mask is not None:
        return torch.from_numpy(read_mask(mask, (height, width)))
    known = torch.zeros(height, width, dtype=torch.bool)
    if keep == "top":
        known[: height // 2] = True
    elif keep == "left":
        known[:, : width // 2] = True
    else:
        raise unknown("half to keep", keep, ("top", "left"))
    return known
