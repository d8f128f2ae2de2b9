"""What 64 x 64 colour images of 256 levels cost to learn: counted arithmetic and memory, and the hours they make.

    python benchmarks/scaling.py

Counted here: operations of a step (the weights that no mask hides; backward twice forward), bytes that each image adds
to what a step keeps for its backward pass in bfloat16, weights with Adam and their average. Assumed, and said so in the
table: the rate of a GPU and the share of it that is reached.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

from common import flop_per_pixel

import pixelrnn
from pixelrnn.training.memory import kept_for_backward

SIDE, LEVELS = 64, 256


class Case(NamedTuple):
    """A network and how long it is trained."""

    name: str
    layers: int
    width: int
    batch: int
    steps: int


CASES = [
    Case("as published", 20, 384, 128, 200_000),
    Case("half the width", 20, 192, 128, 200_000),
    Case("small", 12, 96, 128, 100_000),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peak", type=float, default=989, help="bfloat16 Tflop/s of a GPU (H100 SXM, its data sheet)")
    parser.add_argument("--reached", type=float, default=0.3, help="the share of it that is reached")
    parser.add_argument("--gpus", type=int, nargs="*", default=[1, 8, 32])
    args = parser.parse_args()
    hours = " | ".join(f"hours, {gpus} GPU{'s' if gpus > 1 else ''}" for gpus in args.gpus)
    print(
        f"| network | layers x width | parameters | Tflop an image | batch x steps | Eflop in all | GB kept for an "
        f"image | GB of weights, Adam, average | {hours} |"
    )
    print("|---" * (8 + len(args.gpus)) + "|")
    for case in CASES:
        model = pixelrnn.build(
            "gated-pixelcnn",
            size=(SIDE, SIDE),
            channels=3,
            levels=LEVELS,
            layers=case.layers,
            width=case.width,
            kernel=5,
        )
        flop = 3 * flop_per_pixel(model) * SIDE**2
        total = flop * case.batch * case.steps
        kept = kept_for_backward(model, bf16=True)
        each = [f"{total / (args.peak * 1e12 * args.reached * gpus) / 3600:.2g}" for gpus in args.gpus]
        print(
            f"| {case.name} | {case.layers} x {case.width} | {model.num_parameters / 1e6:.1f} M | {flop / 1e12:.2f} | "
            f"{case.batch} x {case.steps:,} | {total / 1e18:.2g} | {kept / 1e9:.2f} | "
            f"{model.num_parameters * 4 * 5 / 1e9:.2f} | {' | '.join(each)} |"
        )


if __name__ == "__main__":
    main()
