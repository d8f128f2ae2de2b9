"""pixelrnn interpolate: samples along the line between the codes of two pictures."""

from __future__ import annotations

from pathlib import Path

import typer

from pixelrnn.cli.common import (
    Clock,
    Device,
    Guidance,
    RunFolder,
    Temperature,
    bar,
    check_encoder,
    check_not_an_input,
    pick_device,
    picture_out,
    several,
)
from pixelrnn.cli.pictures import read_pictures
from pixelrnn.errors import ConfigError

EXAMPLE = (
    "\b\nExample:\n"
    "  pixelrnn interpolate faces anna.png ben.png --steps 8 --rows 4 -o strip.png\n"
    "\n\nEach row shows the first picture, the steps, and the second picture."
)


def run(
    run: RunFolder,
    pictures: list[Path] = typer.Argument(..., help="Two pictures, cropped and resized to the model's size."),
    out: Path = typer.Option(Path("strip.png"), "-o", "--out", help="The picture to write.", callback=picture_out),
    steps: int = typer.Option(8, "--steps", min=2, help="Number of codes from the first to the second, inclusive."),
    rows: int = typer.Option(1, "--rows", min=1, max=64, help="Rows, each with its own random numbers."),
    guidance: Guidance = 1.0,
    temperature: Temperature = 1.0,
    seed: int = typer.Option(0, "--seed", help="The same seed gives the same picture."),
    device: Device = "auto",
) -> None:
    """Interpolate between the codes of two pictures and sample an image from each, for a model with an encoder.

    All steps of a row use the same random numbers, so only the code changes along a row.
    """
    from pixelrnn.data import save_picture
    from pixelrnn.model import PixelModel
    from pixelrnn.report.sheets import in_bytes, interpolations, sheet_of_rows

    if len(pictures) != 2:
        raise ConfigError(f"Interpolation needs two pictures, not {len(pictures)}:  pixelrnn interpolate RUN A B")
    check_not_an_input(out, pictures)
    model = PixelModel.load(run, pick_device(device))
    check_encoder(model, "interpolate")
    ends = read_pictures(model, pictures, model.size)
    height, width = model.size
    clock = Clock()
    with bar("interpolating") as on_progress:
        between = interpolations(
            model, ends, steps, rows, temperature=temperature, seed=seed, guidance=guidance, on_progress=on_progress
        )
    first, last = in_bytes(ends, model.levels)[:, None].expand(2, rows, *ends.shape[1:])
    save_picture(sheet_of_rows([first, in_bytes(between, model.levels), last]), out)
    typer.echo(f"{out}  {steps} steps in {several(rows, 'row')} of {height}x{width}   {clock.seconds:.1f} s")
