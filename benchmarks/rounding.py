"""How often float32 rounding changes a sampled image.

    python benchmarks/rounding.py RUN [--images 400] [--naive 16]

The same seed must give the same images whatever the batch and the sampler. In float64 it does; in float32 two ways of
computing a probability differ in the last digits, and a uniform number that falls in between draws another level. This
counts the images of a trained model in which that happened.
"""

from __future__ import annotations

import argparse

from torch import Tensor

import pixelrnn


def differing(one: Tensor, other: Tensor) -> str:
    """Images and pixels in which two batches differ, as text."""
    pixels = one != other
    return (
        f"{int(pixels.flatten(1).any(1).sum())} of {len(one)} images ({int(pixels.sum())} of {pixels.numel()} pixels)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a model folder")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--naive", type=int, default=16, help="images for the naive sampler")
    options = parser.parse_args()
    model, precise = pixelrnn.load(options.run), pixelrnn.load(options.run).double()
    images = model.sample(options.images, seed=1, method="cached")
    compiled = model.sample(options.images, seed=1, method="compiled")
    rows, singly = (model.sample(options.images, seed=1, span=span) for span in (model.size[1], 1))
    few = model.sample(options.images, seed=1, batch_size=7, method="cached")
    compiled_few = model.sample(options.images, seed=1, batch_size=7, method="compiled")
    print("differ between batches of 64 and of 7: ", differing(images, few))
    print("differ between spans of 1 and of a row:", differing(singly, rows))
    print("differ between compiled and cached:    ", differing(images, compiled))
    print("... compiled, batches of 64 and of 7:  ", differing(compiled, compiled_few))
    exact = precise.sample(options.images, seed=1, method="compiled")
    print("differ between float32 and float64:    ", differing(images, exact))
    print("... compiled:                          ", differing(compiled, exact))
    naive = model.sample(options.naive, seed=1, method="naive")
    print("differ between cached and naive:       ", differing(images[: options.naive], naive))


if __name__ == "__main__":
    main()
