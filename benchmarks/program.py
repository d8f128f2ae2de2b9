"""Where the time of compiled sampling goes: loading the machine code, recording, and each kind of step.

    python benchmarks/program.py MODEL [--images 1] [--compile]

MODEL is a folder, or the name of a model that comes with the package. Steps are timed one by one, a few thousand times
each, so their weights are in the nearest cache; "all together" is the same steps in order, as a walk does them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict

import numpy as np
import torch
from common import timed
from numba import njit

import pixelrnn
from pixelrnn.program import Machine, kernels, native, operations
from pixelrnn.program.elementary import OPTIONS

NAMES = {
    value: name.lower()
    for name, value in vars(operations).items()
    if name.isupper()
    and isinstance(value, int)
    and not name.startswith("LAST")
    and name not in ("FIELDS", "PANELS", "OVER")
}


@njit(**OPTIONS)
def repeated(state, begin, end, images, column, columns, times):  # noqa: ANN001, ANN201
    for _ in range(times):
        kernels.run(state, begin, end, 3, 0, images, column, columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="also time the compiler, in a folder of its own")
    options = parser.parse_args()
    model = pixelrnn.load(options.model)
    if options.compile:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pixelrnn.program.native", "float32"]
            seconds = timed(lambda: subprocess.run(command, env={**os.environ, "PIXELRNN_KERNELS": folder}, check=True))
        print(f"compiling, in a process of its own: {seconds:.1f} s")
    native.entry("float32")  # on disk
    native._entries.clear()
    print(f"loading the machine code: {1e3 * timed(lambda: native.entry('float32')):.0f} ms")
    print(f"recording the network: {1e3 * timed(model.programs):.0f} ms")
    (tables,) = model.programs()
    machine = Machine(
        tables,
        model.head.seen(torch.arange(model.levels), torch.float32),
        model.size,
        options.images,
        torch.float32,
        None,
        1,
        threads=1,
    )
    first, rows, size, down = machine.places.T
    at = first + (3 + down) % rows * size
    arrays = tables.code, at, machine.steps, tables.chunks, tables.places, machine.memory, machine.wide, tables.weights
    state = kernels.State(*arrays)

    def microseconds(begin: int, end: int, columns: int = 1, times: int = 2000) -> float:
        repeated(state, begin, end, options.images, 0, columns, 1)
        best = min(timed(lambda: repeated(state, begin, end, options.images, 0, columns, times)) for _ in range(5))
        return 1e6 * best / times

    begin, end = (int(tables.passes[0, 0, 0]), int(tables.passes[0, -1, 1]))
    whole = microseconds(begin, end, times=300)
    megabytes = tables.products[1] * tables.weights.itemsize / 1e6
    print(f"a pixel, all together: {whole:.1f} us, {megabytes:.2f} MB of weights, {1e3 * megabytes / whole:.0f} GB/s")
    row = sum(
        microseconds(int(one), int(two), model.size[1] if along == 0 else 1, 50) * (1 if along == 0 else model.size[1])
        for one, two, along in tables.row
    )
    print(f"a row's part: {row:.0f} us, {tables.products[0] * model.size[1] / max(row, 1e-9) / 1e3:.1f} GMAC/s")
    code = tables.code.reshape(-1, operations.FIELDS)
    chunks = tables.chunks.reshape(-1, 3)
    found: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for index in range(begin, end):
        line = code[index]
        inputs = int(chunks[line[9] : line[9] + line[10], 1].sum()) if line[0] == operations.LINEAR else 0
        found[NAMES[int(line[0])], int(line[1]), inputs].append(microseconds(index, index + 1))
    print(f"{'step':10} {'outputs':>7} {'inputs':>6} {'times':>5} {'ns each':>8}")
    for (name, outputs, inputs), each in sorted(found.items(), key=lambda one: -sum(one[1])):
        print(f"{name:10} {outputs:7} {inputs or '':>6} {len(each):5} {1e3 * float(np.mean(each)):8.0f}")


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"{time.perf_counter() - began:.0f} s in all", file=sys.stderr)
