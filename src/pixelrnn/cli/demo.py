"""pixelrnn demo: train, evaluate, sample and complete on real digits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pixelrnn.errors import StoppedError

if TYPE_CHECKING:
    from pixelrnn.training.callbacks import Progress

EXAMPLE = "\b\nExample:\n  pixelrnn demo --out demo\n"


def run(
    out: Path = typer.Option(Path("demo"), "--out", help="The folder for the model and the pictures."),
    preset: str = typer.Option("digits", "--preset", help="The preset to train, for example your own TOML file."),
    epochs: int | None = typer.Option(None, "--epochs", help="Training epochs; fewer for a quick look."),
) -> None:
    """Train a small model on real handwritten digits, evaluate it, sample from it, complete images, write a report.

    Training takes one to two minutes on two CPU cores; after that, the trained model is used again.
    """
    from pixelrnn.demo import run_demo

    try:
        result = run_demo(
            out,
            preset,
            epochs=epochs,
            bar=sys.stderr.isatty(),
            on_training=lambda: _announce(preset),
            on_validation=_report,
        )
    except (KeyboardInterrupt, StoppedError):
        typer.echo("Stopped. Run the same command again to continue.", err=True)
        raise typer.Exit(1) from None
    typer.echo(result.table())
    typer.echo(f"\nSee {out / 'report.html'}  (and samples.png, completions.png, receptive_field.png in that folder)")


def _announce(preset: str) -> None:
    from pixelrnn.training.presets import load_preset

    typer.echo(f"Training the preset {preset}: {load_preset(preset).description}.", err=True)


def _report(progress: Progress) -> None:
    if progress.epoch % 10 == 0:
        typer.echo(f"epoch {progress.epoch}: {progress.bits_per_dim:.3f} bits/dim on the validation images", err=True)
