"""Lossless compression, as methods of a model."""

from __future__ import annotations

import io
from typing import Any, Literal, overload

import torch
from torch import Tensor

from pixelrnn.checks import Images, checked_images
from pixelrnn.codec import NO_LABEL, ExactModel, Reader, Writer
from pixelrnn.codec.files import Image, read_images, write_images
from pixelrnn.errors import CodecError


class CompressionMixin:
    """`compress` and `decompress`, for a model that was `quantised`."""

    def compress(self: ExactModel, images: Images, *, label: Any = None, verify: bool = True) -> bytes:
        """Images (B, C, H, W) as bytes, from which `decompress` makes exactly the same images on any machine.

        They take as many bits as `log_prob` says, and a few dozen bytes more; never more than the pixels themselves and
        64 bytes for each image.

        Arguments:
            label   of all images or of each, which is kept with them, if the model takes labels; None: the label with
                    which an image takes the fewest bytes
            verify  decompress every block and compare, as a guard against a machine that miscalculates
        Raises:     CodecError if the model is not exact, ImageError if the images do not fit the model, ConditionError
                    if the label does not

        >>> import pixelrnn
        >>> model = pixelrnn.build("pixelcnn", size=(8, 8), levels=2, layers=1, width=4)
        >>> images = torch.randint(0, 2, (16, 1, 8, 8), dtype=torch.uint8)
        >>> exact = model.quantised(images)
        >>> blob = exact.compress(images)
        >>> bool((exact.decompress(blob) == images).all())
        True
        """
        pixels = checked_images(images, self.channels, self.levels, torch.device("cpu")).to(torch.uint8).numpy()
        file = io.BytesIO()
        writer = Writer(file, self, "")
        labels = _labels_of(self, len(pixels), label)
        some = (Image("", each, one) for each, one in zip(pixels, labels, strict=True))
        write_images(writer, some, _nothing, verify=verify)
        writer.close()
        return file.getvalue()

    @overload
    def decompress(self: ExactModel, data: bytes) -> Tensor: ...
    @overload
    def decompress(self: ExactModel, data: bytes, *, labels: Literal[True]) -> tuple[Tensor, Tensor]: ...
    def decompress(self: ExactModel, data: bytes, *, labels: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """The images that were compressed by this model, (B, C, H, W) uint8.

        Arguments: labels, return the label of each as well, (B,), -1 for none
        Raises: CodecError if the data are damaged, of another model, or of images of several sizes
        """
        reader = Reader(io.BytesIO(data))
        reader.check_model(self)
        found = list(read_images(reader, self, _nothing))
        if len({each.pixels.shape for each in found}) > 1:
            raise CodecError("The images have several sizes: decompress them with  pixelrnn decompress")
        images = torch.zeros(0, self.channels, 1, 1, dtype=torch.uint8)
        if found:
            images = torch.stack([torch.from_numpy(each.pixels) for each in found])
        if not labels:
            return images
        return images, torch.tensor([NO_LABEL if each.label is None else each.label for each in found])


def _labels_of(model: ExactModel, count: int, label: Any) -> list[int | None]:
    """The label of each image, None if it is to be chosen."""
    if label is None:
        return [None] * count
    checked, _, _ = model._checked_condition(count, (1, 1), label, None, None)
    assert checked is not None
    return list(checked.tolist())


def _nothing(pixels: int) -> None:
    """No progress is shown."""
