"""The labels of a block as bytes: those of up to 64 images are the digits of one number, to the base classes + 1."""

from __future__ import annotations

from pixelrnn.codec.blocks import NO_LABEL, Labels
from pixelrnn.errors import CodecError

_TOGETHER = 64  # labels in one number


def packed_labels(labels: Labels, classes: int) -> bytes:
    """The labels of images as bytes, of `labels_size`."""
    found = b""
    for first in range(0, len(labels), _TOGETHER):
        some, number = labels[first : first + _TOGETHER], 0
        for label in reversed(some):
            number = number * (classes + 1) + label - NO_LABEL
        found += number.to_bytes(labels_size(len(some), classes), "little")
    return found


def labels_size(count: int, classes: int) -> int:
    """Bytes of the labels of so many images."""

    def of(some: int) -> int:
        return -(-((classes + 1) ** some - 1).bit_length() // 8)

    return count // _TOGETHER * of(_TOGETHER) + of(count % _TOGETHER)


def unpacked_labels(data: bytes, count: int, classes: int) -> list[int]:
    """The labels of `packed_labels`.

    Raises: CodecError if there are none that would give these bytes

    >>> unpacked_labels(packed_labels([2, NO_LABEL, 0] * 50, classes=3), 150, classes=3) == [2, NO_LABEL, 0] * 50
    True
    """
    found, at = [], 0
    for first in range(0, count, _TOGETHER):
        some = min(_TOGETHER, count - first)
        size = labels_size(some, classes)
        number, at = int.from_bytes(data[at : at + size], "little"), at + size
        for _ in range(some):
            number, digit = divmod(number, classes + 1)
            found.append(digit + NO_LABEL)
        if number:
            raise CodecError("The file is damaged: there are no such labels.")
    return found
