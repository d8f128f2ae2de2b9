"""The conditions that come from a data set's images: their class, a degraded copy of them, or their code."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.data.conditions import CONDITIONS
from pixelrnn.errors import DataError
from pixelrnn.model import PixelModel

LABELS_HINT = (
    "Labels come from sub-folders, one per class with no pictures beside them, or from an .npz file with labels."
)


def condition_of(model: PixelModel, kind: str, images: Tensor, labels: Tensor | None) -> dict[str, Any]:
    """The condition of some images, as keyword arguments of `log_prob` and `sample`.

    For a model with an encoder, the codes of the images are added as its vector.

    Arguments:
        kind    one of CONDITIONS
        images  (B, C, H, W) levels
        labels  (B,), or None for unlabelled data

    Raises:     DataError if the condition is the class and there are no labels

    >>> import pixelrnn
    >>> model = pixelrnn.build("pixelcnn", size=(4, 4), levels=2, layers=1, width=4, classes=10)
    >>> condition_of(model, "class", torch.zeros(2, 1, 4, 4), torch.tensor([3, 7]))
    {'label': tensor([3, 7])}
    """
    condition: dict[str, Any] = {}
    if kind == "class":
        if labels is None:
            raise DataError(
                f"The model is conditioned on classes, but this data has no labels. {LABELS_HINT} "
                "To evaluate it without a condition:  --no-condition"
            )
        condition["label"] = labels.to(model.device)
    elif kind:
        condition["condition_map"] = degraded(images, model.levels, kind).to(model.device, model.dtype)
    if model.encoder is not None:
        condition["vector"] = model.encode(images)
    return condition


def degraded(images: Tensor, levels: int, kind: str) -> Tensor:
    """Images with less detail, at the same size: levels (B, C, H, W) -> (B, C, H, W) float32 in -1..1.

    half  each 2 x 2 block has its mean in all four pixels; at an odd size the last row or column is repeated first
    blur  a 5 x 5 mean filter, over the pixels that are inside the image

    >>> degraded(torch.tensor([[[[0, 1], [1, 1]]]]), levels=2, kind="half")
    tensor([[[[0.5000, 0.5000],
              [0.5000, 0.5000]]]])
    """
    shown = images.float() * (2 / (levels - 1)) - 1
    height, width = images.shape[2:]
    if kind == "half":
        even = F.pad(shown, (0, width % 2, 0, height % 2), mode="replicate") if height % 2 or width % 2 else shown
        return enlarged(F.avg_pool2d(even, 2), (height, width))
    return F.avg_pool2d(shown, 5, stride=1, padding=2, count_include_pad=False)


def enlarged(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Small images (B, C, h, w) enlarged by 2 with nearest-neighbour interpolation, cropped to `size`."""
    return small.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, : size[0], : size[1]]


def condition_kind(model: PixelModel) -> str:
    """The condition that the model was trained with: one of CONDITIONS."""
    kind: Any = model.about.get("preset", {}).get("data", {}).get("condition", "")
    return kind if kind in CONDITIONS else ""


def described(model: PixelModel) -> str:
    """What the likelihood is conditioned on, as a phrase for reports; "" for an unconditional model."""
    parts = [CONDITIONS[condition_kind(model)]] if condition_kind(model) else []
    parts += ["its code"] if model.encoder is not None else []
    return " and ".join(parts)


def torch_labels(labels: Any) -> Tensor | None:
    """The labels of a data set (N,) as an int64 tensor, or None."""
    return None if labels is None else torch.as_tensor(labels, dtype=torch.long)
