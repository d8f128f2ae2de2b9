"""What the benchmarks share: a clock, the matrix rate of the machine, a model's arithmetic, a process per case."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import pixelrnn
from pixelrnn.layers.convolution import CausalConv2d
from pixelrnn.layers.recurrence import Recurrence
from pixelrnn.networks.lmconv import LocallyMaskedConv2d

MEASURED: list[dict[str, Any]] = []
"""Every case that was measured apart, with its figures."""


def apart(program: str, case: dict[str, Any]) -> dict[str, float]:
    """The figures of one case, measured by `program --one CASE` in a fresh process."""
    command = [sys.executable, program, "--one", json.dumps(case)]
    done: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    MEASURED.append({**case, **done})
    return done


def write_json(path: Path, figures: object) -> None:
    """Figures for programs to read, with the machine and the versions that they are of."""
    path.write_text(json.dumps({"machine": machine(), "figures": figures}, indent=2) + "\n", encoding="utf-8")


def timed(run: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def median_seconds(run: Callable[[], object], times: int, enough: float = 60.0) -> float:
    """The median of so many calls after one that does not count; fewer (at least two) after `enough` seconds."""
    run()
    seconds: list[float] = []
    while len(seconds) < times and (len(seconds) < 2 or sum(seconds) < enough):
        seconds.append(timed(run))
    return statistics.median(seconds)


def write_between_marks(page: Path, lines: list[str]) -> None:
    """Put the tables between the marks of the page."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split("<!-- measured -->\n")
    _, after = rest.split("<!-- end -->\n")
    page.write_text(before + "<!-- measured -->\n" + "\n".join(lines) + "\n<!-- end -->\n" + after, encoding="utf-8")


def matrix_rate(side: int = 2048) -> float:
    """Operations per second of a float32 matrix product, the best of ten."""
    left, out = torch.randn(side, side), torch.empty(side, side)
    return 2 * side**3 / min(timed(lambda: torch.mm(left, left, out=out)) for _ in range(10))


def flop_per_pixel(model: pixelrnn.PixelModel) -> int:
    """Two operations, multiply and add, for each weight of a matrix that no mask hides, wherever it is used: once per
    pixel, or at every fourth or sixteenth one if it works at a coarser resolution; for attention, for each map of a
    key and of a value, as often as there are earlier pixels in the mean."""
    side = 32
    places: dict[torch.nn.Module, int] = {}  # of a convolution, where it is not used at every pixel

    def note(module: torch.nn.Module, _: object, out: torch.Tensor) -> None:
        places[module] = out.shape[2] * out.shape[3]

    layers = [each for each in model.modules() if isinstance(each, CausalConv2d | Recurrence)]
    hooks = [each.register_forward_hook(note) for each in layers]
    with torch.no_grad():
        model.log_prob(torch.zeros(1, model.channels, side, side, dtype=torch.uint8))
    for hook in hooks:
        hook.remove()
    uses = 0
    for each in layers:
        masked = isinstance(each, CausalConv2d) and each.mask is not None
        weights = int(each.mask.sum()) if masked else each.weight.numel()
        uses += weights * (places.get(each, side**2) if isinstance(each, CausalConv2d) else side**2)
    for each in model.modules():
        if isinstance(each, LocallyMaskedConv2d):  # half of its neighbours are earlier
            places_seen = (each.kernel_size[0] ** 2 - 1) / 2 + each.itself
            uses += int(each.weight[:, :, 0, 0].numel() * places_seen * side**2)
    pixels = model.size[0] * model.size[1]
    attention = sum(
        maps * min(pixels // 2, window or pixels) for tables in model.programs() for maps, window in tables.attention
    )
    return 2 * (uses // side**2 + attention)


def machine() -> dict[str, Any]:
    """On what figures were measured, for results that programs read."""
    return {
        "processor": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "numba", "lightning")},
    }


def peak_megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
