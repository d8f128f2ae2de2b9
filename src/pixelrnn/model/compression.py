"""Lossless compression, as methods of a model."""

from __future__ import annotations

import io

import torch
from torch import Tensor

from pixelrnn.checks import Images, checked_images
from pixelrnn.codec import ExactModel, Reader, Writer
from pixelrnn.codec.files import Image, read_images, write_images
from pixelrnn.errors import CodecError


class CompressionMixin:
    """`compress` and `decompress`, for a model that was `quantised`."""

    def compress(self: ExactModel, images: Images, *, verify: bool = True) -> bytes:
        """Images (B, C, H, W) as bytes, from which `decompress` makes exactly the same images on any machine.

        They take as many bits as `log_prob` says, and a few dozen bytes more; never more than the pixels themselves and
        64 bytes for each image.

        Arguments: verify, decompress every block and compare, as a guard against a machine that miscalculates
        Raises:    CodecError if the model is not exact, ImageError if the images do not fit the model

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
        write_images(writer, (Image("", each) for each in pixels), _nothing, verify=verify)
        writer.close()
        return file.getvalue()

    def decompress(self: ExactModel, data: bytes) -> Tensor:
        """The images that were compressed by this model, (B, C, H, W) uint8.

        Raises: CodecError if the data are damaged, of another model, or of images of several sizes
        """
        reader = Reader(io.BytesIO(data))
        reader.check_model(self)
        found = [torch.from_numpy(image.pixels) for image in read_images(reader, self, _nothing)]
        if len({each.shape for each in found}) > 1:
            raise CodecError("The images have several sizes: decompress them with  pixelrnn decompress")
        return torch.stack(found) if found else torch.zeros(0, self.channels, 1, 1, dtype=torch.uint8)


def _nothing(pixels: int) -> None:
    """No progress is shown."""
