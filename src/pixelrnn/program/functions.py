"""PyTorch's functions and the steps that each becomes: some move numbers, some compute one, some are made of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def softmax(x: Tensor, dim: int, _: bool = False) -> Tensor:
    """As `torch.softmax`, of steps."""
    powers = (x - x.amax(dim, keepdim=True)).exp()
    return powers / powers.sum(dim, keepdim=True)


def log_softmax(x: Tensor, dim: int, _: bool = False) -> Tensor:
    """As `torch.log_softmax`."""
    moved = x - x.amax(dim, keepdim=True)
    return moved - moved.exp().sum(dim, keepdim=True).log()


def logsumexp(x: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """As `torch.logsumexp`."""
    largest = x.amax(dim, keepdim=True).clamp_min(torch.finfo(x.dtype).min)  # not the difference of two infinities
    total = (x - largest).exp().sum(dim, keepdim=True).log() + largest
    return total if keepdim else total.squeeze(dim)


def clamp(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """As `torch.clamp`."""
    x = x if low is None else torch.maximum(x, torch.tensor(low, dtype=x.dtype))
    return x if high is None else torch.minimum(x, torch.tensor(high, dtype=x.dtype))


def log_sigmoid(x: Tensor) -> Tensor:
    """As `torch.nn.functional.logsigmoid`."""
    return torch.minimum(x, torch.tensor(0.0, dtype=x.dtype)) - (1 + (-x.abs()).exp()).log()


MOVES = {
    aten.view,
    aten.reshape,
    aten._unsafe_view,
    aten.permute,
    aten.transpose,
    aten.t,
    aten.unsqueeze,
    aten.squeeze,
    aten.expand,
    aten.slice,
    aten.select,
    aten.split,
    aten.split_with_sizes,
    aten.unbind,
    aten.clone,
    aten.alias,
    aten.detach,
    aten.cat,
    aten.stack,
    aten.index_select,
    aten.repeat,
    aten.flip,
}
MOVING = {
    "getitem",
    "movedim",
    "split",
    "chunk",
    "narrow",
    "expand",
    "unflatten",
    "flatten",
    "repeat_interleave",
    "reshape",
    "stack",
    "cat",
    "permute",
    "transpose",
    "unsqueeze",
    "squeeze",
    "unbind",
    "flip",
}
"""Functions by name that only move numbers around."""
POINTWISE = {
    aten.add: "add",
    aten.sub: "sub",
    aten.mul: "mul",
    aten.div: "div",
    aten.pow: "pow",
    aten.maximum: "maximum",
    aten.minimum: "minimum",
    aten.where: "where",
    aten.relu: "relu",
    aten.tanh: "tanh",
    aten.sigmoid: "sigmoid",
    aten.exp: "exp",
    aten.log: "log",
    aten.neg: "neg",
    aten.abs: "abs",
    aten.floor: "floor",
    aten.expm1: "expm1",
    aten.rsqrt: "rsqrt",
    aten.special_log_ndtr: "log_ndtr",
}
FUNCTIONS = {
    name: name
    for name in (
        "add",
        "sub",
        "mul",
        "div",
        "relu",
        "tanh",
        "sigmoid",
        "exp",
        "log",
        "neg",
        "abs",
        "floor",
        "expm1",
        "rsqrt",
        "where",
        "pow",
    )
} | {"special_log_ndtr": "log_ndtr", "maximum": "maximum", "minimum": "minimum"}
"""Functions by name of one number from one or more, and the operation of each."""
REDUCTIONS = {aten.sum: "sum", aten.amax: "max"}
ALIASES: dict[Any, Callable[..., Any]] = {
    aten._softmax: softmax,
    aten._log_softmax: log_softmax,
    aten.logsumexp: logsumexp,
    aten.clamp_min: lambda x, low: clamp(x, low=low),
    aten.clamp_max: lambda x, high: clamp(x, high=high),
    aten.clamp: clamp,
    aten.rsub: lambda x, other: -x + other,
    aten.log_sigmoid_forward: lambda x: (log_sigmoid(x), None),
}
