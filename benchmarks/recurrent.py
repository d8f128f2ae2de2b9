"""A training step of the recurrent networks, against the matrix rate of the machine and against a plain loop.

    python benchmarks/recurrent.py [--layers 7] [--widths 16 64] [--batches 16 64] [--no-plain]

Per network, width and batch: milliseconds of one step (forward, backward, optimizer) on 28 x 28 binary images; how many
times as long that is as its useful arithmetic would take at the matrix rate measured in the same process; the same
network with its recurrences written as a plain loop of PyTorch operations (`tests/contracts/plain.py`, the oracle of
the tests), once on the pixels alone and once on whole columns of the skewed image, as the paper draws it; the memory
that the step takes at its peak. Useful arithmetic is two operations per weight that no mask
hides and per pixel, three times: forward, gradient of the inputs, gradient of the weights. Elementwise work counts as
none. Every figure comes from a process of its own. Weights and images are random.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from pathlib import Path

import torch
from common import MEASURED, apart, flop_per_pixel, matrix_rate, peak_megabytes, timed, write_json

import pixelrnn
from pixelrnn.layers.recurrence import Recurrence
from pixelrnn.training.memory import keep_freed_memory

SIDE = 28
NETWORKS = ("row-lstm", "diagonal-bilstm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--steps", type=int, default=7, help="timed steps, of which the median counts")
    parser.add_argument("--no-plain", action="store_true", help="leave the plain loop out")
    parser.add_argument("--json", type=Path, help="write the figures there, for programs to read")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(**json.loads(options.one))))
        return
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{options.layers} layers, {SIDE} x {SIDE} binary images, float32")
    print(
        f"{'network':16} {'h':>3} {'batch':>5} {'ms':>6} {'Gflop':>6} {'Gflop/s':>8} {'x floor':>8} {'MB':>6}", end=""
    )
    plains = [] if options.no_plain else ["plain", "padded"]
    print("".join(f"   {kind + ' ms':>9} {'MB':>6} {'ratio':>6}" for kind in plains))
    for network in NETWORKS:
        for width in options.widths:
            for batch in options.batches:
                case = {"network": network, "layers": options.layers, "width": width, "batch": batch}
                ours = apart(__file__, {**case, "plain": "", "steps": options.steps})
                times = ours["seconds"] * ours["rate"] / ours["flop"]
                print(
                    f"{network:16} {width:3} {batch:5} {1e3 * ours['seconds']:6.0f} {ours['flop'] / 1e9:6.1f} "
                    f"{ours['rate'] / 1e9:8.0f} {times:8.1f} {ours['megabytes']:6.0f}",
                    end="",
                    flush=True,
                )
                for kind in plains:
                    if kind == "plain" or network == "diagonal-bilstm":  # rows have no padding
                        plain = apart(__file__, {**case, "plain": kind, "steps": max(3, options.steps // 2)})
                        ratio = plain["seconds"] / ours["seconds"]
                        print(f"   {1e3 * plain['seconds']:9.0f} {plain['megabytes']:6.0f} {ratio:6.1f}", end="")
                print(flush=True)
    if options.json:
        write_json(options.json, MEASURED)


def measure(network: str, layers: int, width: int, batch: int, plain: str, steps: int) -> dict[str, float]:
    """Seconds, arithmetic and peak memory of a training step, and the machine's matrix rate."""
    if plain:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "contracts"))
        from plain import plain_sweep

        def run(recurrence: Recurrence, near: list[torch.Tensor]) -> torch.Tensor:
            return plain_sweep(recurrence, near, padded=plain == "padded")

        Recurrence.sweep = run
        Recurrence.sweep_both = lambda self, other, near, more: [run(self, near), run(other, more)]
    keep_freed_memory()  # as training does
    torch.manual_seed(0)
    model = pixelrnn.build(network, size=(SIDE, SIDE), levels=2, layers=layers, width=width, out_width=2 * width)
    images = torch.randint(0, 2, (batch, 1, SIDE, SIDE), dtype=torch.uint8)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        (-model.log_prob(images, check=False).mean()).backward()
        optimizer.step()

    pixelrnn.build(network, size=(2, 2), levels=2, layers=1, width=2).log_prob(images[:1, :, :2, :2]).sum().backward()
    before = peak_megabytes()
    step()
    megabytes = peak_megabytes() - before
    seconds = statistics.median(timed(step) for _ in range(steps))
    return {
        "seconds": seconds,
        "flop": 3 * batch * SIDE**2 * flop_per_pixel(model),
        "rate": matrix_rate(),
        "megabytes": megabytes,
    }


if __name__ == "__main__":
    main()
