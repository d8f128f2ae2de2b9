"""On what the tests run, in one line: results may differ in their last bits between processors and instruction sets."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def processor() -> str:
    """Its name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> str:
    """Processor, instruction set that PyTorch uses, threads, versions."""
    return (
        f"{processor()} ({platform.machine()}), {torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    print(machine())
