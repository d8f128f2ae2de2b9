"""The memory of a training: an estimate of what it needs, and freed memory kept for the next step."""

from __future__ import annotations

import ctypes
import sys

import torch
from torch import Tensor

from pixelrnn.model import PixelModel

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt, in glibc's malloc.h


def keep_freed_memory() -> None:
    """Make glibc keep freed memory in this process; does nothing with other C libraries.

    By default glibc returns large blocks to the system at once, which has to clear the pages when they are allocated
    again: on a CPU that can take a quarter of a training step. The process stays as large as it ever was.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def kept_for_backward(model: PixelModel, *, bf16: bool) -> int:
    """The bytes that one image of the model's size adds to what a training step keeps for its backward pass.

    Measured, as the difference between a forward pass of two images and of one.
    """
    one, two = (_kept(model, images, bf16) for images in (1, 2))
    return two - one


def _kept(model: PixelModel, images: int, bf16: bool) -> int:
    """The bytes that a forward pass keeps, each piece of memory once."""
    pieces: dict[int, Tensor] = {}  # the tensors are held, so that no memory is used twice

    def keep(x: Tensor) -> Tensor:
        pieces[x.untyped_storage().data_ptr()] = x
        return x

    pixels = torch.zeros(images, model.channels, *model.size, dtype=torch.uint8)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x), torch.autocast("cpu", torch.bfloat16, bf16):
        model.log_prob(pixels, check=False)
    return sum(each.untyped_storage().nbytes() for each in pieces.values())
