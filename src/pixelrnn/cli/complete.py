"""pixelrnn complete: pictures with a part hidden, finished in several ways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pixelrnn.cli.common import DEVICE_HELP, RUN_HELP, Clock, parse_size, pick_device, walk_bar
from pixelrnn.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from pixelrnn.model import PixelModel

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn complete runs/digits three.png -o out.png --keep top -n 4\n"
    "  pixelrnn complete runs/mine a.png b.png -o out.png --mask known.png\n"
    "\n\nThe mask is as large as the pictures, white where they are known."
)

_BATCH = 64


def run(
    run: Path = typer.Argument(..., help=RUN_HELP),
    pictures: list[Path] = typer.Argument(..., help="Pictures to complete."),
    out: Path = typer.Option(Path("completions.png"), "-o", "--out", help="The picture to write, a row for each."),
    mask: Path | None = typer.Option(None, "--mask", help="White where the pictures are known."),
    keep: str | None = typer.Option(None, "--keep", help="top or left: this half is known."),
    n: int = typer.Option(4, "-n", min=1, help="Completions of each."),
    size: str | None = typer.Option(
        None, "--size", help="HxW to crop and resize the pictures to; left out: as they are."
    ),
    temperature: float = typer.Option(1.0, "--temperature", help="Below 1 more probable completions."),
    seed: int | None = typer.Option(None, "--seed", help="The same seed gives the same completions."),
    device: str = typer.Option("auto", "--device", help=DEVICE_HELP),
) -> None:
    """Finish half-hidden pictures: each row shows the picture, what is kept of it, and its completions.

    Pixels are drawn in the network's order, each given all pixels before it: raster order, or for a multi-scale network
    the small image first. So a completion is an exact draw where the known pixels come before the unknown ones, as with
    --keep top in raster order; known pixels further on are kept but not seen, and with --keep left the right half is
    drawn without a look at the rows below.
    """
    from pixelrnn.data import save_picture
    from pixelrnn.model import PixelModel
    from pixelrnn.sheets import completion_sheet

    if (mask is None) == (keep is None):
        raise ConfigError("Say what is known, in one way: --keep top, --keep left, or --mask MASK.png.")
    model = PixelModel.load(run, pick_device(device))
    images = _read(model, pictures, parse_size(size))
    height, width = images.shape[2:]
    if (height, width) != model.size:
        trained = f"{model.size[0]}x{model.size[1]}"
        typer.echo(f"note: the model was trained on {trained}, not {height}x{width}; --size {trained} fits", err=True)
    known = _known(mask, keep, height, width)
    if known.all():
        typer.echo("note: the mask says that every pixel is known; there is nothing to complete", err=True)
    clock = Clock()
    with walk_bar("completing", len(images) * n, height, _BATCH) as on_row:
        sheet = completion_sheet(
            model, images, known, n, temperature=temperature, seed=seed, batch_size=_BATCH, on_row=on_row
        )  # fmt: skip
    save_picture(sheet, out)
    typer.echo(f"{out}  {n} completions of {len(images)} pictures {height}x{width}   {clock.seconds:.1f} s")


def _read(model: PixelModel, pictures: list[Path], size: tuple[int, int] | None) -> Tensor:
    """Pictures as the model's integers (B, C, H, W)."""
    import numpy as np
    import torch

    from pixelrnn.data import Levels, read_picture
    from pixelrnn.errors import ImageError

    read = [read_picture(path, channels=model.channels, size=size) for path in pictures]
    for path, pixels in zip(pictures, read, strict=True):
        if pixels.shape != read[0].shape:
            (height, width), (first_height, first_width) = pixels.shape[1:], read[0].shape[1:]
            raise ImageError(
                f"{path} is {height}x{width}, but {pictures[0]} is {first_height}x{first_width}. "
                "Complete them one by one, or bring them to one size with --size HxW."
            )
    levels = Levels(256, model.levels, "threshold" if model.levels == 2 else None)
    return torch.from_numpy(levels.fixed(np.stack(read)))


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
