"""pixelrnn restore: super-resolution and deblurring by sampling, with the likelihood of each result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
    check_not_an_input,
    note,
    pick_device,
    picture_out,
    several,
)
from pixelrnn.cli.pictures import (
    DataCount,
    DataInstead,
    DataSplit,
    DataValues,
    check_one_of,
    first_images,
    read_pictures,
)

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pixelrnn.model import PixelModel
    from pixelrnn.report.sheets import Drawn

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn restore runs/faces-restore small.png -n 4 -o out.png\n"
    "  pixelrnn restore runs/restore --data mnist --split test --count 8 -o out.png\n"
    "\n\nA picture of half the model's size is restored as it is; any other is resized to the full size and degraded."
)


def run(
    run: RunFolder,
    pictures: list[Path] | None = typer.Argument(
        None, help="Pictures: small ones to restore, or full-size ones to degrade first."
    ),
    out: Path = typer.Option(
        Path("restorations.png"), "-o", "--out", help="The sheet to write, one row per picture.", callback=picture_out
    ),
    n: int = typer.Option(4, "-n", min=1, help="Restorations of each picture."),
    data: DataInstead = None,
    split: DataSplit = "test",
    count: DataCount = 8,
    values: DataValues = None,
    guidance: Guidance = 1.0,
    temperature: Temperature = 1.0,
    seed: Seed = None,
    device: Device = "auto",
) -> None:
    """Sample sharp pictures conditioned on a small or blurred one, for a model trained to do so.

    Each row shows the original picture if there is one, the degraded one, and its restorations, the most probable
    first. For each picture, the negative log-likelihoods of the restorations given the degraded picture are printed.
    """
    import torch

    from pixelrnn.data import save_picture
    from pixelrnn.model import PixelModel
    from pixelrnn.report.sheets import restorations

    check_not_an_input(out, pictures or [])
    model = PixelModel.load(run, pick_device(device))
    kind = _kind(model)
    check_one_of(pictures, data)
    if pictures:
        tasks = [_of_picture(model, kind, path) for path in pictures]
    else:
        tasks = _of_data(model, kind, str(data), split, count, values)
    maps = torch.stack([task.map for task in tasks])
    clock = Clock()
    with bar("restoring") as on_progress:
        drawn = restorations(
            model,
            maps,
            n,
            temperature=temperature,
            seed=seed,
            batch_size=BATCH,
            guidance=guidance,
            on_progress=on_progress,
        )
    save_picture(_sheet(model, tasks, maps, drawn), out)
    for task, nats in zip(tasks, drawn.nats.tolist(), strict=True):
        typer.echo(f"{task.name}   {'   '.join([f'{nats[0]:.2f} (best)', *(f'{each:.2f}' for each in nats[1:])])} nats")
    typer.echo(f"{out}  {several(n, 'restoration')} of {several(len(tasks), 'picture')}   {clock.seconds:.1f} s")


class _Task(NamedTuple):
    """A picture to restore: its name, its condition map (C, H, W) in -1..1, the original (C, H, W) if there is one."""

    name: str
    map: Tensor
    original: Tensor | None


def _kind(model: PixelModel) -> str:
    from pixelrnn.errors import ConditionError
    from pixelrnn.model.conditions import condition_kind

    kind = condition_kind(model)
    if kind not in ("half", "blur"):
        raise ConditionError(
            "The model was not trained to restore pictures. Train one that is:  pixelrnn train mnist-restore, "
            "or for faces:  pixelrnn train faces-restore"
        )
    return kind


def _of_picture(model: PixelModel, kind: str, path: Path) -> _Task:
    import torch

    from pixelrnn.data import read_picture
    from pixelrnn.model.conditions import degraded, enlarged

    height, width = model.size
    half = (-(-height // 2), -(-width // 2))
    found = read_picture(path, channels=model.channels)
    if kind == "half" and found.shape[1:] == half:
        shown = torch.from_numpy(found)[None].float() / 127.5 - 1  # black is -1, white is 1
        return _Task(str(path), enlarged(shown, model.size)[0], None)
    if found.shape[1:] != model.size:
        small = f"; a small picture to restore must be {half[0]}x{half[1]}" if kind == "half" else ""
        note(f"{path} is {found.shape[1]}x{found.shape[2]}: resized to {height}x{width}, then degraded{small}")
    original = read_pictures(model, [path], model.size)
    return _Task(str(path), degraded(original, model.levels, kind)[0], original[0])


def _of_data(model: PixelModel, kind: str, data: str, split: str, count: int, values: int | None) -> list[_Task]:
    from pixelrnn.model.conditions import degraded

    names, images, _ = first_images(model, data, split, count, values)
    maps = degraded(images, model.levels, kind)
    return [_Task(*each) for each in zip(names, maps, images, strict=True)]


def _sheet(model: PixelModel, tasks: list[_Task], maps: Tensor, drawn: Drawn) -> Image:
    import torch

    from pixelrnn.report.sheets import GRAY, in_bytes, map_in_bytes, sheet_of_rows

    columns = [map_in_bytes(maps), in_bytes(drawn.images, model.levels)]
    if any(task.original is not None for task in tasks):
        missing = torch.full((model.channels, *model.size), GRAY)
        originals = [missing if task.original is None else in_bytes(task.original, model.levels) for task in tasks]
        columns.insert(0, torch.stack(originals))
    return sheet_of_rows(columns)
