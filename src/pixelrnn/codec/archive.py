"""Archives: images in one file, as the bits of a model in whole numbers.

    archive  magic "\\x93PRNN", version (1 byte), model: length of its name (1 byte) and name, the first 16 bytes of the
             SHA-256 of its weights, channels (1), levels - 1 (1), in version 2 classes (varint); CRC-32 of all of that
             (4); blocks; the end. Version 1: the model takes no labels; version 2: it does
    block    kind (1 byte: 1 coded, 2 stored); how many images, height, width, length of the names, length of the
             content (varints); CRC-32 of this header (4); the names, deflated; the labels; the content; CRC-32 of
             names, labels and content (4); CRC-32 of the pixels (4)
    end      kind 0, the number of all images (varint), CRC-32 of these (4)

The content of a coded block is, for each stream, its length in 32-bit words (varint) and itself; of a stored block, the
pixels (images, channels, H, W), each row less the one above, deflated. If there are classes, every image has a label,
0 for none and k + 1 for class k; those of up to 64 images are the digits of a number to the base classes + 1, the first
the lowest, in as few bytes as hold the largest such number. Numbers are little-endian; a varint has seven
bits in each byte, the lowest first, and the highest bit set in all but the last.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pixelrnn.codec.blocks import ExactModel, Labels, Progress, best_labels, decode, encode
from pixelrnn.codec.labels import labels_size, packed_labels, unpacked_labels
from pixelrnn.errors import CodecError
from pixelrnn.exact import IntegerHead
from pixelrnn.heads import HEADS, head_options
from pixelrnn.networks import options_of

MAGIC = b"\x93PRNN"
PLAIN, LABELLED = 1, 2  # versions: without and with classes
CODED, STORED, END = 1, 2, 0
LARGEST = 1 << 28
"""Values of a block, at most: what a damaged header can make a reader allocate."""
_MOST_IMAGES = 1 << 20
_NAMES = 1 << 26  # bytes of the names of a block
_MOST_CLASSES = 1 << 16
_MOST_CHANNELS = 255

Pixels = npt.NDArray[np.uint8]


class Header(NamedTuple):
    """What an archive says of its model."""

    model: str
    fingerprint: bytes
    channels: int
    levels: int
    classes: int


class Block(NamedTuple):
    """A part of an archive: images of one size."""

    kind: int
    images: int
    height: int
    width: int
    names: list[str]
    labels: list[int] | None  # of a model that takes them
    content: bytes
    checksum: int  # of the pixels
    size: int  # bytes in the file

    @property
    def pixels(self) -> int:
        """Of all its images."""
        return self.images * self.height * self.width


class Damage(NamedTuple):
    """A block whose content is not what was written, though its place in the file is known."""

    images: int
    names: list[str]  # empty if they have none or cannot be read
    pixels: int
    error: CodecError


def fingerprint(model: ExactModel) -> bytes:
    """Which model it is: the first 16 bytes of the SHA-256 of how it is built and of its integers.

    Options that have their default are left out, so an option that a later version adds changes nothing.
    """
    config = model.config
    defaults = {**options_of(config["network"]), **head_options(HEADS[config["head"]]), "dropout": None}
    ignored = ("dropout", "condition_dropout") if classes_of(model) else ("dropout", "condition")
    options = {
        key: each
        for key, each in config["options"].items()
        if not key.startswith(ignored) and not (key in defaults and each == defaults[key])
    }
    built = {key: config[key] for key in ("network", "head", "channels", "levels", "exact")}
    found = hashlib.sha256(json.dumps({**built, "options": options}, sort_keys=True).encode())
    tensors = model.state_dict()
    for name, each in sorted(tensors.items()):
        if name.endswith(".least") and torch.equal(each, -tensors[name.removesuffix("least") + "most"]):
            continue  # as in models of version 1, whose bounds were symmetric
        found.update(name.encode() + b"\0" + each.double().numpy().astype("<f8").tobytes())
    return found.digest()[:16]


def classes_of(model: ExactModel) -> int:
    """Of which a label names one, 0 if the model takes no labels."""
    return 0 if model.condition is None else model.condition.classes


class Writer:
    """Writes an archive, block by block, to a file that is open for writing."""

    def __init__(self, file: IO[bytes], model: ExactModel, name: str) -> None:
        if not isinstance(model.head, IntegerHead):
            raise CodecError(
                "Only an exact model compresses: make one with  pixelrnn quantise RUN --out RUN-exact   or, in Python, "
                "model.quantised(images)."
            )
        if model.channels > _MOST_CHANNELS:
            raise CodecError(f"An archive holds images of at most {_MOST_CHANNELS} channels, not {model.channels}.")
        self.file, self.model, self.images = file, model, 0
        called = name.encode()[:255]
        classes = classes_of(model)
        head = MAGIC + bytes([LABELLED if classes else PLAIN, len(called)]) + called + fingerprint(model)
        head += bytes([model.channels, model.levels - 1]) + (_varint(classes) if classes else b"")
        self.size = 0
        self._write(head + _crc(head))

    def add(
        self,
        images: Pixels,
        names: list[str],
        progress: Progress,
        *,
        labels: Labels | None = None,
        verify: bool = True,
    ) -> None:
        """Write a block: images (N, C, H, W) of one size, and a name for each, or none at all.

        Arguments: labels, of all images; None: the best ones, if the model takes labels
        Raises: CodecError if `verify` finds that it does not decode to its images
        """
        self.write(packed(self.model, images, names, labels, progress, verify=verify), len(images))

    def write(self, block: bytes, images: int) -> None:
        """Write a block that was packed before, of so many images."""
        self._write(block)
        self.images += images

    def close(self) -> None:
        """Write the end."""
        head = bytes([END]) + _varint(self.images)
        self._write(head + _crc(head))

    def _write(self, data: bytes) -> None:
        self.file.write(data)
        self.size += len(data)


def check_size(channels: int, height: int, width: int) -> None:
    """Raises CodecError for an image that is larger than a block may be."""
    if channels * height * width > LARGEST:
        raise CodecError(
            f"An image of {height} x {width} with {channels} channel(s) has more than {LARGEST:,} values, the most "
            "that an archive takes. Cut it into parts."
        )


def packed(
    model: ExactModel,
    images: Pixels,
    names: list[str],
    labels: Labels | None,
    progress: Progress,
    *,
    verify: bool = True,
) -> bytes:
    """The bytes of a block: see `Writer.add`."""
    count, channels, height, width = images.shape
    check_size(channels, height, width)
    if any("\n" in name for name in names):
        raise CodecError("The name of an image must not have a line break: an archive keeps a name a line.")
    stored, classes = deflated(images), classes_of(model)
    content, kind = stored, STORED
    if classes and labels is None:
        labels = best_labels(model, torch.from_numpy(images))
    streams = encode(model, torch.from_numpy(images), labels, progress)
    coded = b"".join(_varint(len(each) // 4) + each for each in streams)
    if len(coded) < len(stored):
        content, kind = coded, CODED
    if verify and kind == CODED:
        found = decode(model, streams, count, (height, width), labels, progress)
        if not np.array_equal(found, images):
            raise CodecError("A block does not decode to its images: the arithmetic of this machine is not exact.")
    called = zlib.compress("\n".join(names).encode(), 9) if names else b""
    head = bytes([kind]) + b"".join(map(_varint, (count, height, width, len(called), len(content))))
    rest = called + (packed_labels(labels, classes) if labels is not None else b"") + content
    return head + _crc(head) + rest + _crc(rest) + _crc(images.tobytes())


class Reader:
    """Reads an archive from a file that is open for reading.

    Raises: CodecError if it is none, of another version, or damaged
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        head = self.file.read(len(MAGIC) + 2)
        if head[: len(MAGIC)] != MAGIC:
            raise CodecError("This is not a compressed file of pixelrnn: it begins with other bytes.")
        head += self._read(len(MAGIC) + 2 - len(head), "its beginning")
        if head[-2] not in (PLAIN, LABELLED):
            raise CodecError(f"The file has version {head[-2]}, but this package reads 1 and 2. Update pixelrnn.")
        rest = bytearray(self._read(head[-1] + 18, "its beginning"))
        name, print_, (channels, levels) = bytes(rest[: head[-1]]), bytes(rest[head[-1] : -2]), rest[-2:]
        classes = self._number(rest) if head[-2] == LABELLED else 0
        self._check(head + rest, "beginning")
        if classes > _MOST_CLASSES:
            raise CodecError(f"The file is damaged: its model has {classes} classes.")
        self.header = Header(name.decode(errors="replace"), print_, channels, levels + 1, classes)

    def check_model(self, model: ExactModel) -> None:
        """Raises CodecError unless the archive was made with this model."""
        if not isinstance(model.head, IntegerHead) or fingerprint(model) != self.header.fingerprint:
            raise CodecError(
                f"The file was compressed with another model, {self.header.model!r} "
                f"({self.header.fingerprint.hex()[:12]}): only that one can decompress it."
            )

    def blocks(self) -> Iterator[Block]:
        """Every block, with its checksums verified but not decoded.

        Raises: CodecError if a block is damaged, or the file ends too early or goes on behind its end
        """
        for part in self.parts():
            if isinstance(part, Damage):
                raise part.error
            yield part

    def parts(self) -> Iterator[Block | Damage]:
        """Every block, or what is known of a damaged one, behind which the file can still be read.

        Raises: CodecError if the head of a block is damaged, or the file ends too early or goes on behind its end
        """
        images = 0
        while True:
            head = bytearray(self._read(1, "a block"))
            kind = head[0]
            if kind == END:
                total = self._number(head)
                self._check(bytes(head), "end")
                if total != images:
                    raise CodecError(f"The file is damaged: it has {images} images, but should have {total}.")
                if self.file.read(1):
                    raise CodecError("The file is damaged: it goes on behind its end.")
                return
            count, height, width, of_names, of_content = (self._number(head) for _ in range(5))
            self._check(bytes(head), "head of a block")
            pixels = count * height * width
            if kind not in (CODED, STORED) or not 0 < pixels * self.header.channels <= LARGEST:
                raise CodecError(f"The file is damaged: a block of kind {kind} with {pixels} pixels.")
            if count > _MOST_IMAGES or of_names > _NAMES or of_content > 2 * pixels * self.header.channels + 4096:
                raise CodecError("The file is damaged: a block is larger than its images.")
            of_labels = labels_size(count, self.header.classes)
            rest = self._read(of_names + of_labels + of_content, "a block")
            written, (checksum,) = self._read(4, "a block"), struct.unpack("<I", self._read(4, "a block"))
            images += count
            names: list[str] = []
            try:
                names = _names(rest[:of_names], count) if of_names else []
                if written != _crc(rest):
                    raise CodecError(_WRONG.format("block"))
                labelled, content = rest[of_names : of_names + of_labels], rest[of_names + of_labels :]
                labels = unpacked_labels(labelled, count, self.header.classes) if self.header.classes else None
            except CodecError as error:
                yield Damage(count, names, pixels, error)
                continue
            size = len(head) + len(rest) + 12
            yield Block(kind, count, height, width, names, labels, content, checksum, size)

    def decode(self, model: ExactModel, block: Block, progress: Progress) -> Pixels:
        """The images (N, C, H, W) of a block.

        Raises: CodecError if the block is damaged
        """
        shape = (block.images, self.header.channels, block.height, block.width)
        if block.kind == STORED:
            images = inflated(block.content, shape)
            progress(block.pixels)
        else:
            streams = _streams(block.content)
            images = decode(model, streams, block.images, (block.height, block.width), block.labels, progress)
        if zlib.crc32(images.tobytes()) != block.checksum:
            raise CodecError("The file is damaged: its pixels do not have the checksum that they had.")
        return images

    def _read(self, length: int, what: str) -> bytes:
        data = self.file.read(length)
        if len(data) < length:
            raise CodecError(f"The file is damaged: it ends in {what}.")
        return data

    def _number(self, head: bytearray) -> int:
        """The next varint, which is appended to the bytes of the head."""
        number = 0
        for place in range(0, 63, 7):
            head += self._read(1, "a block")
            number |= (head[-1] & 127) << place
            if head[-1] < 128:
                return number
        raise CodecError("The file is damaged: a number has no end.")

    def _check(self, data: bytes, what: str) -> None:
        if self._read(4, f"the {what}") != _crc(data):
            raise CodecError(_WRONG.format(what))


_WRONG = "The file is damaged: the {} does not have the checksum that it had."


def deflated(images: Pixels) -> bytes:
    """Pixels less those above them, deflated. Of what cannot be deflated it is a few bytes longer."""
    less = images.copy()
    less[:, :, 1:] -= images[:, :, :-1]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(less.tobytes()) + packer.flush()


def inflated(data: bytes, shape: tuple[int, ...]) -> Pixels:
    """The images of `deflated`.

    Raises: CodecError if they are not so many pixels
    """
    unpacker, size = zlib.decompressobj(-15), int(np.prod(shape))
    try:
        found = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise CodecError(f"The file is damaged: stored pixels cannot be inflated ({error}).") from error
    if len(found) != size or not unpacker.eof or unpacker.unused_data:
        raise CodecError(f"The file is damaged: {size} stored pixels are {len(found)}.")
    return np.add.accumulate(np.frombuffer(found, np.uint8).reshape(shape), 2, dtype=np.uint8)


def _streams(content: bytes) -> list[bytes]:
    file, found = io.BytesIO(content), []
    while head := file.read(1):
        number, place = head[0] & 127, 7
        while head[0] >= 128:
            head = file.read(1)
            if not head or place > 28:
                raise CodecError("The file is damaged: a stream has no length.")
            number |= (head[0] & 127) << place
            place += 7
        found.append(file.read(4 * number))
        if len(found[-1]) != 4 * number:
            raise CodecError("The file is damaged: a stream ends too early.")
    return found


def _names(data: bytes, count: int) -> list[str]:
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, _NAMES)
        names = text.decode().split("\n")
    except (zlib.error, UnicodeDecodeError) as error:
        raise CodecError(f"The file is damaged: its names cannot be read ({error}).") from error
    if len(names) != count:
        raise CodecError(f"The file is damaged: {count} images have {len(names)} names.")
    return names


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _crc(data: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(data))
