"""What an image is conditioned on: a class label, a vector, a map, and how every layer is told of it.

Source: van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, arXiv 1606.05328, section 2.3:
with h the condition and s = m(h) a map of it, every layer adds V * s to what it computes, a 1 x 1 convolution without
mask. For a condition without a place, s is the same everywhere and V * s is the bias V^T h.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelrnn.canvas import Canvas, Reach
from pixelrnn.errors import ConditionError
from pixelrnn.layers.convolution import CausalConv2d


class ConditionBias(nn.Module):
    """V * s: what the condition adds to the maps of a layer; nothing where there is no condition.

    Arguments: given, maps of s, 0 for a network without conditions; maps of the layer
    Shapes:    s (B, given, h, w) or (B, given, 1, 1) -> (B, maps, h, w) or (B, maps, 1, 1)
    """

    def __init__(self, condition_width: int, maps: int) -> None:
        super().__init__()
        self.conv = CausalConv2d(condition_width, maps, Reach(0, 0, 0, 0), bias=False) if condition_width else None

    def forward(self, canvas: Canvas) -> Tensor | None:
        """What is to be added, or None."""
        s = canvas.condition_map()
        return None if self.conv is None or s is None else self.conv(s, canvas)

    def added(self, maps: Tensor, canvas: Canvas) -> Tensor:
        """Some maps with it added."""
        bias = self(canvas)
        return maps if bias is None else maps + bias


class Condition(nn.Module):
    r"""s: the sum of what is made of a label, of a vector and of a map; what is left out adds nothing.

    Arguments:
        size         (H, W) of the images that are trained on
        width        maps of s
        classes      labels are 0..classes-1; 0 for no labels
        vector_size  numbers of the vector; 0 for none
        map_channels of the map; 0 for none
        spatial      give the label and the vector a place: a small deconvolution network makes a map of them. Then
                     images have the trained size.
        dropout      in training each of them is left out of an image with this probability, so that the model also
                     answers without it

    Shapes:  label (B,), vector (B, vector_size), map (B, map_channels, H, W) -> (B, width, H, W), or (B, width, 1, 1)
             where nothing has a place
    Source:  arXiv 1606.05328, section 2.3; the networks m are of no stated size there
    """

    def __init__(
        self,
        size: tuple[int, int],
        width: int,
        *,
        classes: int,
        vector_size: int,
        map_channels: int,
        spatial: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.classes, self.vector_size, self.map_channels = classes, vector_size, map_channels
        self.size, self.width, self.dropout = size, width, dropout
        self.label = _Labels(classes, width) if classes else None
        self.vector = nn.Linear(vector_size, width) if vector_size else None
        self.map = _Around(map_channels, width) if map_channels else None
        self.deconvolution = _Deconvolution(size, width) if spatial and (classes or vector_size) else None

    def forward(self, label: Tensor | None, vector: Tensor | None, map_: Tensor | None) -> Tensor | None:
        parts = []
        for layer, condition in ((self.label, label), (self.vector, vector)):
            if layer is not None and condition is not None:
                parts.append((layer(condition)[:, :, None, None], self._kept(condition)))
        if self.deconvolution is not None and parts:
            # A network of nothing is not nothing: what is left out of an image is left out before and after.
            kept = torch.stack([keep for _, keep in parts]).any(0)
            parts = [(self.deconvolution(sum(each * keep for each, keep in parts)), kept)]
        if self.map is not None and map_ is not None:
            parts.append((self.map(map_), self._kept(map_)))
        if not parts:
            return None
        found: Tensor = sum(each * keep for each, keep in parts)
        return found

    def checked(
        self, n: int, size: tuple[int, int], label: Any, vector: Any, map_: Any, like: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """What a user gives for n images of `size`, as tensors of the shapes above, of the kind and device of `like`.

        One label, vector or map counts for every image.

        Raises: ConditionError if it does not fit
        """
        for name, condition, known in zip(
            ("label", "vector", "condition_map"), (label, vector, map_), self.kinds, strict=True
        ):
            if condition is not None and not known:
                raise ConditionError(
                    f"The model knows no {name}: it was built without {_OPTIONS[name]}. It takes {self._takes()}."
                )
        if self.deconvolution is not None and (label is not None or vector is not None) and size != self.size:
            raise ConditionError(
                f"This model gives its condition a place in images of {self.size[0]}x{self.size[1]}, so it cannot take "
                f"{size[0]}x{size[1]}."
            )
        label = None if label is None else self._checked_label(label, n).to(like.device)
        vector = None if vector is None else self._checked_numbers("vector", vector, (n, self.vector_size), like)
        map_ = (
            None if map_ is None else self._checked_numbers("condition_map", map_, (n, self.map_channels, *size), like)
        )
        return label, vector, map_

    @property
    def kinds(self) -> tuple[int, int, int]:
        """Classes, size of the vector, channels of the map: 0 for what it does not know."""
        return self.classes, self.vector_size, self.map_channels

    def _takes(self) -> str:
        names = [
            f"{name}=" for name, known in zip(("label", "vector", "condition_map"), self.kinds, strict=True) if known
        ]
        return " and ".join(names) or "no condition"

    def _checked_label(self, label: Any, n: int) -> Tensor:
        expected = f"Labels are whole numbers 0..{self.classes - 1}, one for all images or {n}, one for each"
        try:
            labels = np.asarray(label.detach().cpu() if isinstance(label, Tensor) else label)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConditionError(f"{expected}, but {label!r} came.") from error
        if labels.size and labels.dtype.kind not in "iu":
            raise ConditionError(f"{expected}, but {labels.dtype if labels.dtype.kind in 'fb' else repr(label)} came.")
        if labels.ndim > 1 or (labels.ndim == 1 and len(labels) != n):
            raise ConditionError(f"{expected}, but the shape {labels.shape} came.")
        if labels.size and not 0 <= labels.min() <= labels.max() < self.classes:
            raise ConditionError(f"{expected}, but {labels.min() if labels.min() < 0 else labels.max()} came.")
        return torch.from_numpy(labels.astype(np.int64)).expand(n)

    @staticmethod
    def _checked_numbers(name: str, condition: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
        expected = f"The {name} must be numbers of shape {shape[1:]}, or {shape} for one per image"
        try:
            condition = condition if isinstance(condition, Tensor) else torch.as_tensor(np.asarray(condition))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConditionError(f"{expected}, but {type(condition).__name__} came.") from error
        if tuple(condition.shape) not in (shape, shape[1:]):
            raise ConditionError(f"{expected}, but the shape {tuple(condition.shape)} came.")
        if condition.is_complex() or condition.dtype == torch.bool:
            raise ConditionError(f"{expected}, but {condition.dtype} came.")
        condition = condition.to(like.device, like.dtype)
        if not bool(condition.isfinite().all()):
            raise ConditionError(f"{expected}, but some are not finite.")
        return condition.expand(shape)

    def _kept(self, condition: Tensor) -> Tensor:
        """Which images are told: (B, 1, 1, 1) bool."""
        size = (len(condition), 1, 1, 1)
        if not (self.training and self.dropout):
            return torch.ones(size, dtype=torch.bool, device=condition.device)
        return torch.rand(size, device=condition.device) >= self.dropout


_OPTIONS = {"label": "classes=", "vector": "vector_size=", "condition_map": "map_channels="}


# Not the canvas' padding in what follows: all of a condition is known beforehand.


class _Labels(nn.Embedding):
    """An embedding that draws nothing on the meta device, where models are loaded: PyTorch would import its compiler
    for that, which takes longer than all the rest."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class _Around(nn.Sequential):
    """Two 3 x 3 convolutions, to every side."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))


class _Deconvolution(nn.Module):
    """From (B, width, 1, 1) to (B, width, H, W): a quarter of the side, then two deconvolutions."""

    def __init__(self, size: tuple[int, int], width: int) -> None:
        super().__init__()
        self.size, self.small = size, (-(-size[0] // 4), -(-size[1] // 4))
        self.begin = nn.Linear(width, width * self.small[0] * self.small[1])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(width, width, 4, stride=2, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.begin(x.flatten(1)).unflatten(1, (-1, *self.small))
        for layer in self.grow:
            x = layer(F.relu(x))
        return x[:, :, : self.size[0], : self.size[1]]
