"""What a walk keeps in memory, counted before it begins."""

from __future__ import annotations

import torch

from pixelrnn.canvas import Incremental, Order, Ordered, Region
from pixelrnn.checks import check_memory
from pixelrnn.networks import Network

_MANY_COLUMNS = 100_000  # of all images of a batch together: above this, it is worth measuring the cache of a walk


def check_walk_fits(
    network: Network, batch: int, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device
) -> None:
    """Check a walk over a batch of images (C, H, W), and what it caches of them.

    Raises: MemoryLimitError if that would not fit into memory
    """
    channels, height, width = shape
    needed = batch * height * width * (8 * channels + 4 * channels + 2)  # random numbers; guesses and masks
    networks = [stage.network for stage in network.stages()]
    if batch * height * width > _MANY_COLUMNS and any(each.remembers for each in networks):
        # Half as much again as is kept of all pixels: the memory of keys and values is doubled by copying it.
        one, two = (_kept_of_pixels(network, channels, count, dtype, device) for count in (1, 2))
        needed += 3 * batch * height * width * (two - one) * dtype.itemsize // 2
    if batch * width > _MANY_COLUMNS:
        narrow, wide = (
            sum(_kept_of_rows(each, channels, columns, dtype, device) for each in networks) for columns in (1, 2)
        )
        needed += batch * (narrow + (wide - narrow) * (width - 1)) * dtype.itemsize
    check_memory(f"To draw {batch} images of {height} x {width} at a time", needed, device)


@torch.inference_mode()
def _kept_of_rows(network: Network, channels: int, width: int, dtype: torch.dtype, device: torch.device) -> int:
    """The number of values that a walk over one image of this width caches of its rows."""
    if network.orders == "any":
        return 0
    canvas = Incremental((1, channels, 1, width), dtype, device)
    canvas.begin(Region(0, 0, width))
    canvas.run(network)
    return canvas.memory


@torch.inference_mode()
def _kept_of_pixels(network: Network, channels: int, count: int, dtype: torch.dtype, device: torch.device) -> int:
    """The number of values that a walk over so many pixels keeps of them until its end."""
    shape = (1, channels, 1, count)
    if network.orders == "any":
        ordered = Ordered(shape, dtype, device, Order.raster(1, count))
        ordered.begin(0, count)
        network(ordered)
        return ordered.memory
    canvas = Incremental(shape, dtype, device)
    canvas.begin(Region(0, 0, count))
    network(canvas)
    return canvas.memory_of_pixels
