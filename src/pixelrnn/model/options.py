"""The options of a model besides those of its network: geometry, head, condition."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from pixelrnn.checks import is_integer, pair
from pixelrnn.errors import ConfigError, unknown
from pixelrnn.heads import HEADS
from pixelrnn.layers.condition import Condition
from pixelrnn.model.encoder import ENCODERS


@dataclass(frozen=True)
class ConditionOptions:
    """What an image may be conditioned on.

    classes            labels 0..classes-1; 0 for no labels
    vector_size        numbers of a vector; 0 for none
    map_channels       of a map as large as the image; 0 for none
    condition_width    maps of s, which the condition is made into and every layer is told of
    condition_spatial  let label and vector be told by place: a deconvolution network makes the map s of them
    condition_dropout  in training the condition is left out of an image with this probability
    code_size          numbers of a vector that an encoder of the model makes of an image; 0 for no encoder
    encoder            "conv" or "mdrnn"
    unit_code          codes are of length one
    """

    classes: int = 0
    vector_size: int = 0
    map_channels: int = 0
    condition_width: int = 32
    condition_spatial: bool = False
    condition_dropout: float = 0.1
    code_size: int = 0
    encoder: str = "conv"
    unit_code: bool = False


CONDITION: dict[str, Any] = dataclasses.asdict(ConditionOptions())
"""The options of ConditionOptions, with their defaults."""


def check_geometry(head: str, size: Sequence[int], channels: int, levels: int) -> None:
    """Raises ConfigError for an unknown head, or a size, channels or levels out of their range."""
    if head not in HEADS:
        raise unknown("head", head, HEADS)
    if not all(is_integer(value) and value >= 1 for value in pair(size)):
        raise ConfigError(f"size must be (H, W), two whole numbers of at least 1, not {tuple(size)}.")
    if not (is_integer(channels) and 1 <= channels <= 256):
        raise ConfigError(f"channels must be a whole number from 1 to 256, not {channels!r}.")
    if not (is_integer(levels) and 2 <= levels <= 256):
        raise ConfigError(f"levels must be from 2 to 256, a whole number, not {levels!r}.")
    if head == "bernoulli" and levels != 2:
        raise ConfigError(f'The head "bernoulli" is for 2 levels, not {levels}. Take "categorical".')


def head_option(key: str, value: Any) -> int:
    """The value of an option of a head.

    Raises: ConfigError if it is out of its range
    """
    if not (is_integer(value) and 1 <= value <= 1024):
        raise ConfigError(f"{key} must be a whole number from 1 to 1024, not {value!r}.")
    return int(value)


def build_condition(
    settings: dict[str, Any], size: tuple[int, int], channels: int
) -> tuple[Condition | None, nn.Module | None]:
    """The condition and the encoder that the options of CONDITION describe; None without.

    Raises: ConfigError if they contradict each other
    """
    code_size = settings["code_size"]
    if code_size and settings["vector_size"]:
        raise ConfigError("A model has a vector (vector_size) or makes one of an image (code_size), not both.")
    kinds = {"classes": settings["classes"], "vector_size": settings["vector_size"] or code_size}
    if not any(kinds.values()) and not settings["map_channels"]:
        return None, None
    condition = Condition(
        size,
        settings["condition_width"],
        **kinds,
        map_channels=settings["map_channels"],
        spatial=settings["condition_spatial"],
        dropout=settings["condition_dropout"],
    )
    if not code_size:
        return condition, None
    if settings["encoder"] not in ENCODERS:
        raise unknown("encoder", settings["encoder"], ENCODERS)
    return condition, ENCODERS[settings["encoder"]](channels, size, code_size, unit=settings["unit_code"])


def condition_option(key: str, value: Any) -> Any:
    """The value of an option of CONDITION.

    Raises: ConfigError if it is out of its range
    """
    default = CONDITION[key]
    if isinstance(default, bool):
        fits, expected = isinstance(value, bool), "true or false"
    elif isinstance(default, str):
        fits, expected = isinstance(value, str), "a text"
    elif isinstance(default, float):
        fits, expected = isinstance(value, int | float) and 0 <= value < 1, "a number from 0 to below 1"
    else:
        fits, expected = is_integer(value) and int(key == "condition_width") <= value <= 65536, "a whole number"
    if not fits:
        raise ConfigError(f"{key} must be {expected}, not {value!r}.")
    return type(default)(value)
