"""Lossless compression: bits/dim of whole files and seconds, beside PNG, WebP and JPEG XL.

    python benchmarks/codec.py PICTURES... [--model photo] [--out docs/codec.md] [--plot docs/images/codec.png]

The other codecs are those of imagecodecs (pip install imagecodecs), each at the setting that is named. Every codec
compresses each picture into a file of its own, headers included, and its decoded pixels are compared. Seconds are for
all pictures together, without reading and writing files, and without verification.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
import torch
from common import write_between_marks

import pixelrnn
from pixelrnn.codec import Reader, Writer
from pixelrnn.data.decode import decode_exactly


class Codec(NamedTuple):
    """Pixels (H, W, 3) to bytes and back."""

    name: str
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes], np.ndarray]


def ours(folder: str, name: str) -> Codec:
    model = pixelrnn.load(folder)

    def encode(pixels: np.ndarray) -> bytes:
        file = io.BytesIO()
        writer = Writer(file, model, name)
        writer.add(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]), ["a.png"], lambda _: None, verify=False)
        writer.close()
        return file.getvalue()

    def decode(data: bytes) -> np.ndarray:
        reader = Reader(io.BytesIO(data))
        (images,) = (reader.decode(model, block, lambda _: None) for block in reader.blocks())
        return images[0].transpose(1, 2, 0)

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
    for effort in (3, 7, 9):
        found.append(
            Codec(
                f"JPEG XL, effort {effort}",
                lambda x, effort=effort: imagecodecs.jpegxl_encode(
                    x, lossless=True, effort=effort, numthreads=torch.get_num_threads()
                ),
                lambda data: imagecodecs.jpegxl_decode(data, numthreads=torch.get_num_threads()),
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--model", action="append", help="an exact model; may be given several times")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    pictures = [decode_exactly(path).transpose(1, 2, 0) for path in options.pictures]
    pictures = [np.ascontiguousarray(each) for each in pictures]
    pixels = sum(each.size // 3 for each in pictures)
    rows, points = [], []
    for codec in [*others(), *(ours(each, Path(each).name) for each in options.model or ["photo"])]:
        codec.decode(codec.encode(pictures[0][:40]))  # what is loaded once
        began = time.perf_counter()
        files = [codec.encode(each) for each in pictures]
        between = time.perf_counter()
        back = [codec.decode(each) for each in files]
        ended = time.perf_counter()
        assert all(np.array_equal(one, other) for one, other in zip(pictures, back, strict=True)), codec.name
        each = [8 * len(file) / picture.size for file, picture in zip(files, pictures, strict=True)]
        bits = 8 * sum(map(len, files)) / (3 * pixels)
        speeds = [pixels / 1e6 / (between - began), pixels / 1e6 / (ended - between)]
        points.append((codec.name, bits, *speeds))
        cells = [codec.name, *(f"{one:.3f}" for one in each), f"**{bits:.3f}**", *(f"{one:.2f}" for one in speeds)]
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    head = [path.stem.removeprefix("kodim") for path in options.pictures]
    table = [
        f"*{len(pictures)} pictures, {pixels / 1e6:.2f} megapixels, {torch.get_num_threads()} threads.*",
        "",
        f"| bits/dim | {' | '.join(head)} | all | encoding, megapixels/s | decoding |",
        "|" + "---|" * (len(head) + 4),
        *rows,
    ]
    if options.out:
        write_between_marks(options.out, table)
    if options.plot:
        draw(points, options.plot)


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
    axes.set_xlabel("encoding and decoding together, megapixels a second (2 threads)")
    axes.set_ylabel("bits/dim, whole files")
    axes.set_xlim(right=axes.get_xlim()[1] * 4)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
