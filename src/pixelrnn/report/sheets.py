"""Sheets of images, one row per input: completions, restorations, interpolations and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.data import ImageData, grid
from pixelrnn.measure.evaluation import levels_for
from pixelrnn.model import OnProgress, PixelModel
from pixelrnn.model.conditions import condition_kind, condition_of, torch_labels

if TYPE_CHECKING:
    from PIL.Image import Image

GRAY = 128
"""The value 0..255 that stands for hidden or missing pixels; a binary image has no gray."""


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
    on_progress: OnProgress | None = None,
) -> Image:
    """A row for each image: the image, its known pixels (the others mid-gray), and `n` completions.

    Shapes: images (B, C, H, W) integers, known (H, W) bool

    >>> import pixelrnn
    >>> model = pixelrnn.build("pixelcnn", size=(4, 4), levels=2, layers=1, width=4)
    >>> top_half = torch.arange(4)[:, None].expand(4, 4) < 2
    >>> sheet = completion_sheet(model, torch.zeros(3, 1, 4, 4, dtype=torch.uint8), top_half, n=2, seed=0)
    >>> type(sheet).__name__, sheet.mode  # a picture of 3 rows and 4 columns
    ('Image', 'L')
    """
    completions = model.complete(
        images.repeat_interleave(n, 0),
        known,
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
        label=label,
        guidance=guidance,
        on_progress=on_progress,
    )
    originals = in_bytes(images, model.levels)
    masked = torch.where(known.cpu(), originals, GRAY)
    return sheet_of_rows([originals, masked, in_bytes(completions, model.levels).unflatten(0, (len(images), n))])


@torch.no_grad()
def sample_sheet(model: PixelModel, data: ImageData, columns: int = 10, rows: int = 4, seed: int = 0) -> Image:
    """A sheet of samples; those of a conditional model take their condition from an image of `data`, one per column.

    These images are spread evenly over the classes, or over the data if it has none.

    Raises: DataError if the model is conditioned on classes and `data` has none
    """
    order = np.arange(len(data)) if data.labels is None else np.argsort(data.labels, kind="stable")
    chosen = order[(np.arange(columns) * 2 + 1) * len(data) // (2 * columns)]
    levels, labels = torch.from_numpy(levels_for(model, data).fixed(data.images)[chosen]), torch_labels(data.labels)
    condition = condition_of(model, condition_kind(model), levels, None if labels is None else labels[chosen])
    condition = {name: each.repeat(rows, *[1] * (each.ndim - 1)) for name, each in condition.items()}
    return grid(model.sample(columns * rows, seed=seed, **condition), model.levels, columns=columns)


def sheet_of_rows(columns: Sequence[Tensor]) -> Image:
    """A sheet with B rows, from columns of images 0..255: (B, C, H, W) is one column, (B, k, C, H, W) is k columns.

    >>> import torch
    >>> inputs, outputs = torch.zeros(3, 1, 8, 8).long(), torch.zeros(3, 4, 1, 8, 8).long()
    >>> sheet_of_rows([inputs, outputs]).size == grid(torch.zeros(15, 1, 8, 8).long(), 256, columns=5).size
    True
    """
    rows = torch.cat([each if each.ndim == 5 else each[:, None] for each in columns], 1)
    return grid(rows.flatten(0, 1), 256, columns=rows.shape[1])


def in_bytes(images: Tensor, levels: int) -> Tensor:
    """Levels 0..levels-1 as 0..255, on the CPU.

    >>> in_bytes(torch.tensor([0, 1, 2, 3]), levels=4)
    tensor([  0,  85, 170, 255])
    """
    return (images.cpu().double() * (255 / (levels - 1))).round().long()


def map_in_bytes(maps: Tensor) -> Tensor:
    """Maps in -1..1 (see `conditions.degraded`) as 0..255, on the CPU.

    >>> map_in_bytes(torch.tensor([-1.0, 0.2, 1.0]))
    tensor([  0, 153, 255])
    """
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
    on_progress: OnProgress | None = None,
) -> Tensor:
    """Samples conditioned on linear interpolations between the codes of two images, both ends included.

    All steps of a row use the same random numbers, so only the code changes along a row. If the encoder normalises its
    codes, so are the interpolated ones.

    Arguments: on_progress is called with (pixels that are final, pixels in all), of all steps
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

        def of_step(done: int, total: int, step: int = step) -> None:
            if on_progress is not None:
                on_progress(step * total + done, steps * total)

        drawn.append(
            model.sample(
                rows,
                vector=code,
                temperature=temperature,
                seed=seed,
                guidance=guidance,
                batch_size=rows,
                on_progress=of_step,
            )
        )
    return torch.stack(drawn, 1).cpu()


class Drawn(NamedTuple):
    """Conditional samples (B, n, C, H, W) uint8 and their negative log-likelihood given the condition, (B, n) nats."""

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
    on_progress: OnProgress | None = None,
) -> Drawn:
    """`n` samples conditioned on each map, sorted by their likelihood, the most probable first.

    Shapes: maps (B, map_channels, H, W) -> (B, n, C, H, W)
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
        on_progress=on_progress,
    )
    nats = nats_of(model, images, batch_size, condition_map=repeated).unflatten(0, (len(maps), n))
    order = nats.argsort(1)
    rows = torch.arange(len(maps))[:, None]
    return Drawn(images.cpu().unflatten(0, (len(maps), n))[rows, order], nats[rows, order])


@torch.no_grad()
def nats_of(model: PixelModel, images: Tensor, batch_size: int = 64, **condition: Any) -> Tensor:
    """The negative log-likelihood of every image, (B,) nats, given a vector= or condition_map= for each."""
    parts = [
        -model.log_prob(
            images[first : first + batch_size],
            **{key: each[first : first + batch_size] for key, each in condition.items()},
        )
        for first in range(0, len(images), batch_size)
    ]
    return torch.cat(parts).double().cpu()
