"""What hidden pixels cost given the known ones: raster order beside an order that takes all known pixels first.

    python benchmarks/completion.py mnist mnist-any-order --data mnist --images 2000 \\
        --out docs/completion.md --picture docs/images/completion.png

For every model and mask: the mean nats per image of the hidden pixels. A model of raster order knows only those of the
known pixels that come before a hidden one; the product of what it says at each hidden pixel is the probability with
which it draws them. A model that takes any order knows all of them. The picture shows some images, what was hidden of
them in gray, and completions by each model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from common import write_between_marks
from PIL import Image
from torch import Tensor

import pixelrnn
from pixelrnn.canvas import known_first
from pixelrnn.measure.evaluation import levels_for, load_like
from pixelrnn.model import PixelModel


def masks(height: int, width: int) -> dict[str, Tensor]:
    """True where a pixel is known."""
    rows, columns = torch.arange(height)[:, None].expand(-1, width), torch.arange(width).expand(height, -1)
    inside = (rows >= height // 4) & (rows < height * 3 // 4) & (columns >= width // 4) & (columns < width * 3 // 4)
    half = torch.rand(height, width, generator=torch.Generator().manual_seed(0)) < 0.5
    return {
        "the upper half": rows >= height // 2,
        "the lower half": rows < height // 2,
        "the left half": columns >= width // 2,
        "the middle": ~inside,
        "every other pixel, at random": half,
    }


@torch.no_grad()
def nats(model: PixelModel, images: Tensor, known: Tensor, labels: Tensor | None) -> Tensor:
    """Of the hidden pixels of each image, (N,)."""
    order = known_first(known) if model.network.orders == "any" else None
    found = []
    for first in range(0, len(images), 50):
        some = slice(first, first + 50)
        told = {} if labels is None else {"label": labels[some]}
        each = model.log_prob(images[some], order=order, reduce=False, **told)
        found.append(-(each * ~known).sum((1, 2, 3)))
    return torch.cat(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--split", default="test")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    models = {Path(each).name: pixelrnn.load(each) for each in options.models}
    (first, *_) = models.values()
    data = load_like(first, options.data, options.split)
    images = torch.from_numpy(levels_for(first, data).fixed(data.images)[: options.images].copy())
    lines = [
        f"{options.data}, {options.split}, the first {len(images):,} images; nats per image, and their standard error.",
        "",
        f"| hidden | {' | '.join(models)} |",
        "|---|" + "---|" * len(models),
    ]
    for name, known in masks(*images.shape[2:]).items():
        cells = []
        for model in models.values():
            found = nats(model, images, known, None)
            cells.append(f"{found.mean():.2f} +- {found.std() / len(found) ** 0.5:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if options.out:
        write_between_marks(options.out, lines)
    if options.picture:
        draw(models, images[:12], options.picture)


def draw(models: dict[str, PixelModel], images: Tensor, path: Path) -> None:
    """Images, and for some masks what is known of them and a completion by each model."""
    every = masks(*images.shape[2:])
    rows = [as_bytes(images, torch.ones_like(every["the middle"]))]
    for name in ("the upper half", "the middle"):
        rows.append(as_bytes(images, every[name]))
        for model in models.values():
            completed = model.complete(images, every[name].expand(len(images), 1, -1, -1), seed=0)
            rows.append(as_bytes(completed, torch.ones_like(every[name])))
    sheet = np.concatenate([np.concatenate([np.pad(each, 1, constant_values=90) for each in row], 1) for row in rows])
    Image.fromarray(sheet).resize((2 * sheet.shape[1], 2 * sheet.shape[0]), Image.Resampling.NEAREST).save(path)


def as_bytes(images: Tensor, known: Tensor) -> np.ndarray:
    """Gray pictures (N, H, W), with gray where nothing is known."""
    scaled = images[:, 0].float() * (255 / max(1, int(images.max())))
    return torch.where(known, scaled, torch.tensor(128.0)).to(torch.uint8).numpy()


if __name__ == "__main__":
    main()
