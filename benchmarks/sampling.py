"""Cached sampling against the naive sampler, as ratios of one run on one machine.

    python benchmarks/sampling.py [--layers 10] [--width 128] [--images 1 16] [--no-check]

The naive sampler runs the whole network once per pixel. Its time is extrapolated from 20 timed passes on the images
that were sampled, and labelled so; with the check, one image is really made by it, and compared pixel by pixel.
Weights are random: neither sampler's time depends on them.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import torch

import pixelrnn

SIDE = 28
PASSES = 20


def seconds_of(run: object, *arguments: object, **options: object) -> tuple[float, object]:
    """Seconds of one call, and what it gave."""
    began = time.perf_counter()
    result = run(*arguments, **options)  # type: ignore[operator]
    return time.perf_counter() - began, result


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--images", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--repeat", type=int, default=3, help="cached runs, of which the median counts")
    parser.add_argument("--no-check", action="store_true", help="leave out the image made by the naive sampler")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = pixelrnn.build(
        "gated-pixelcnn", size=(SIDE, SIDE), levels=2, layers=options.layers, width=options.width
    ).eval()  # fmt: skip
    print(
        f"gated-pixelcnn, {options.layers} layers x {options.width}, {model.num_parameters:,} parameters, binary "
        f"{SIDE}x{SIDE}; torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"
    )
    print("| images | cached, s | one whole pass, s | naive, s (extrapolated) | cached in passes | faster than naive |")
    print("|---|---|---|---|---|---|")
    for count in options.images:
        model.sample(count, size=(2, SIDE), seed=0)  # warm
        runs = [seconds_of(model.sample, count, seed=0) for _ in range(options.repeat)]
        cached, images = statistics.median(seconds for seconds, _ in runs), runs[0][1]
        model.log_prob(images)
        one_pass = statistics.median(seconds_of(model.log_prob, images)[0] for _ in range(PASSES))
        naive = one_pass * SIDE * SIDE
        ratios = f"{cached / one_pass:.1f} | {naive / cached:.0f}x"
        print(f"| {count} | {cached:.2f} | {one_pass:.4f} | {naive:.1f} | {ratios} |", flush=True)
    if not options.no_check:
        seconds, naive_image = seconds_of(model.sample, 1, seed=0, method="naive")
        differ = int((naive_image != model.sample(1, seed=0)).sum())
        print(f"check: one image by the naive sampler took {seconds:.1f} s; {differ} of {SIDE * SIDE} pixels differ")


if __name__ == "__main__":
    main()
