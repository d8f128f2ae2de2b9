"""Lossless compression with a model in whole numbers."""

from pixelrnn.codec.archive import Block, Header, Reader, Writer, fingerprint, packed
from pixelrnn.codec.blocks import NO_LABEL, ExactModel

__all__ = ["NO_LABEL", "Block", "ExactModel", "Header", "Reader", "Writer", "fingerprint", "packed"]
