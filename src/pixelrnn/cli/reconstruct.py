"""pixelrnn reconstruct: samples conditioned on the code of a picture, which show what the code keeps of it."""

from __future__ import annotations

from pathlib import Path

import typer

from pixelrnn.cli.common import (
    BATCH,
    Clock,
    Device,
    Guidance,
    RunFolder,
    Seed,
    Temperature,
    bar,
    check_encoder,
    check_not_an_input,
    pick_device,
    picture_out,
    several,
)
from pixelrnn.cli.pictures import DataCount, DataInstead, DataSplit, DataValues, pictures_or_data

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn reconstruct runs/autoencoder three.png four.png -n 4 -o out.png\n"
    "  pixelrnn reconstruct runs/autoencoder --data mnist --split test --count 8 -o out.png\n"
)


def run(
    run: RunFolder,
    pictures: list[Path] | None = typer.Argument(None, help="Pictures, cropped and resized to the model's size."),
    out: Path = typer.Option(
        Path("reconstructions.png"), "-o", "--out", help="The sheet to write, one row per image.", callback=picture_out
    ),
    n: int = typer.Option(4, "-n", min=1, help="Reconstructions of each image."),
    data: DataInstead = None,
    split: DataSplit = "test",
    count: DataCount = 8,
    values: DataValues = None,
    guidance: Guidance = 1.0,
    temperature: Temperature = 1.0,
    seed: Seed = None,
    device: Device = "auto",
) -> None:
    """Sample images conditioned only on the code of a picture, for a model with an encoder.

    Each row shows a picture and its reconstructions. The printed figure is the mean negative log-likelihood of the
    pictures given their own codes.
    """
    import torch

    from pixelrnn.data import save_picture
    from pixelrnn.model import PixelModel
    from pixelrnn.report.sheets import in_bytes, nats_of, sheet_of_rows

    check_not_an_input(out, pictures or [])
    model = PixelModel.load(run, pick_device(device))
    check_encoder(model, "reconstruct")
    images = pictures_or_data(model, pictures, data, split, count, values).images
    clock = Clock()
    with torch.no_grad():
        codes = model.encode(images)
    with bar("reconstructing") as on_progress:
        drawn = model.sample(
            len(images) * n,
            vector=codes.repeat_interleave(n, 0),
            temperature=temperature,
            seed=seed,
            batch_size=BATCH,
            guidance=guidance,
            on_progress=on_progress,
        )
    nats = float(nats_of(model, images, BATCH, vector=codes).mean())
    levels = model.levels
    save_picture(sheet_of_rows([in_bytes(images, levels), in_bytes(drawn, levels).unflatten(0, (-1, n))]), out)
    typer.echo(
        f"{out}  {nats:.2f} nats/image given the code   {several(len(images), 'image')}, "
        f"{several(n, 'reconstruction')} of each   {clock.seconds:.1f} s"
    )
