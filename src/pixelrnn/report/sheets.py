"""Pictures that several users of the package make: completions, restorations and interpolations side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.data import ImageData, grid
from pixelrnn.measure.evaluation import levels_for
from pixelrnn.model import OnRow, PixelModel
from pixelrnn.model.conditions import condition_kind, condition_of, torch_labels

if TYPE_CHECKING:
    from PIL.Image import Image

GRAY = 128
"""Of what is hidden or absent, in bytes, as no level of a binary image is gray."""


def completion_sheet(
    model: PixelModel,
    images: Tensor,
    known: Tensor,
    n: int,
    *,
    temperature: float = 1.0,
    seed: int | None = None,
    batch_size: int = 64,
    label: int | None = None,
    guidance: float = 1.0,
    on_row: OnRow | None = None,
) -> Image:
    """A row for each image: itself, what is kept of it (the rest mid-gray), and `n` completions.

    Shapes: images (B, C, H, W) integers, known (H, W) bool
    """
    done = model.complete(
        images.repeat_interleave(n, 0),
        known,
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
        label=label,
        guidance=guidance,
        on_row=on_row,
    )
    whole = in_bytes(images, model.levels)
    kept = torch.where(known.cpu(), whole, GRAY)
    return sheet_of_rows([whole, kept, in_bytes(done, model.levels).unflatten(0, (len(images), n))])


@torch.no_grad()
def sample_sheet(model: PixelModel, data: ImageData, columns: int = 10, rows: int = 4, seed: int = 0) -> Image:
    """A sheet of new images; a conditional model is told, for each column, of one image of `data`.

    The images that it is told of are spread evenly over the classes, or over the data where it has none.

    Raises: DataError if the model learned from classes and `data` has none
    """
    order = np.arange(len(data)) if data.labels is None else np.argsort(data.labels, kind="stable")
    places = order[(np.arange(columns) * 2 + 1) * len(data) // (2 * columns)]
    levels, labels = torch.from_numpy(levels_for(model, data).fixed(data.images)[places]), torch_labels(data.labels)
    condition = condition_of(model, condition_kind(model), levels, None if labels is None else labels[places])
    condition = {name: each.repeat(rows, *[1] * (each.ndim - 1)) for name, each in condition.items()}
    return grid(model.sample(columns * rows, seed=seed, **condition), model.levels, columns=columns)


def sheet_of_rows(columns: Sequence[Tensor]) -> Image:
    """A sheet with a row for each image; each entry is one column (B, C, H, W), or k of them (B, k, C, H, W): bytes."""
    rows = torch.cat([each if each.ndim == 5 else each[:, None] for each in columns], 1)
    return grid(rows.flatten(0, 1), 256, columns=rows.shape[1])


def in_bytes(images: Tensor, levels: int) -> Tensor:
    """Levels 0..levels-1 as 0..255, on the CPU."""
    return (images.cpu().double() * (255 / (levels - 1))).round().long()


def map_in_bytes(maps: Tensor) -> Tensor:
    """Maps of -1..1 (see `conditions.degraded`) as 0..255, on the CPU."""
    return ((maps.cpu().double().clamp(-1, 1) + 1) * 127.5).round().long()


@torch.no_grad()
def interpolations(
    model: PixelModel,
    ends: Tensor,
    steps: int,
    rows: int,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    guidance: float = 1.0,
    on_row: OnRow | None = None,
) -> Tensor:
    """Images of the codes on the line between those of two images, both ends included.

    Every step of a row is drawn with the same random numbers, so that a row changes by its code alone. Where codes are
    of length one, those between are made so.

    Arguments: on_row is called as by `sample` of all images, step after step
    Shapes:    ends (2, C, H, W) levels -> (rows, steps, C, H, W) uint8
    Raises:    ConditionError if the model has no encoder; ImageError if the ends do not fit
    Source:    arXiv 1606.05328, section 3.3
    """
    first, last = model.encode(ends)
    shares = torch.linspace(0, 1, steps, dtype=first.dtype, device=first.device)[:, None]
    codes = first + shares * (last - first)
    if model.encoder is not None and model.encoder.unit:
        codes = F.normalize(codes)
    drawn = []
    for step, code in enumerate(codes):

        def tell(first: int, row: int, line: Tensor, step: int = step) -> None:
            if on_row is not None:
                on_row(step * rows + first, row, line)

        drawn.append(
            model.sample(
                rows, vector=code, temperature=temperature, seed=seed, guidance=guidance, batch_size=rows, on_row=tell
            )
        )
    return torch.stack(drawn, 1).cpu()


class Drawn(NamedTuple):
    """Images that were drawn given a condition (B, n, C, H, W) uint8, and minus their log-probability, (B, n) nats."""

    images: Tensor
    nats: Tensor


def restorations(
    model: PixelModel,
    maps: Tensor,
    n: int,
    *,
    temperature: float = 1.0,
    seed: int | None = None,
    batch_size: int = 64,
    guidance: float = 1.0,
    on_row: OnRow | None = None,
) -> Drawn:
    """`n` images for each map, the most probable given it first.

    Shapes: maps (B, channels of the map, H, W) -> (B, n, C, H, W)
    Raises: ConditionError if the model takes no such map
    """
    repeated = maps.repeat_interleave(n, 0)
    images = model.sample(
        len(repeated),
        size=(maps.shape[2], maps.shape[3]),
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
        condition_map=repeated,
        guidance=guidance,
        on_row=on_row,
    )
    nats = nats_of(model, images, batch_size, condition_map=repeated).unflatten(0, (len(maps), n))
    order = nats.argsort(1)
    rows = torch.arange(len(maps))[:, None]
    return Drawn(images.cpu().unflatten(0, (len(maps), n))[rows, order], nats[rows, order])


@torch.no_grad()
def nats_of(model: PixelModel, images: Tensor, batch_size: int = 64, **condition: Any) -> Tensor:
    """Minus the log-probability of every image, (B,) nats, given a vector= or map= for each."""
    parts = [
        -model.log_prob(
            images[first : first + batch_size],
            **{key: each[first : first + batch_size] for key, each in condition.items()},
        )
        for first in range(0, len(images), batch_size)
    ]
    return torch.cat(parts).double().cpu()
