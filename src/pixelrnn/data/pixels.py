"""Arrays of any supported layout and type as images (N, C, H, W) of bytes, and values mapped through a table.

Shapes:  (N, H, W) is gray. With 4 dimensions, the channels are the second, (N, C, H, W), if that is 1 to 4,
         otherwise the last, (N, H, W, C), if that is 1 to 4; if neither is, the smaller of these two, up to 256. If
         that does not decide, (N, C, H, W) is assumed.
Values:  integers 0..255
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pixelrnn.errors import ImageError

Pixels: TypeAlias = npt.NDArray[np.uint8]

MOST_CHANNELS = 256
_FEW = 4  # channels: more may also be rows or columns
_CHUNK = 1 << 24  # values checked at once


def as_pixels(array: npt.NDArray[Any], what: str) -> Pixels:
    """An array of images in the layout (N, C, H, W), as bytes.

    Shapes:  (N, H, W), (N, C, H, W) or (N, H, W, C) integers 0..255 -> (N, C, H, W) uint8
    Raises:  ImageError if the shape, type or range is invalid; `what` names the array in the message
    """
    check_images(array.shape, array.dtype, what)
    if array.ndim == 3:
        array = array[:, None]
    elif _channel_axis(array.shape) == 3:
        array = array.transpose(0, 3, 1, 2)
    if array.dtype != np.uint8:
        for start in range(0, len(array), step := max(1, _CHUNK // max(1, int(np.prod(array.shape[1:]))))):
            _check_range(array[start : start + step], what)
    return array.astype(np.uint8, copy=False)


def taken_layout(shape: tuple[int, ...]) -> str:
    """If a shape may be meant in another layout than the one that is taken, a phrase that says which that is; else "".

    >>> taken_layout((50, 3, 10, 3))
    'shape (50, 3, 10, 3) taken as (N, C, H, W): 3 channels of 10x3'
    >>> taken_layout((50, 16, 16, 8))
    'shape (50, 16, 16, 8) taken as (N, H, W, C): 8 channels of 16x16'
    >>> taken_layout((50, 3, 10, 10))
    ''
    """
    if len(shape) != 4 or (shape[1] <= _FEW) != (shape[3] <= _FEW):
        return ""
    if _channel_axis(shape) == 1:
        return f"shape {shape} taken as (N, C, H, W): {shape[1]} channels of {shape[2]}x{shape[3]}"
    return f"shape {shape} taken as (N, H, W, C): {shape[3]} channels of {shape[1]}x{shape[2]}"


def _channel_axis(shape: tuple[int, ...]) -> Literal[1, 3]:
    """Which of four axes holds the channels."""
    if shape[1] <= _FEW or shape[1] <= shape[3]:
        return 1
    return 3


def check_images(shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> None:
    """Raises ImageError unless type and shape are those of images."""
    if not np.issubdtype(dtype, np.integer):
        raise ImageError(
            f"{what} must hold integers, a level each, but got {dtype}. Whole numbers 0..255:  x.astype('uint8')   "
            "Values from 0 to 1:  (255 * x).round().astype('uint8')"
        )
    channels_fit = len(shape) == 3 or (len(shape) == 4 and shape[_channel_axis(shape)] <= MOST_CHANNELS)
    if not channels_fit or 0 in shape[1:]:
        raise ImageError(
            f"{what} has shape {shape}, but images are (N, H, W), (N, C, H, W) or (N, H, W, C) "
            f"with 1 to {MOST_CHANNELS} channels. Reshape it."
        )


def look_up(values: npt.NDArray[Any], table: Pixels) -> Pixels:
    """Values mapped through a table: table[values].

    Shapes:  values of any shape, integers 0..K-1, table (K,) uint8 -> the shape of values, uint8
    Raises:  ImageError if a value is not in 0..K-1
    """
    check_values(values, len(table))
    return np.asarray(table[values])


def check_values(values: npt.NDArray[Any], count: int) -> None:
    """Raises ImageError unless all values are in 0..count-1."""
    if values.size and not (values.min() >= 0 and values.max() < count):
        raise ImageError(
            f"Images must hold values 0..{count - 1}, but got values from {values.min()} to {values.max()}."
        )


def _check_range(part: npt.NDArray[Any], what: str) -> None:
    if part.size and (part.min() < 0 or part.max() > 255):
        raise ImageError(
            f"{what} must hold values 0..255, but got values from {part.min()} to {part.max()}. "
            "Scale it and convert it to uint8."
        )
