"""Checks of user input: images, masks, sizes and numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixelrnn.errors import ConditionError, ConfigError, ImageError, MemoryLimitError, unknown

Images = Tensor | np.ndarray
Labels = int | str | Sequence[int] | Sequence[str] | Tensor | np.ndarray
Numbers = Sequence[Any] | Tensor | np.ndarray


def checked_images(images: Images, channels: int, levels: int, device: torch.device) -> Tensor:
    """The images as a tensor (B, C, H, W) of integers on the model's device.

    Raises: ImageError if they do not fit a model with these channels and levels
    """
    pixels = _as_tensor(images)
    expected = f"integers 0..{levels - 1} of shape (B, {channels}, H, W)"
    if pixels.ndim != 4:
        raise ImageError(
            f"Expected {expected}, but the images have shape {tuple(pixels.shape)}.{_axes_hint(pixels, channels)}"
        )
    if pixels.shape[1] != channels:
        raise ImageError(
            f"The images have {pixels.shape[1]} channels, but the model was built for {channels}: "
            f"expected {expected}. Convert them, or build a model with channels={pixels.shape[1]}."
        )
    if 0 in pixels.shape[2:]:
        raise ImageError(f"Expected {expected}, but the images have no pixels: {tuple(pixels.shape)}.")
    if pixels.is_floating_point() or pixels.is_complex():
        raise ImageError(
            f"Expected {expected}, but the pixels are {pixels.dtype}. Round them to levels and convert them to uint8."
        )
    if pixels.numel() and not 0 <= int(pixels.min()) <= int(pixels.max()) < levels:
        raise ImageError(
            f"Expected {expected}, but the pixels range from {int(pixels.min())} to {int(pixels.max())}. "
            f"Quantise them to {levels} levels first."
        )
    return pixels.to(device)


def _axes_hint(pixels: Tensor, channels: int) -> str:
    """How to add the axes that a single image lacks, as a sentence; "" if it does not lack just those."""
    if pixels.ndim == 3 and pixels.shape[0] == channels:
        return " To add the batch axis, use images[None]."
    if channels == 1 and pixels.ndim == 3:
        return " To add the channel axis, use images[:, None]."
    if channels == 1 and pixels.ndim == 2:
        return " To add the batch and channel axes, use images[None, None]."
    return ""


def checked_mask(known: Images, pixels: Tensor) -> Tensor:
    """The mask of known pixels, broadcast to the images' batch and size: (B, 1, H, W) bool.

    Raises: ImageError if it does not fit
    """
    mask = _as_tensor(known)
    wanted = (pixels.shape[0], 1, *pixels.shape[2:])
    if mask.dtype != torch.bool:
        raise ImageError(f"`known` must be a bool mask (True is known), but it is {mask.dtype}.")
    try:
        return mask.to(pixels.device).broadcast_to(wanted)
    except RuntimeError as error:
        raise ImageError(
            f"`known` has the shape {tuple(mask.shape)}, which cannot be broadcast to {wanted}. "
            "Pass one mask (H, W) or one per image (B, 1, H, W)."
        ) from error


def pair(size: Sequence[int]) -> tuple[int, int]:
    """`size` as a tuple (H, W).

    Raises: ConfigError if it is not a pair

    >>> pair([28, 28])
    (28, 28)
    """
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise ConfigError(f"size must be (H, W), two whole numbers, not {size!r}.")
    return size[0], size[1]


def is_integer(value: Any) -> bool:
    """Whether the value is an integer of Python or NumPy; a bool is not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def at_least(name: str, value: int, least: int) -> int:
    """`value` as an int, if it is a whole number of `least` or more.

    Raises: ConfigError if it is not

    >>> at_least("n", 16, least=1)
    16
    """
    if not is_integer(value) or value < least:
        raise ConfigError(f"{name} must be a whole number, {least} or more, not {value!r}.")
    return int(value)


def class_number(name: str, names: Sequence[str]) -> int:
    """The number of a class from its name or number; if a number is also a name, it is taken as the name.

    Raises: ConditionError if there is no such class

    >>> class_number("circle", ["square", "circle"]), class_number("0", ["square", "circle"])
    (1, 0)
    """
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    if name.isdecimal():
        raise ConditionError(f"There is no class number {name}: classes are numbered 0..{len(names) - 1}.")
    raise ConditionError(str(unknown("class", name, names, f"Numbers 0..{len(names) - 1} work too.")))


def check_memory(what: str, needed: int, device: torch.device) -> None:
    """Refuse work before it takes memory that is not there.

    The limit is what is free on the device (and what a container's control group leaves), or the environment variable
    PIXELRNN_MEMORY_LIMIT, in bytes.

    Raises: MemoryLimitError if `needed` bytes are more than that; ConfigError if the variable is no number

    >>> check_memory("Two images", 2 * 28 * 28, torch.device("cpu"))
    """
    if needed < _ALWAYS_THERE and "PIXELRNN_MEMORY_LIMIT" not in os.environ:
        return
    free = _free_memory(device)
    if needed > free:
        raise MemoryLimitError(
            f"{what} would need at least {needed / 2**30:,.1f} GiB of memory, but {free / 2**30:,.1f} GiB are free. "
            "Use fewer or smaller images, or a smaller batch_size."
        )


_ALWAYS_THERE = 1 << 26  # bytes


def _free_memory(device: torch.device) -> int:
    limit = os.environ.get("PIXELRNN_MEMORY_LIMIT")
    if limit is not None:
        if not limit.isdecimal():
            raise ConfigError(f"PIXELRNN_MEMORY_LIMIT must be a number of bytes, not {limit!r}.")
        return int(limit)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        group = Path("/sys/fs/cgroup")  # where every Linux has it
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no control group, or none with a limit
    return free


def _as_tensor(images: Images) -> Tensor:
    """A tensor from any array, including those that are read-only, memory-mapped, have negative strides, or a dtype or
    byte order that torch lacks."""
    if isinstance(images, np.ndarray):
        kind = np.int64 if images.dtype.kind in "iu" and images.dtype != np.uint8 else images.dtype.newbyteorder("=")
        images = np.array(images, dtype=kind, order="C")
    try:
        tensor = torch.as_tensor(images)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ImageError(f"Expected an array or tensor of integers, not {type(images).__name__}: {error}.") from error
    return tensor.long() if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64) else tensor
