"""Cut photographs into grayscale patches, for models of natural image statistics.

    python examples/natural_patches.py PHOTOGRAPHS patches.npz [--side 32]
    pixelrnn train ride --data patches.npz --out runs/ride

PHOTOGRAPHS is a folder of pictures. All patches of a picture go to the same split: of the pictures in order of name,
the last sixth is for testing, the twelfth before it for validation, the others are for training. A patch is side x side
pixels of luminance (ITU-R 601-2, as Pillow converts); patches do not overlap, and what is left over at the right and at
the bottom is discarded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=32)
    options = parser.parse_args()
    if options.side < 1:
        parser.error(f"--side must be 1 or more, not {options.side}")
    if not options.photographs.is_dir():
        parser.error(f"{options.photographs} is not a folder")
    paths = sorted(path for path in options.photographs.iterdir() if path.suffix.lower() in SUFFIXES)
    if len(paths) < 3:
        parser.error(f"{options.photographs} has {len(paths)} pictures; at least three are needed, one per split")
    tests, valids = max(1, len(paths) // 6), max(1, len(paths) // 12)
    splits = {
        "train_images": paths[: -tests - valids],
        "valid_images": paths[-tests - valids : -tests],
        "test_images": paths[-tests:],
    }
    arrays = {name: np.concatenate([patches(path, options.side) for path in some]) for name, some in splits.items()}
    for name, array in arrays.items():
        if not len(array):
            parser.error(f"no picture of {name} has {options.side} x {options.side} pixels: choose a smaller --side")
    np.savez(options.out, **arrays)  # type: ignore[arg-type]
    for name, array in arrays.items():
        print(f"{name}: {len(array)} patches of {options.side} x {options.side} from {len(splits[name])} pictures")


def patches(path: Path, side: int) -> np.ndarray:
    """All complete patches of one picture: (N, side, side) uint8."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    rows, columns = (length // side for length in pixels.shape)
    cut = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return cut.transpose(0, 2, 1, 3).reshape(-1, side, side)


if __name__ == "__main__":
    main()
