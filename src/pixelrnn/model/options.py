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
"""Pixels of the images that a model is built for."""
_Size = Annotated[int, Field(ge=0, le=65536)]


class ConditionOptions(Strict):
    """What an image may be conditioned on."""

    classes: _Size = Field(default=0, description="labels 0..classes-1; 0 for no labels")
    vector_size: _Size = Field(default=0, description="numbers of a vector; 0 for none")
    map_channels: _Size = Field(default=0, description="channels of a condition map as large as the image; 0 for none")
    condition_width: Annotated[int, Field(ge=1, le=65536)] = Field(
        default=32, description="feature maps of s, which the condition is made into and every layer is biased by"
    )
    condition_spatial: bool = Field(
        default=False,
        description="let label and vector bias by position: a deconvolution network makes the map s of them",
    )
    condition_dropout: Dropout = Field(
        default=0.1, description="in training the condition is left out of an image with this probability"
    )
    code_size: _Size = Field(
        default=0, description="numbers of a vector that an encoder of the model makes of an image; 0 for no encoder"
    )
    encoder: str = Field(default="conv", description='"conv" or "mdrnn"')
    unit_code: bool = Field(default=False, description="codes are of length one")


CONDITION: dict[str, Any] = ConditionOptions().model_dump()
"""The options of ConditionOptions, with their defaults."""


def check_geometry(head: str, size: Sequence[int], channels: int, levels: int) -> None:
    """Raises ConfigError for an unknown head, or a size, channels or levels out of their range."""
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
        raise ConfigError(f"levels must be from 2 to 256, a whole number, not {levels!r}.")
    if head == "bernoulli" and levels != 2:
        raise ConfigError(f'The head "bernoulli" is for 2 levels, not {levels}. Take "categorical".')


def build_condition(
    options: ConditionOptions, size: tuple[int, int], channels: int
) -> tuple[Condition | None, nn.Module | None]:
    """The condition and the encoder that the options describe; None without.

    Raises: ConfigError if they contradict each other
    """
    if options.code_size and options.vector_size:
        raise ConfigError("A model has a vector (vector_size) or makes one of an image (code_size), not both.")
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
