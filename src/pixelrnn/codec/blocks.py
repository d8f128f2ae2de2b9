"""Images of one size, as streams: by compiled code where there is some, else on PyTorch, bit for bit the same.

On PyTorch an encoder runs the network on whole images at once, and a decoder front by front.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelrnn.canvas import Incremental, Reach, Region, Whole
from pixelrnn.checks import check_memory
from pixelrnn.codec import rans
from pixelrnn.codec.compiled import Coder, coder_of
from pixelrnn.codec.schedule import Schedule, schedule_of
from pixelrnn.errors import CodecError
from pixelrnn.exact import IntegerHead
from pixelrnn.heads import Head
from pixelrnn.layers.condition import Condition
from pixelrnn.networks import LocalPixelCNN, Network
from pixelrnn.program import Programs, UnknownStepError, native

_ENCODING, _DECODING = (
    18,
    6,
)  # bytes for each symbol of a block, about: intervals, words, pixels as the network sees them
_AT_ONCE = 1 << 16  # pixels in one pass of the network


class ExactModel(Protocol):
    """What the codec needs of a model in whole numbers."""

    network: Network
    head: Head
    condition: Condition | None
    channels: int
    levels: int
    config: dict[str, Any]

    @property
    def dtype(self) -> torch.dtype: ...

    def in_order(self, images: Tensor, *, back: bool = False) -> Tensor: ...

    def _checked_condition(
        self, n: int, size: tuple[int, int], label: Any, vector: Any, condition_map: Any
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]: ...

    def state_dict(self) -> Mapping[str, Tensor]: ...


Progress = Callable[[int], None]
"""Called with the number of pixels that were done since the last call."""

NO_LABEL = -1
Labels = Sequence[int]
"""Of images, for a model that takes labels: 0..classes-1, or NO_LABEL."""


@torch.inference_mode()
def encode(model: ExactModel, images: Tensor, labels: Labels | None, progress: Progress) -> list[bytes]:
    """The streams of images (N, C, H, W) uint8."""
    _check_fits(images.numel(), _ENCODING)
    images, s = model.in_order(images), _condition_map(model, labels)
    schedule, found = schedule_of(model.network, *images.shape[2:]), []
    coder = _coder(model, schedule, np.ascontiguousarray(images.numpy()), s)
    if coder is not None:
        found = coder.encode()
        progress(images[:, 0].numel())
        return found
    starts, sizes = _intervals(model, images, s, progress)
    for order in schedule.orders(len(images), images.shape[1]):
        found.append(rans.encode(starts.ravel()[order].tolist(), sizes.ravel()[order].tolist()))
    return found


def _intervals(
    model: ExactModel, images: Tensor, s: Tensor | None, progress: Progress
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where every symbol begins and how many of 2^24 belong to it, on PyTorch: (N, C, H, W) each."""
    starts, sizes = np.empty(images.shape, np.int64), np.empty(images.shape, np.int64)
    for where, some, above in _parts(model, images):
        params = model.network(Whole(model.head.seen(some, model.dtype), None if s is None else s[where[0]]))
        start, size = (each[:, :, above:].numpy() for each in _head(model).intervals(params, some))
        starts[where], sizes[where] = start, size
        progress(start[:, 0].size)
    return starts, sizes


@torch.inference_mode()
def best_labels(model: ExactModel, images: Tensor) -> list[int]:
    """For each image the label with which it takes the fewest bits, or none, for a model that takes labels."""
    assert model.condition is not None
    images, bits = model.in_order(images), []
    for label in range(NO_LABEL, model.condition.classes):
        s = _condition_map(model, [label] * len(images))
        _, sizes = _intervals(model, images, s, lambda _: None)
        bits.append(-np.log2(sizes).sum((1, 2, 3)))
    found: list[int] = (np.argmin(bits, 0) + NO_LABEL).tolist()
    return found


def _condition_map(model: ExactModel, labels: Labels | None) -> Tensor | None:
    """What the network is conditioned on, (N, maps, 1, 1): zeros without a label."""
    if model.condition is None or labels is None:
        return None
    assert model.condition.label is not None
    embedded = F.pad(model.condition.label.weight, (0, 0, 1, 0))  # a row of zeros for NO_LABEL
    return embedded[torch.tensor(labels) - NO_LABEL][:, :, None, None]


def _check_fits(symbols: int, each: int) -> None:
    """Raises MemoryLimitError if so many symbols would not fit into memory at a time."""
    check_memory(f"A block of {symbols:,} values", symbols * each, torch.device("cpu"))


def _parts(model: ExactModel, images: Tensor) -> Iterator[tuple[tuple[slice, ...], Tensor, int]]:
    """What one pass takes: where its parameters belong, the images or a strip of them, and its first rows that are
    there only to be seen."""
    count, _, height, width = images.shape
    at_once = max(1, _AT_ONCE // (height * width))
    if at_once > 1 or not isinstance(model.network, LocalPixelCNN) or not model.network.reads_image_alone:
        for first in range(0, count, at_once):
            yield (slice(first, first + at_once),), images[first : first + at_once], 0
        return
    side, rows = model.network.side, max(8, _AT_ONCE // width)
    for image in range(count):
        for top in range(0, height, rows):
            above = min(side, top)
            strip = images[image : image + 1, :, top - above : top + rows]
            yield (slice(image, image + 1), slice(None), slice(top, top + rows)), strip, above


@torch.inference_mode()
def decode(
    model: ExactModel,
    streams: list[bytes],
    count: int,
    size: tuple[int, int],
    labels: Labels | None,
    progress: Progress,
) -> npt.NDArray[np.uint8]:
    """The images (count, C, H, W) of some streams.

    Raises: CodecError if the streams do not hold so many images, or are damaged
    """
    schedule = schedule_of(model.network, *size)
    if len(streams) != schedule.streams:
        raise CodecError(
            f"Images of {size[0]} x {size[1]} have {schedule.streams} streams, but there are {len(streams)}."
        )
    _check_fits(count * model.channels * size[0] * size[1], _DECODING)
    pixels = np.zeros((count, model.channels, *size), dtype=np.uint8)
    s = _condition_map(model, labels)
    coder = _coder(model, schedule, pixels, s)
    if coder is not None:
        coder.decode(streams)
        progress(pixels[:, 0].size)
        return model.in_order(torch.from_numpy(pixels), back=True).numpy()
    readers = [rans.Stream(each) for each in streams]
    if schedule.one_by_one:
        for image in range(count):
            _decode(model, schedule, readers, pixels[image : image + 1], _Scattered(model, size), progress)
    else:
        _decode(model, schedule, readers, pixels, _InOrder(model, count, size, s), progress)
    for reader in readers:
        reader.check_end()
    return model.in_order(torch.from_numpy(pixels), back=True).numpy()


def _coder(
    model: ExactModel, schedule: Schedule, pixels: npt.NDArray[np.uint8], condition_map: Tensor | None
) -> Coder | None:
    """Compiled code for these images; None if there is none."""
    if not pixels.size:
        return None
    try:
        return coder_of(model.network, _head(model), _PROGRAMS, schedule, pixels, condition_map)
    except (UnknownStepError, native.KernelError):
        return None


_PROGRAMS = Programs()


def _decode(
    model: ExactModel,
    schedule: Schedule,
    readers: list[rans.Stream],
    pixels: npt.NDArray[np.uint8],
    seen: _InOrder | _Scattered,
    progress: Progress,
) -> None:
    """Decode images (N, C, H, W) in place, front by front."""
    head, count = _head(model), len(pixels)
    for index in range(schedule.fronts):
        rows, columns = schedule.front(index)
        if not len(rows):
            continue
        of_row = [readers[row // schedule.rows] for row in rows]
        for channel in range(model.channels):
            if channel == 0 or head.groups > 1:
                params = seen.params(rows, columns)  # (count, params, 1, pixels)
            here = torch.from_numpy(pixels[:, :, rows, columns])[:, :, None]
            table = head.cumulated(params, here, channel)[:, 0].numpy()  # (count, pixels, levels + 1)
            values = np.empty((count, len(rows)), dtype=np.uint8)
            for image in range(count):
                for place, reader in enumerate(of_row):
                    line = table[image, place]
                    level = int(line.searchsorted(reader.slot(), "right")) - 1
                    reader.take(int(line[level]), int(line[level + 1] - line[level]))
                    values[image, place] = level
            pixels[:, channel, rows, columns] = values
            seen.show(rows, columns, channel, values)
        progress(count * len(rows))


def _head(model: ExactModel) -> IntegerHead:
    assert isinstance(model.head, IntegerHead)
    return model.head


class _InOrder:
    """Raster order, a pixel at a time, on the incremental canvas: every layer caches its past."""

    def __init__(self, model: ExactModel, count: int, size: tuple[int, int], s: Tensor | None) -> None:
        shape = (count, model.channels, *size)
        self.model, self.canvas = model, Incremental(shape, model.dtype, torch.device("cpu"), s)
        self.pixels = torch.zeros(count, model.channels, 1, dtype=torch.uint8)
        self.row, self.width = -1, size[1]

    def params(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> Tensor:
        (row,), (column,) = rows.tolist(), columns.tolist()
        if row != self.row:
            self.row = row
            self.canvas.begin(Region(row, 0, self.width))
            self.canvas.write(torch.zeros(*self.pixels.shape[:2], self.width, dtype=self.model.dtype))
        self.canvas.begin(Region(row, column, 1))
        return self.canvas.run(self.model.network)

    def show(
        self,
        rows: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
        channel: int,
        values: npt.NDArray[np.uint8],
    ) -> None:
        self.pixels[:, channel] = torch.from_numpy(values)
        self.canvas.begin(Region(int(rows[0]), int(columns[0]), 1))
        self.canvas.write(self.model.head.seen(self.pixels, self.model.dtype))


class _Scattered:
    """Any pixels of an image, for a network that reads nothing but the image around them."""

    def __init__(self, model: ExactModel, size: tuple[int, int]) -> None:
        assert isinstance(model.network, LocalPixelCNN)
        self.model, side = model, model.network.side
        image = torch.zeros(1, model.channels, *size, dtype=model.dtype)
        self.image = F.pad(image, (side, side, side, 0))
        self.down, self.right = np.arange(side + 1)[:, None], np.arange(2 * side + 1)
        self.side = side

    def params(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> Tensor:
        near = self.image[:, :, rows[:, None, None] + self.down, columns[:, None, None] + self.right]
        windows = near.permute(0, 2, 1, 3, 4).flatten(0, 1)  # (count * pixels, C, side + 1, 2 side + 1)
        params: Tensor = self.model.network(_Windows(windows, self.side))
        return params.view(len(self.image), len(rows), -1, 1).permute(0, 2, 3, 1)

    def show(
        self,
        rows: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
        channel: int,
        values: npt.NDArray[np.uint8],
    ) -> None:
        shown = self.model.head.seen(torch.from_numpy(values), self.model.dtype)
        self.image[:, channel, rows + self.side, columns + self.side] = shown


class _Windows(Whole):
    """A canvas over pixels that do not know each other: a window of the image around each of them."""

    def __init__(self, windows: Tensor, side: int) -> None:
        super().__init__(windows)
        self.side = side

    def look(self, reach: Reach) -> Tensor:
        side = self.side
        rows = slice(side - reach.up, side + reach.down + 1)
        return self.image[:, :, rows, side - reach.left : side + reach.right + 1]
