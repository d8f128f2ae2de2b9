"""What a model is told of the images of a data set: their class, a degraded copy of them, or their code."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.data.conditions import CONDITIONS
from pixelrnn.errors import DataError
from pixelrnn.model import PixelModel

GIVE_CLASSES = "Give each class a sub-folder, no picture beside them, or an .npz file labels with its images."


def condition_of(model: PixelModel, kind: str, images: Tensor, labels: Tensor | None) -> dict[str, Any]:
    """The condition of some images, as arguments of `log_prob` and `sample`.

    Arguments: kind, one of CONDITIONS; images (B, C, H, W) levels; labels (B,) or None. A model with an encoder is told
               the images' codes besides.
    Raises:    DataError if classes are asked for and there are none
    """
    condition: dict[str, Any] = {}
    if kind == "class":
        if labels is None:
            raise DataError(
                f"The model learned from classes, but this data has none. {GIVE_CLASSES} "
                "To tell it none:  --no-condition"
            )
        condition["label"] = labels.to(model.device)
    elif kind:
        condition["condition_map"] = degraded(images, model.levels, kind).to(model.device, model.dtype)
    if model.encoder is not None:
        condition["vector"] = model.encode(images)
    return condition


def degraded(images: Tensor, levels: int, kind: str) -> Tensor:
    """Images with less in them: levels (B, C, H, W) -> (B, C, H, W) float32 in -1..1.

    half  the mean of every 2 x 2 block, in all its pixels; the last row and column of an odd size are repeated
    blur  the mean of 5 x 5 pixels, of those that are inside the image
    """
    shown = images.float() * (2 / (levels - 1)) - 1
    height, width = images.shape[2:]
    if kind == "half":
        even = F.pad(shown, (0, width % 2, 0, height % 2), mode="replicate") if height % 2 or width % 2 else shown
        return enlarged(F.avg_pool2d(even, 2), (height, width))
    return F.avg_pool2d(shown, 5, stride=1, padding=2, count_include_pad=False)


def enlarged(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Every pixel of small images (B, C, h, w) as a block of 2 x 2, cropped to `size`."""
    return small.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, : size[0], : size[1]]


def condition_kind(model: PixelModel) -> str:
    """What the model was told of its images in training: one of CONDITIONS."""
    kind: Any = model.about.get("preset", {}).get("data", {}).get("condition", "")
    return kind if kind in CONDITIONS else ""


def described(model: PixelModel) -> str:
    """A phrase for a report: what the likelihood is conditioned on, "" for nothing."""
    parts = [CONDITIONS[condition_kind(model)]] if condition_kind(model) else []
    parts += ["its code"] if model.encoder is not None else []
    return " and ".join(parts)


def torch_labels(labels: Any) -> Tensor | None:
    """Labels of a data set (N,) as a tensor."""
    return None if labels is None else torch.as_tensor(labels, dtype=torch.long)
