"""Conditioning on a class label, a vector or a map: the condition map s, and the bias V * s that it adds to a layer.

Source: van den Oord et al., Conditional Image Generation with PixelCNN Decoders, 2016, arXiv 1606.05328, section 2.3:
with h the condition and s = m(h) its condition map, every layer adds V * s before the gate, an unmasked 1 x 1
convolution. For a condition that does not depend on location, s is the same everywhere and V * s is the bias V^T h.
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
    """V * s: the bias that the condition adds to a layer's feature maps; nothing if there is no condition.

    Arguments:
        condition_width  feature maps of s; 0 for an unconditional network
        maps             feature maps of the layer

    Shapes:  s (B, condition_width, h, w) or (B, condition_width, 1, 1) -> (B, maps, h, w) or (B, maps, 1, 1)

    >>> from pixelrnn.canvas import Whole
    >>> bias = ConditionBias(condition_width=3, maps=8)
    >>> bias(Whole(torch.zeros(2, 1, 5, 5), condition_map=torch.ones(2, 3, 1, 1))).shape
    torch.Size([2, 8, 1, 1])
    >>> bias(Whole(torch.zeros(2, 1, 5, 5))) is None  # nothing to condition on
    True
    """

    def __init__(self, condition_width: int, maps: int) -> None:
        super().__init__()
        self.conv = CausalConv2d(condition_width, maps, Reach(0, 0, 0, 0), bias=False) if condition_width else None

    def forward(self, canvas: Canvas) -> Tensor | None:
        """The bias, or None without a condition."""
        s = canvas.condition_map()
        return None if self.conv is None or s is None else self.conv(s, canvas)

    def added(self, maps: Tensor, canvas: Canvas) -> Tensor:
        """`maps` plus the bias."""
        bias = self(canvas)
        return maps if bias is None else maps + bias


class Condition(nn.Module):
    r"""s = m(h): the sum of the embeddings of a label, a vector and a map; a condition that is left out adds nothing.

    Arguments:
        size          (H, W) of the training images
        width         feature maps of s
        classes       labels are 0..classes-1; 0 for no labels
        vector_size   length of the vector; 0 for no vector
        map_channels  channels of the map; 0 for no map
        spatial       make s location-dependent: a small deconvolutional network turns the label and the vector into a
                      map. Images must then have the training size.
        dropout       in training, drop each condition of each image independently with this probability, so that the
                      model also works without it (as classifier-free guidance needs)

    Shapes:  label (B,), or shares of the classes (B, classes), whose embeddings are averaged; vector (B, vector_size),
             map (B, map_channels, H, W) -> (B, width, H, W), or (B, width, 1, 1) if s does not depend on location
    Source:  arXiv 1606.05328, section 2.3; the paper does not specify the networks m

    >>> options = dict(vector_size=0, map_channels=3, spatial=False, dropout=0.0)
    >>> condition = Condition((28, 28), 32, classes=10, **options)
    >>> condition(torch.tensor([7, 2]), None, None).shape
    torch.Size([2, 32, 1, 1])
    >>> condition(torch.tensor([7, 2]), None, torch.zeros(2, 3, 28, 28)).shape
    torch.Size([2, 32, 28, 28])
    >>> condition(None, None, None) is None
    True
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
            # The network has biases, so zeros in do not give zeros out: a dropped condition is masked before and after.
            kept = torch.stack([keep for _, keep in parts]).any(0)
            parts = [(self.deconvolution(sum(each * keep for each, keep in parts)), kept)]
        if self.map is not None and map_ is not None:
            parts.append((self.map(map_), self._kept(map_)))
        if not parts:
            return None
        s: Tensor = sum(each * keep for each, keep in parts)
        return s

    def checked(
        self, n: int, size: tuple[int, int], label: Any, vector: Any, map_: Any, like: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The user's conditions for n images of `size`, as tensors of the shapes above, with the dtype and device of
        `like`.

        A single label, vector or map is used for every image.

        Raises: ConditionError if one does not fit
        """
        for name, condition, known in zip(
            ("label", "vector", "condition_map"), (label, vector, map_), self.kinds, strict=True
        ):
            if condition is not None and not known:
                raise ConditionError(
                    f"The model takes no {name}: it was built without {_OPTIONS[name]}. It takes {self._takes()}."
                )
        if self.deconvolution is not None and (label is not None or vector is not None) and size != self.size:
            raise ConditionError(
                f"The condition map of this model has the size {self.size[0]}x{self.size[1]} (it was built with "
                f"condition_spatial=True), so images must have that size too, not {size[0]}x{size[1]}."
            )
        label = None if label is None else self._checked_label(label, n).to(like.device)
        label = label.to(like.dtype) if label is not None and label.is_floating_point() else label
        vector = None if vector is None else self._checked_numbers("vector", vector, (n, self.vector_size), like)
        map_ = (
            None if map_ is None else self._checked_numbers("condition_map", map_, (n, self.map_channels, *size), like)
        )
        return label, vector, map_

    @property
    def kinds(self) -> tuple[int, int, int]:
        """Number of classes, length of the vector, channels of the map: 0 for a condition that the model lacks."""
        return self.classes, self.vector_size, self.map_channels

    def _takes(self) -> str:
        names = [
            f"{name}=" for name, known in zip(("label", "vector", "condition_map"), self.kinds, strict=True) if known
        ]
        return " and ".join(names) or "no condition"

    def _checked_label(self, label: Any, n: int) -> Tensor:
        expected = f"Labels must be whole numbers 0..{self.classes - 1}: one for all images, or a list of {n}"
        try:
            labels = np.asarray(label.detach().cpu() if isinstance(label, Tensor) else label)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConditionError(f"{expected}, not {label!r}.") from error
        if labels.dtype.kind == "f" and labels.shape in ((self.classes,), (n, self.classes)):
            if not (np.isfinite(labels).all() and (labels >= 0).all() and np.allclose(labels.sum(-1), 1, atol=1e-3)):
                raise ConditionError("Shares of the classes must be 0 or more, and sum up to 1.")
            return torch.from_numpy(labels.astype(np.float64)).expand(n, -1)
        if labels.size and labels.dtype.kind not in "iu":
            raise ConditionError(f"{expected}, not {labels.dtype if labels.dtype.kind in 'fb' else repr(label)}.")
        if labels.ndim > 1 or (labels.ndim == 1 and len(labels) != n):
            raise ConditionError(f"{expected}, but they have the shape {labels.shape}.")
        if labels.size and not 0 <= labels.min() <= labels.max() < self.classes:
            raise ConditionError(f"{expected}, not {labels.min() if labels.min() < 0 else labels.max()}.")
        return torch.from_numpy(labels.astype(np.int64)).expand(n)

    @staticmethod
    def _checked_numbers(name: str, condition: Any, shape: tuple[int, ...], like: Tensor) -> Tensor:
        expected = f"The {name} must be numbers of shape {shape[1:]}, or {shape} for one per image"
        try:
            condition = condition if isinstance(condition, Tensor) else torch.as_tensor(np.asarray(condition))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ConditionError(f"{expected}, not {type(condition).__name__}.") from error
        if tuple(condition.shape) not in (shape, shape[1:]):
            raise ConditionError(f"{expected}, but it has the shape {tuple(condition.shape)}.")
        if condition.is_complex() or condition.dtype == torch.bool:
            raise ConditionError(f"{expected}, not {condition.dtype}.")
        condition = condition.to(like.device, like.dtype)
        if not bool(condition.isfinite().all()):
            raise ConditionError(f"{expected}, but some values are not finite.")
        return condition.expand(shape)

    def _kept(self, condition: Tensor) -> Tensor:
        """Which images keep this condition (condition dropout, in training only): (B, 1, 1, 1) bool."""
        size = (len(condition), 1, 1, 1)
        if not (self.training and self.dropout):
            return torch.ones(size, dtype=torch.bool, device=condition.device)
        return torch.rand(size, device=condition.device) >= self.dropout


_OPTIONS = {"label": "classes=", "vector": "vector_size=", "condition_map": "map_channels="}


# The layers below pad by themselves, without the canvas: the condition is known in full before the first pixel.


class _Labels(nn.Embedding):
    """An embedding that is not initialised on the meta device, on which models are loaded: to draw its weights there,
    PyTorch would import its compiler, which takes longer than the rest of the loading."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, label: Tensor) -> Tensor:
        """The embeddings of labels (B,), or the mean of those of all classes by their shares (B, classes)."""
        return label @ self.weight if label.is_floating_point() else super().forward(label)


class _Around(nn.Sequential):
    """Two unmasked 3 x 3 convolutions."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))


class _Deconvolution(nn.Module):
    """(B, width, 1, 1) -> (B, width, H, W): a linear layer to a quarter of the resolution, then two deconvolutions."""

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
