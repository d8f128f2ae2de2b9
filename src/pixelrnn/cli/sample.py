"""pixelrnn sample: new images."""

from __future__ import annotations

from pathlib import Path

import typer

from pixelrnn.cli.common import DEVICE_HELP, RUN_HELP, Clock, parse_size, pick_device, save_array, walk_bar

EXAMPLE = "\b\nExample:\n  pixelrnn sample runs/digits -n 16 --seed 0 -o samples.png\n"
_BATCH = 64


def run(
    run: Path = typer.Argument(..., help=RUN_HELP),
    n: int = typer.Option(16, "-n", min=1, help="How many."),
    out: Path = typer.Option(Path("samples.png"), "-o", "--out", help="The picture to write, a grid of all of them."),
    temperature: float = typer.Option(1.0, "--temperature", help="Below 1 more probable images, 0 the most probable."),
    size: str | None = typer.Option(None, "--size", help="HxW of each; left out: as trained."),
    seed: int | None = typer.Option(None, "--seed", help="The same seed gives the same images; left out: a new one."),
    array: Path | None = typer.Option(None, "--array", help="Also write the integers, (n, C, H, W), as .npy."),
    device: str = typer.Option("auto", "--device", help=DEVICE_HELP),
) -> None:
    """Draw new images and write them as one picture."""
    from pixelrnn.data import grid, save_picture
    from pixelrnn.model import PixelModel

    model = PixelModel.load(run, pick_device(device))
    height, width = parse_size(size) or model.size
    clock = Clock()
    with walk_bar("sampling", n, height, _BATCH) as on_row:
        images = model.sample(
            n, size=(height, width), temperature=temperature, seed=seed, batch_size=_BATCH, on_row=on_row
        ).cpu()  # fmt: skip
    seconds = clock.seconds
    save_picture(grid(images, model.levels), out)
    if array is not None:
        save_array(images.numpy(), array)
    typer.echo(f"{out}  {n} images {height}x{width}   {seconds:.1f} s")
