"""The options of a model besides those of its network: geometry, head, condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from pixelrnn.checks import is_integer, pair
from pixelrnn.errors import ConfigError, unknown
from pixelrnn.fields import Dropout, Strict
from pixelrnn.heads import HEADS
from pixelrnn.layers.condition import Condition
from pixelrnn.model.encoder import ENCODERS

LARGEST_IMAGE = 10**8
"""The most pixels of an image that a model can be built for."""
_Size = Annotated[int, Field(ge=0, le=65536)]


class ConditionOptions(Strict):
    """What an image may be conditioned on."""

    classes: _Size = Field(default=0, description="number of classes, whose labels are 0..classes-1; 0 for no labels")
    vector_size: _Size = Field(
        default=0, description="length of the vector that the model is conditioned on; 0 for no vector"
    )
    map_channels: _Size = Field(
        default=0, description="channels of a condition map as large as the image; 0 for no map"
    )
    condition_width: Annotated[int, Field(ge=1, le=65536)] = Field(
        default=32, description="feature maps of the condition map s, from which every layer gets a bias"
    )
    condition_spatial: bool = Field(
        default=False,
        description="let the effect of label and vector depend on location, by a deconvolution network",
    )
    condition_dropout: Dropout = Field(
        default=0.1, description="probability with which the condition of an image is dropped in training"
    )
    code_size: _Size = Field(
        default=0, description="length of the code that an encoder computes from an image; 0 for no encoder"
    )
    encoder: str = Field(default="conv", description='kind of encoder: "conv" or "mdrnn"')
    unit_code: bool = Field(default=False, description="normalise codes to unit length")


CONDITION: dict[str, Any] = ConditionOptions().model_dump()
"""The options of ConditionOptions, with their defaults."""


COLOURS = "colour_order"
"""The option of a model that names its channels in the order in which they are generated."""


def checked_colours(order: Any, channels: int) -> list[int] | None:
    """An order of the channels as a list; None for their own.

    Raises: ConfigError if it does not name each of them once
    """
    if order is None:
        return None
    if not isinstance(order, list | tuple) or sorted(map(str, order)) != sorted(map(str, range(channels))):
        example = list(range(channels))[::-1]
        raise ConfigError(
            f"{COLOURS} must name the channels 0..{channels - 1} once each, like {example}, not {order!r}."
        )
    return None if list(order) == list(range(channels)) else [int(each) for each in order]


def check_geometry(head: str, size: Sequence[int], channels: int, levels: int) -> None:
    """Raises ConfigError for an unknown head, or for size, channels or levels out of range."""
    if head not in HEADS:
        raise unknown("head", head, HEADS)
    height, width = pair(size)
    if not all(is_integer(value) and value >= 1 for value in (height, width)):
        raise ConfigError(f"size must be (H, W), two whole numbers of at least 1, not {tuple(size)}.")
    if height * width > LARGEST_IMAGE:
        raise ConfigError(f"size must be (H, W) of at most {LARGEST_IMAGE:,} pixels, not {tuple(size)}.")
    if not (is_integer(channels) and 1 <= channels <= 256):
        raise ConfigError(f"channels must be a whole number from 1 to 256, not {channels!r}.")
    if not (is_integer(levels) and 2 <= levels <= 256):
        raise ConfigError(f"levels must be a whole number from 2 to 256, not {levels!r}.")
    if head == "bernoulli" and levels != 2:
        raise ConfigError(f'The head "bernoulli" is for 2 levels, not {levels}. Use "categorical".')


def build_condition(
    options: ConditionOptions, size: tuple[int, int], channels: int
) -> tuple[Condition | None, nn.Module | None]:
    """The condition and the encoder that the options describe, or None.

    Raises: ConfigError if they contradict each other
    """
    if options.code_size and options.vector_size:
        raise ConfigError("A model takes a vector (vector_size) or computes one from an image (code_size), not both.")
    vector_size = options.vector_size or options.code_size
    if not (options.classes or vector_size or options.map_channels):
        return None, None
    condition = Condition(
        size,
        options.condition_width,
        classes=options.classes,
        vector_size=vector_size,
        map_channels=options.map_channels,
        spatial=options.condition_spatial,
        dropout=options.condition_dropout,
    )
    if not options.code_size:
        return condition, None
    if options.encoder not in ENCODERS:
        raise unknown("encoder", options.encoder, ENCODERS)
    return condition, ENCODERS[options.encoder](channels, size, options.code_size, unit=options.unit_code)
