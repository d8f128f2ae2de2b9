"""pixelrnn complete: sample the unknown part of pictures."""

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
    bar,
    check_guidance,
    check_not_an_input,
    class_of,
    note,
    note_what_is_left_out,
    parse_size,
    pick_device,
    picture_out,
    several,
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
    "  pixelrnn complete mnist-any-order three.png -o out.png --keep bottom --size 28x28\n"
    "\n\nThe mask has the size of the pictures, before or after --size, and is white where they are known. Transparent "
    "counts as white."
)


HALVES = ("top", "left", "bottom", "right")


def run(
    run: RunFolder,
    pictures: list[Path] = typer.Argument(..., help="Pictures to complete."),
    out: Path = typer.Option(
        Path("completions.png"), "-o", "--out", help="The sheet to write, one row per picture.", callback=picture_out
    ),
    mask: Path | None = typer.Option(
        None, "--mask", help="A picture that is white (128..255) at known pixels, black elsewhere."
    ),
    keep: str | None = typer.Option(None, "--keep", help="The known half: top, left, bottom or right."),
    n: int = typer.Option(4, "-n", min=1, help="Completions of each picture."),
    size: str | None = typer.Option(
        None, "--size", help="HxW to crop and resize the pictures to; by default their own size."
    ),
    temperature: Temperature = 1.0,
    seed: Seed = None,
    label: str | None = typer.Option(None, "--label", help="A class by name or number, for a class-conditional model."),
    guidance: Guidance = 1.0,
    device: Device = "auto",
) -> None:
    """Complete partly known pictures: each row shows the picture, its known pixels, and the completions.

    Pixels are sampled in the network's generation order, each conditioned on earlier ones. A network that takes any
    order (pixel-transformer, lmconv) takes the known pixels first, unless it was trained in its own alone: attention
    sees all of them, convolutions those that their layers reach. Others go in raster order, or for a multi-scale
    network with the small image first: a completion is an exact sample if the known pixels come before the unknown
    ones, as with --keep top. Later known pixels are kept, but earlier ones are not conditioned on them: with --keep
    left, each row of the right half is sampled without regard to the rows below.
    """
    from pixelrnn.data import save_picture
    from pixelrnn.model import PixelModel
    from pixelrnn.report.sheets import completion_sheet

    if mask is not None and keep is not None:
        raise ConfigError("--mask and --keep both say which pixels are known: leave one of them out.")
    if mask is None and keep is None:
        raise ConfigError(f"Choose the known pixels with one of --keep {', '.join(HALVES)}, or --mask MASK.png.")
    if keep is not None and keep not in HALVES:
        raise ConfigError(f"--keep takes {', '.join(HALVES)}, not {keep!r}. For other known pixels:  --mask MASK.png")
    check_not_an_input(out, [*pictures, *([mask] if mask else [])])
    model = PixelModel.load(run, pick_device(device))
    number = _label(model, label, guidance)
    images = read_pictures(model, pictures, parse_size(size))
    height, width = images.shape[2:]
    known = _known(mask, keep, (height, width), pictures)
    if label is None:
        note_what_is_left_out(model, ())
    if size is None and model.network.remembers and height * width > _MUCH * model.size[0] * model.size[1]:
        trained = f"{model.size[0]}x{model.size[1]}"
        raise ConfigError(
            f"The model was trained on {trained} and keeps what it computes of every pixel, so {height}x{width} may "
            f"take very long. To resize the pictures:  --size {trained}   To keep their size:  --size {height}x{width}"
        )
    if (height, width) != model.size:
        trained = f"{model.size[0]}x{model.size[1]}"
        note(f"the model was trained on {trained}, not {height}x{width}; to resize the pictures:  --size {trained}")
    if known.all():
        note("every pixel of the mask is known; there is nothing to complete")
    if not known.any():
        note("no pixel of the mask is known (white, 128..255); all pixels are sampled")
    _note_unseen(model, known)
    clock = Clock()
    with bar("completing") as on_progress:
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
            on_progress=on_progress,
        )
    save_picture(sheet, out)
    drawn = f"{several(n, 'completion')} of {several(len(images), 'picture')}"
    typer.echo(f"{out}  {drawn} {height}x{width}   {clock.seconds:.1f} s")


_MUCH = 4  # times as many pixels as the model was trained on


def _note_unseen(model: PixelModel, known: Tensor) -> None:
    """Say that the network does not see some known pixels."""
    from pixelrnn.model.orders import completion_order, unseen_known

    order = completion_order(model.network, model.about, known) or model.network.order(*known.shape)
    if unseen := unseen_known(order, known):
        note(
            f"{several(unseen, 'known pixel')} come later in generation order than an unknown one: they are kept, but "
            "what comes before them is sampled without regard to them; a model that was trained to complete, such as "
            "mnist-any-order, sees them all"
        )


def _label(model: PixelModel, label: str | None, guidance: float) -> int | None:
    if label == "all":
        raise ConfigError("A completion has one class: --label all is for pixelrnn sample.")
    if label is not None:
        return class_of(model, label)
    check_guidance(model, guidance, "--label")
    return None


def _known(mask: Path | None, keep: str | None, size: tuple[int, int], pictures: list[Path]) -> Tensor:
    """The known pixels (H, W) of pictures that have been brought to `size`."""
    import torch

    from pixelrnn.data import read_mask
    from pixelrnn.data.decode import read_header

    if mask is not None:
        before = {read_header(path).size for path in pictures}
        return torch.from_numpy(read_mask(mask, size, before.pop() if len(before) == 1 else None))
    height, width = size
    rows, columns = torch.arange(height)[:, None].expand(-1, width), torch.arange(width).expand(height, -1)
    upper, left = rows < height // 2, columns < width // 2
    return {"top": upper, "left": left, "bottom": ~upper, "right": ~left}[str(keep)]
