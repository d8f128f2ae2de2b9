"""Lossless compression with a model in whole numbers."""

from pixelrnn.codec.archive import Block, Header, Reader, Writer, fingerprint, packed
from pixelrnn.codec.blocks import ExactModel

__all__ = ["Block", "ExactModel", "Header", "Reader", "Writer", "fingerprint", "packed"]
