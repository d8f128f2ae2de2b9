"""pixelrnn demo: the whole main job on real digits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pixelrnn.training.callbacks import Progress

EXAMPLE = "\b\nExample:\n  pixelrnn demo --out demo\n"


def run(
    out: Path = typer.Option(Path("demo"), "--out", help="The folder for the model and the pictures."),
    preset: str = typer.Option("digits", "--preset", help="What to train, for example your own TOML file."),
    epochs: int | None = typer.Option(None, "--epochs", help="Fewer for a quick look."),
) -> None:
    """Train a small model on real handwritten digits, measure it, sample from it, complete pictures, and show it all.

    About two minutes on two CPU cores the first time; run again, it takes the trained model up.
    """
    from pixelrnn.demo import run_demo

    typer.echo("A Gated PixelCNN learns the handwritten digits of scikit-learn (8 x 8, no download).", err=True)
    try:
        result = run_demo(out, preset, epochs=epochs, bar=sys.stderr.isatty(), tell=_tell)
    except KeyboardInterrupt:
        typer.echo("Stopped. Run it again: it goes on from where it was.", err=True)
        raise typer.Exit(1) from None
    typer.echo(result.table())
    typer.echo(f"\nLook at {out / 'report.html'}  (samples.png, completions.png and receptive_field.png beside it)")


def _tell(progress: Progress) -> None:
    if progress.epoch % 10 == 0:
        typer.echo(f"epoch {progress.epoch}: {progress.bits_per_dim:.3f} bits/dim on the validation images", err=True)
