"""pixelrnn train: train a preset."""

from __future__ import annotations

import functools
import json
import math
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pixelrnn.cli.common import Device, bar, data_set, download_bar, note, note_layout, parse_size, pick_device, several

if TYPE_CHECKING:
    from pixelrnn.data import ImageData
    from pixelrnn.model import PixelModel
    from pixelrnn.training.callbacks import Progress
    from pixelrnn.training.presets import Preset

_FEW_STEPS, _SMALL_BATCH = 10, 4  # an epoch of fewer optimizer steps is noted, unless batches are small already
_LARGE = 1 << 14  # pixels of an image

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn train digits --out runs/digits\n"
    "  pixelrnn train mnist-gated --out runs/mine --epochs 2 --set width=32\n"
    "  pixelrnn train digits --out runs/photos --data photos/ --size 32x32 --set levels=16\n"
    "  pixelrnn train cifar10-gated --out runs/cifar --device cuda --devices 8\n"
)


def run(
    preset: str = typer.Argument(..., help="A name from `pixelrnn list presets`, or a TOML file."),
    out: Path = typer.Option(..., "--out", help="The run folder to create."),
    data: str | None = typer.Option(
        None, "--data", help="A data set's name, a folder, or an array file.", callback=data_set
    ),
    size: str | None = typer.Option(None, "--size", help="HxW to crop and resize the pictures of a folder to."),
    epochs: int | None = typer.Option(None, "--epochs", help="Passes over the training images."),
    max_minutes: float | None = typer.Option(
        None,
        "--max-minutes",
        help="Stop training after this time. A final validation follows, which takes as long as evaluating that many "
        "images: minutes for the 5,000 of MNIST.",
    ),
    seed: int | None = typer.Option(
        None, "--seed", help="Seed of the initial weights, the data order and all sampling; by default the preset's."
    ),
    changes: list[str] = typer.Option(
        [], "--set", help="KEY=VALUE changes a setting of the preset, repeatable; see `pixelrnn list settings`."
    ),
    skip_broken: bool = typer.Option(
        False, "--skip-broken", help="Leave out pictures of a folder that cannot be read; they are counted in a note."
    ),
    resume: bool = typer.Option(False, "--resume", help="Continue from the folder's last checkpoint, if it has one."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Delete an earlier run in the folder."),
    save_minutes: float = typer.Option(
        5.0, "--save-minutes", min=0, help="Minutes between checkpoints within an epoch."
    ),
    device: Device = "auto",
    devices: int = typer.Option(1, "--devices", min=1, help="Processes on this machine, one per device."),
    nodes: int = typer.Option(1, "--nodes", min=1, help="Machines; each runs this command under torchrun or SLURM."),
    strategy: str = typer.Option("auto", "--strategy", help="Lightning's strategy; auto is ddp for several processes."),
    workers: int = typer.Option(0, "--workers", min=0, help="Data-loading workers per process."),
    loggers: list[str] = typer.Option(
        [],
        "--logger",
        help="Where metrics go besides the CSV file: tensorboard or wandb, repeatable; by default TensorBoard's files "
        "if it is installed.",
    ),
) -> None:
    """Train a preset in a run folder, which becomes a model folder.

    Ctrl-C and SIGTERM save a checkpoint before stopping; --resume continues from it, or from the last one after a
    crash.
    """
    from pixelrnn.training.presets import load_preset, parse_change

    height_width = parse_size(size)
    named = {
        "data.name": data,
        "data.size": height_width and list(height_width),
        "data.skip_broken": skip_broken or None,
        "training.epochs": epochs,
        "training.seed": seed,
    }
    changes = [*changes, *(f"{key}={_toml(value)}" for key, value in named.items() if value is not None)]
    chosen = {parse_change(change)[0].rpartition(".")[2] for change in changes}
    settings = load_preset(preset, changes)  # before Lightning is imported, which takes seconds
    from pixelrnn.training.machine import Machine
    from pixelrnn.training.run import is_first, train

    machine = Machine(pick_device(device), devices, nodes, strategy, workers, save_minutes)
    validations: list[Progress] = []
    try:
        with download_bar() as download, _encoder_bar() as on_encoder:
            model = train(
                settings,
                out,
                resume=resume,
                overwrite=overwrite,
                max_minutes=max_minutes,
                machine=machine,
                command=shlex.join(["pixelrnn", *sys.argv[1:]]),
                bar=sys.stderr.isatty(),
                on_data=functools.partial(_note_data, settings, chosen),
                on_validation=_printed(validations),
                on_time_limit=lambda count: note(f"time limit reached; validating {several(count, 'image')}"),
                download=download,
                on_encoder=on_encoder,
                loggers=loggers,
            )
    except KeyboardInterrupt:
        saved = (out / "training" / "last.ckpt").is_file()
        state = f"The last checkpoint in {out} is kept" if saved else "There was no checkpoint yet"
        typer.echo(f"Stopped immediately. {state}; continue with the same command and --resume", err=True)
        raise typer.Exit(1) from None
    if is_first():
        _print_result(out, model, validations)


def _note_data(settings: Preset, chosen: set[str], data: ImageData) -> None:
    """Note what the user may not expect of these training images with these settings, of which some were chosen."""
    from pixelrnn.data import data_names

    note_layout(data)
    own, levels = "name" in chosen and settings.data.name not in data_names(), settings.data.levels
    if own and data.values == 256 and levels < 256 and not chosen & {"levels", "binarise"}:
        how = f"binarised ({settings.data.binarise or 'stochastic'})" if levels == 2 else f"reduced to {levels} levels"
        note(
            f"the 256 values of {data.name} are {how}, as {settings.name} sets it; to keep more of them:  "
            f"--set levels=256{' --set binarise=' if settings.data.binarise else ''}"
        )
    height, width = data.size
    if height * width > _LARGE and "size" not in chosen:
        note(f"the images are {height}x{width}, which takes long to learn; to resize pictures:  --size 32x32")
    steps = -(-len(data) // settings.training.batch_size) / settings.training.accumulate
    if steps < _FEW_STEPS and settings.training.batch_size > _SMALL_BATCH:
        note(
            f"an epoch ({several(len(data), 'image')}) is only {several(math.ceil(steps), 'optimizer step')}; for more "
            f"of them, use smaller batches and more epochs:  --set batch_size={_SMALL_BATCH} --epochs 300"
        )


def _print_result(out: Path, model: PixelModel, validations: list[Progress]) -> None:
    """Print the best model's likelihood in one line."""
    if not validations:
        note("the run was already finished: it continues only with larger --epochs or --max-minutes")
    if skipped := model.about.get("skipped_pictures"):
        note(f"left out, because it could not be read: {several(skipped, 'picture')}")
    progress = model.about["progress"]
    typer.echo(
        f"{out}  {progress['valid_nats']:.2f} nats/image   {progress['bits_per_dim']:.4f} bits/dim   "
        f"validation, {several(model.about['valid_images'], 'image')}   {several(progress['images'], 'image')} seen   "
        f"{progress['seconds']:.0f} s"
    )


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and lists are written the same way in TOML


@contextmanager
def _encoder_bar() -> Iterator[Callable[[int, int], None]]:
    with bar("training the encoder") as update:

        def step(done: int, total: int) -> None:
            if done == 1:
                note(f"the encoder is trained first, for {total} steps")
            update(done, total)

        yield step


def _printed(validations: list[Progress]) -> Callable[[Progress], None]:
    """A function that prints each validation and appends it to the list."""

    def on_validation(progress: Progress) -> None:
        validations.append(progress)
        typer.echo(
            f"epoch {progress.epoch:3}  {progress.seconds:7.1f} s  validation {progress.valid_nats:.2f} nats/image  "
            f"{progress.bits_per_dim:.4f} bits/dim{'  (best)' if progress.best else ''}"
            f"{f'  ({progress.skipped} steps skipped)' if progress.skipped else ''}",
            err=True,
        )

    return on_validation
