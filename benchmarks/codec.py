"""Lossless compression: bits/dim of whole files and seconds, beside PNG, WebP and JPEG XL.

    python benchmarks/codec.py PICTURES... --model photo --gray photo-gray --set cifar10:valid:cifar10-local \\
        --out docs/codec.md --plot docs/images/codec.png

The other codecs are those of imagecodecs (pip install imagecodecs), each at the setting that is named. Every codec
compresses each picture into a file of its own, headers included, and its decoded pixels are compared. Seconds are for
all pictures together, without reading and writing files, and without verification. Gray pictures are made of the
pictures by Pillow. The images of a data set (name:split:model) share one archive; JPEG XL has them as one picture, side
by side, and one by one.
"""

from __future__ import annotations

import argparse
import io
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
import torch
from common import write_between_marks
from PIL import Image

import pixelrnn
from pixelrnn.codec import Reader, Writer
from pixelrnn.codec.files import Image as Named
from pixelrnn.codec.files import read_images, write_images
from pixelrnn.data.decode import decode_exactly
from pixelrnn.measure.evaluation import levels_for, load_like


class Codec(NamedTuple):
    """Pixels (H, W, 3) or (H, W) to bytes and back."""

    name: str
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes], np.ndarray]


def ours(folder: str) -> Codec:
    model, name = pixelrnn.load(folder), Path(folder).name

    def encode(pixels: np.ndarray) -> bytes:
        planes = pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
        file = io.BytesIO()
        writer = Writer(file, model, name)
        writer.add(planes[None], ["a.png"], lambda _: None, verify=False)
        writer.close()
        return file.getvalue()

    def decode(data: bytes) -> np.ndarray:
        reader = Reader(io.BytesIO(data))
        (images,) = (reader.decode(model, block, lambda _: None) for block in reader.blocks())
        return images[0, 0] if len(images[0]) == 1 else images[0].transpose(1, 2, 0)

    return Codec(f"pixelrnn, {name}", encode, decode)


def others() -> list[Codec]:
    found = [
        Codec("PNG, level 9", lambda x: imagecodecs.png_encode(x, level=9), imagecodecs.png_decode),
        Codec(
            "WebP, lossless, level 9",
            lambda x: imagecodecs.webp_encode(x, lossless=True, level=9),
            imagecodecs.webp_decode,
        ),
    ]
    return found + [jpeg_xl(effort) for effort in (3, 7, 9)]


def jpeg_xl(effort: int) -> Codec:
    threads = torch.get_num_threads()
    return Codec(
        f"JPEG XL, effort {effort}",
        lambda x: imagecodecs.jpegxl_encode(x, lossless=True, effort=effort, numthreads=threads),
        lambda data: imagecodecs.jpegxl_decode(data, numthreads=threads),
    )


Point = tuple[str, float, float, float]


def compare(codecs: list[Codec], pictures: list[np.ndarray], names: list[str]) -> tuple[list[str], list[Point]]:
    """A table of all codecs on all pictures, and for each codec its name, bits/dim, and the megapixels a second."""
    pixels = sum(each.shape[0] * each.shape[1] for each in pictures)
    values = sum(each.size for each in pictures)
    rows, points = [], []
    for codec in codecs:
        codec.decode(codec.encode(pictures[0][:40]))  # what is loaded once
        began = time.perf_counter()
        files = [codec.encode(each) for each in pictures]
        between = time.perf_counter()
        back = [codec.decode(each) for each in files]
        ended = time.perf_counter()
        assert all(np.array_equal(one, other) for one, other in zip(pictures, back, strict=True)), codec.name
        each = [8 * len(file) / picture.size for file, picture in zip(files, pictures, strict=True)]
        bits = 8 * sum(map(len, files)) / values
        speeds = [pixels / 1e6 / (between - began), pixels / 1e6 / (ended - between)]
        points.append((codec.name, bits, *speeds))
        cells = [codec.name, *(f"{one:.3f}" for one in each), f"**{bits:.3f}**", *(f"{one:.2f}" for one in speeds)]
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    head = [
        f"| bits/dim | {' | '.join(names)} | all | encoding, megapixels/s | decoding |",
        "|" + "---|" * (len(names) + 4),
    ]
    return head + rows, points


def of_set(described: str) -> str:
    """A row of the table of data sets."""
    name, split, folder = described.split(":")
    model = pixelrnn.load(folder)
    data = load_like(model, name, split)
    images = levels_for(model, data).fixed(data.images)[: len(data)]
    labels = data.labels if model.takes_labels else None
    model.decompress(model.compress(torch.from_numpy(images[:1])))  # so that code is compiled and loaded
    file, began = io.BytesIO(), time.perf_counter()
    writer = Writer(file, model, Path(folder).name)
    each = (Named("", pixels, None if labels is None else int(labels[index])) for index, pixels in enumerate(images))
    write_images(writer, each, lambda _: None, verify=False)
    writer.close()
    between = time.perf_counter()
    file.seek(0)
    reader, count = Reader(file), 0
    for index, image in enumerate(read_images(reader, model, lambda _: None)):
        assert np.array_equal(image.pixels, images[index])
        assert labels is None or image.label == labels[index]
        count += 1
    ended = time.perf_counter()
    assert count == len(images)
    bits, pixels = 8 * writer.size / images.size, count * images.shape[2] * images.shape[3] / 1e6
    cells = [
        f"{name}, {split}, {count:,} images",
        Path(folder).name,
        f"{images.size * bits / count * math.log(2):.2f}",
        f"**{bits:.4f}**",
        *(f"{one:.3f}" for one in of_jpeg_xl(images, model.levels)),
        f"{pixels / (between - began):.3f}",
        f"{pixels / (ended - between):.3f}",
    ]
    row = f"| {' | '.join(cells)} |"
    print(row, flush=True)
    return row


SETS = [
    "| data set | model | nats/image | bits/dim | JPEG XL, effort 9, one picture | JPEG XL, image by image | encoding, "
    "megapixels/s | decoding |",
    "|---|---|---|---|---|---|---|---|",
]


def of_jpeg_xl(images: np.ndarray, levels: int) -> tuple[float, float]:
    """Bits/dim of all images as one picture, and one by one."""
    spread = images * (255 // (levels - 1))
    pictures = [np.ascontiguousarray(each.transpose(1, 2, 0).squeeze()) for each in spread]
    across = math.isqrt(len(pictures))
    rows = [np.concatenate(pictures[first : first + across], 1) for first in range(0, len(pictures), across)]
    rows[-1] = np.concatenate([rows[-1], np.zeros_like(rows[0])[:, rows[-1].shape[1] :]], 1)
    codec = jpeg_xl(9)
    together, apart = len(codec.encode(np.concatenate(rows))), sum(len(codec.encode(each)) for each in pictures)
    return 8 * together / images.size, 8 * apart / images.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--model", action="append", default=[], help="an exact model; may be given several times")
    parser.add_argument("--gray", action="append", default=[], help="an exact model of gray pictures, likewise")
    parser.add_argument("--set", action="append", default=[], dest="sets", help="NAME:SPLIT:MODEL, likewise")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    pictures = [np.ascontiguousarray(decode_exactly(path).transpose(1, 2, 0)) for path in options.pictures]
    names = [path.stem.removeprefix("kodim") for path in options.pictures]
    lines = [f"*{torch.get_num_threads()} threads.*", ""]
    if options.model:
        table, points = compare([*others(), *map(ours, options.model)], pictures, names)
        lines += ["RGB:", "", *table, ""]
        if options.plot:
            draw(points, options.plot)
    if options.gray:
        gray = [np.array(Image.fromarray(each).convert("L")) for each in pictures]
        codecs = [each for each in others() if not each.name.startswith("WebP")]  # it has no gray pictures
        lines += ["Gray:", "", *compare([*codecs, *map(ours, options.gray)], gray, names)[0], ""]
    if options.sets:
        lines += ["Data sets, an archive each:", "", *SETS, *map(of_set, options.sets), ""]
    if options.out:
        write_between_marks(options.out, lines[:-1])


def draw(points: list[tuple[str, float, float, float]], path: Path) -> None:
    """Bits/dim against the speed of encoding and decoding, one after the other."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for name, bits, encoding, decoding in points:
        both = 1 / (1 / encoding + 1 / decoding)
        ours = name.startswith("pixelrnn")
        axes.scatter(both, bits, color="tab:red" if ours else "tab:gray", zorder=3)
        axes.annotate(name, (both, bits), xytext=(6, 4), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel("encoding and decoding together, megapixels a second")
    axes.set_ylabel("bits/dim, whole files")
    axes.set_xlim(right=axes.get_xlim()[1] * 4)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
