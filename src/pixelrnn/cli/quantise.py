"""pixelrnn quantise: a trained model in whole numbers."""

from __future__ import annotations

from pathlib import Path

import typer

from pixelrnn.cli.common import Clock, RunFolder, bar
from pixelrnn.cli.pictures import DataInstead, DataSplit, DataValues, first_images
from pixelrnn.errors import ConfigError

EXAMPLE = (
    "\b\nExample:\n"
    "  pixelrnn quantise runs/digits --out runs/digits-exact\n"
    "  pixelrnn compress --data digits --split test --model runs/digits-exact -o digits.prnn\n"
)


def run(
    run: RunFolder,
    out: str = typer.Option(..., "--out", help="The model folder to write."),
    data: DataInstead = None,
    split: DataSplit = "valid",
    values: DataValues = None,
    count: int = typer.Option(200, "--count", min=1, help="Number of images that decide how to round."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an exact model that is there."),
) -> None:
    """Make a model in whole numbers: it gives the same probabilities on every machine, as compression needs it.

    Weights and feature maps are rounded in some ways, and the way is kept that gives images the most likelihood: by
    default those of the data set that the model was trained on.
    """
    from pixelrnn.model import PixelModel
    from pixelrnn.model.model_folder import holds_model

    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        exact_there = holds_model(folder) and PixelModel.load(folder).is_exact
        if not (exact_there and overwrite):
            hint = "  To replace it: --overwrite" if exact_there else ""
            raise ConfigError(f"{out} exists and is not empty. Name another folder with --out.{hint}")
    clock = Clock()
    model = PixelModel.load(run)
    _, images, labels = first_images(model, data, split, count, values)
    label = labels if model.takes_labels else None
    with bar("ways to round") as update:
        exact = model.quantised(images, label=label, on_try=update)
    before, after = (each.bits_per_dim(images, label=label).mean().item() for each in (model, exact))
    exact.save(out)
    typer.echo(f"{out}  {before:.4f} bits/dim before, {after:.4f} after, {len(images)} images   {clock.seconds:.1f} s")
