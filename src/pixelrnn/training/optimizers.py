"""The optimizers of a training, by their names in presets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from pixelrnn.model import PixelModel
from pixelrnn.training.presets import TrainingSettings


def optimizer_of(model: PixelModel, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimizer that the settings name."""
    rate, decay = settings.learning_rate, settings.weight_decay
    match settings.optimizer:
        case "muon":
            hidden = hidden_weights(model)
            rest = [each for each in model.parameters() if all(each is not other for other in hidden)]
            return Muon(hidden, rest, lr=rate, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
        case "rmsprop":
            return torch.optim.RMSprop(model.parameters(), lr=rate)
        case "adam":
            return torch.optim.Adam(model.parameters(), lr=rate)


def hidden_weights(model: PixelModel) -> list[nn.Parameter]:
    """The weights of a network that lead from feature maps to feature maps.

    >>> import pixelrnn
    >>> model = pixelrnn.build("pixelcnn", size=(8, 8), levels=2, layers=1, width=4, skip=False)
    >>> [tuple(each.shape) for each in hidden_weights(model)]
    [(4, 8, 1, 1), (4, 4, 2, 3), (8, 4, 1, 1), (8, 8, 1, 1), (8, 8, 1, 1)]
    """
    ends = (model.channels, model.head.num_params)
    return [
        each
        for each in model.network.parameters()
        if each.requires_grad
        and each.ndim in (2, 4)
        and min(each.shape[:2]) > 1
        and each.shape[1] != ends[0]
        and each.shape[0] != ends[1]
    ]


class Muon(torch.optim.AdamW):
    """Muon for some weights, AdamW for the rest.

    The momentum of a weight, as a matrix (outputs, all that an output reads), is replaced by a matrix with the same
    singular vectors and singular values near 1, so every direction is learned at the same pace. It is scaled so that
    its elements are as large as those of AdamW's steps, and one learning rate serves both.

    Source: arXiv 2502.16982
    """

    def __init__(self, hidden: list[nn.Parameter], rest: list[nn.Parameter], *, lr: float, weight_decay: float) -> None:
        groups = [{"params": rest, "hidden": False}, {"params": hidden, "hidden": True}]
        super().__init__([each for each in groups if each["params"]], lr=lr, weight_decay=weight_decay)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all weights that have a gradient; it leaves the hidden weights none."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["hidden"]:
                for weight in group["params"]:
                    self._step(weight, group["lr"], group["weight_decay"])
        super().step()
        return loss

    @torch.no_grad()
    def _step(self, weight: Tensor, rate: float, decay: float) -> None:
        if weight.grad is None:
            return
        state = cast("dict[str, Tensor]", self.state[weight])
        if not state:
            state.update(step=torch.zeros(()), momentum=torch.zeros_like(weight))
        state["step"] += 1
        momentum = state["momentum"].lerp_(weight.grad, 1 - _MOMENTUM)
        direction = orthogonal(weight.grad.lerp(momentum, _MOMENTUM).flatten(1))
        weight.mul_(1 - rate * decay).add_(direction.view_as(weight), alpha=-rate * _SIZE * max(direction.shape) ** 0.5)
        weight.grad = None  # AdamW has nothing to do with it


_MOMENTUM, _SIZE = 0.95, 0.2


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix with the same singular vectors and singular values between 0.5 and 1.5, but for very small ones.

    Five steps of an iteration by Newton and Schulz, whose polynomial is steep at zero.

    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <...
    >>> values = torch.linalg.svdvals(orthogonal(torch.randn(4, 6)))
    >>> bool((values > 0.5).all() and (values < 1.5).all())
    True
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x
