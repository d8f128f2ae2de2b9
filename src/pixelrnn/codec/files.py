"""Archives on disk: images are gathered into blocks, blocks are coded side by side, and written in order."""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import torch

from pixelrnn.codec.archive import Block, Damage, Pixels, Reader, Writer, packed
from pixelrnn.codec.blocks import ExactModel, Progress
from pixelrnn.codec.schedule import schedule_of
from pixelrnn.errors import CodecError

IN_A_BLOCK = 1 << 19
"""Bits, before compression, of the images that share a block; one image at least.

A block has two dozen bytes of its own; of a larger one the feature maps would not fit into a cache.
"""


class Image(NamedTuple):
    """An image (C, H, W), its name, "" for none, its label: NO_LABEL for none, None to be chosen, and which one of an
    archive it is, from 0."""

    name: str
    pixels: Pixels
    label: int | None = None
    number: int = 0


def write_images(
    writer: Writer, images: Iterable[Image], progress: Progress, *, verify: bool = True, threads: int | None = None
) -> None:
    """Compress images, one after the other as they come; consecutive ones of the same size share blocks.

    The bytes do not depend on `threads`: a block with streams for all of them is coded by them together, others side by
    side. So many blocks are in memory, whatever the number of images.

    Raises: CodecError as `Writer.add`
    """
    threads = torch.get_num_threads() if threads is None else threads
    waiting: deque[tuple[Future[bytes], int]] = deque()

    def finish(most: int) -> None:
        while len(waiting) > most:
            block, count = waiting.popleft()
            writer.write(block.result(), count)

    def pack(some: list[Image]) -> bytes:
        pixels, names = np.stack([each.pixels for each in some]), [each.name for each in some if each.name]
        labels = [each.label for each in some if each.label is not None]
        return packed(writer.model, pixels, names, labels or None, progress, verify=verify)

    with ThreadPoolExecutor(threads) as pool:
        for some in _blocks(images, (writer.model.levels - 1).bit_length()):
            if schedule_of(writer.model.network, *some[0].pixels.shape[1:]).streams >= threads:
                finish(0)
                writer.write(pack(some), len(some))
                continue
            waiting.append((pool.submit(pack, some), len(some)))
            finish(threads)
        finish(0)


def _blocks(images: Iterable[Image], bits: int) -> Iterator[list[Image]]:
    some: list[Image] = []
    for image in images:
        full = (len(some) + 1) * image.pixels.size * bits > IN_A_BLOCK
        if some and (full or _kind(some[0]) != _kind(image)):
            yield some
            some = []
        some.append(image)
    if some:
        yield some


def _kind(image: Image) -> tuple[tuple[int, ...], bool, bool]:
    """What the images of a block have in common."""
    return image.pixels.shape, bool(image.name), image.label is None


def read_images(
    reader: Reader,
    model: ExactModel,
    progress: Progress,
    *,
    only: Collection[str] = (),
    threads: int | None = None,
    on_damage: Callable[[Damage, int], None] | None = None,
) -> Iterator[Image]:
    """The images of an archive in order, or those with some names: other blocks are not decoded then.

    Arguments: only, names in any Unicode form; an image without a name is known by its number, from 0
               on_damage, called with each block that is damaged and the number of its first image, and the others are
               read; None: it is an error
    Raises:    CodecError if the archive is damaged, beyond what `on_damage` is told, or has no image of such a name
    """
    threads = torch.get_num_threads() if threads is None else threads
    waiting: deque[tuple[Future[Pixels], Block, list[str], int]] = deque()
    wanted, missing, total = {_normal(name) for name in only}, {_normal(name) for name in only}, 0
    unnamed = False  # whether images are lost of which nobody knows whether they had names

    def finish(most: int) -> Iterator[Image]:
        while len(waiting) > most:
            images, block, known_as, first = waiting.popleft()
            try:
                decoded = images.result()
            except CodecError as error:
                if on_damage is None:
                    raise
                on_damage(Damage(block.images, block.names, block.pixels, error), first)
                continue
            for index, pixels in enumerate(decoded):
                if not wanted or known_as[index] in wanted:
                    name, label = (
                        block.names[index] if block.names else "",
                        block.labels[index] if block.labels else None,
                    )
                    yield Image(name, pixels, label, first + index)

    with ThreadPoolExecutor(threads) as pool:
        for block in reader.parts():
            numbers = range(total, total + block.images)
            known_as = [_normal(name) for name in block.names] or [str(number) for number in numbers]
            total += block.images
            unnamed |= isinstance(block, Damage) and not block.names
            if wanted and wanted.isdisjoint(known_as):
                progress(block.pixels)
                continue
            missing.difference_update(known_as)
            if isinstance(block, Damage):
                if on_damage is None:
                    raise block.error
                yield from finish(0)
                on_damage(block, numbers.start)
                continue
            waiting.append((pool.submit(reader.decode, model, block, progress), block, known_as, numbers.start))
            alone = schedule_of(model.network, block.height, block.width).streams >= threads
            yield from finish(0 if alone else threads)
        yield from finish(0)
    if missing:
        damaged = ", or it is in a part that is damaged" if unnamed else ""
        raise CodecError(f"The file has no image {min(missing)!r}{damaged}; pixelrnn inspect lists their names.")


def _normal(name: str) -> str:
    """A name in the composed form of Unicode: some file systems decompose letters with marks.

    >>> _normal("e\u0301") == "\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def safe_name(name: str) -> PurePosixPath:
    """The path of an image within a folder.

    Raises: CodecError if it would lead out of the folder
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or any(each in name for each in "\\:\0\n"):
        raise CodecError(f"The file names an image {name!r}, which is no name of a file in a folder.")
    return path
