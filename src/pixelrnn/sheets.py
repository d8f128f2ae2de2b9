"""Pictures that several users of the package make: completions side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixelrnn.data import grid
from pixelrnn.model import OnRow, PixelModel

if TYPE_CHECKING:
    from PIL.Image import Image


def completion_sheet(
    model: PixelModel, images: Tensor, known: Tensor, n: int, *, temperature: float = 1.0, seed: int | None = None,
    batch_size: int = 64, on_row: OnRow | None = None,
) -> Image:  # fmt: skip
    """A row for each image: itself, what is kept of it (the rest mid-gray), and `n` completions.

    Shapes: images (B, C, H, W) integers, known (H, W) bool
    """
    repeated = images.repeat_interleave(n, 0)
    done = model.complete(
        repeated, known, temperature=temperature, seed=seed, batch_size=batch_size, on_row=on_row
    ).cpu()  # fmt: skip
    shown = [(each.double() * (255 / (model.levels - 1))).round().long() for each in (images.cpu(), done)]
    kept = torch.where(known.cpu(), shown[0], 128)  # in bytes, as no level of a binary image is gray
    completions = shown[1].reshape(len(images), n, *done.shape[1:])
    rows = torch.cat([shown[0][:, None], kept[:, None], completions], 1)  # (B, 2 + n, C, H, W)
    return grid(rows.flatten(0, 1), 256, columns=n + 2)
