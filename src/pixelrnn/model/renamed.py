"""Names of version 0.1 that are still accepted."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from torch import nn

P = ParamSpec("P")
R = TypeVar("R")

_WEIGHTS = (
    (r"\btold_(above|along|means)\.", r"bias_\1."),
    (r"^((?:.*\.)?network\.readout)\.told\.", r"\1.bias_features."),
    (r"\btold\.conv\.", "condition_bias.conv."),
    (r"\bcondition\.place\.", "condition.deconvolution."),
)


def renamed(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights under their current names, so that folders and checkpoints of version 0.1 load.

    >>> renamed({"network.layers.0.told_above.conv.weight": 1})
    {'network.layers.0.bias_above.conv.weight': 1}
    """
    for old, new in _WEIGHTS:
        weights = {re.sub(old, new, name): weight for name, weight in weights.items()}
    return weights


def rename_state(module: nn.Module, state: dict[str, Any], *_: Any) -> None:
    """A hook before `load_state_dict`: `renamed`, in place."""
    for old, new in zip(list(state), renamed(dict.fromkeys(state)), strict=True):
        state[new] = state.pop(old)


def accepts_map(method: Callable[P, R]) -> Callable[P, R]:
    """Accepts `map=` for `condition_map=`, with a warning; to be removed in version 1.0."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if "map" in kwargs:
            warnings.warn(
                "map= is now called condition_map=; the old name is accepted until version 1.0.",
                FutureWarning,
                stacklevel=2,
            )
            kwargs["condition_map"] = kwargs.pop("map")
        return method(*args, **kwargs)

    return call
