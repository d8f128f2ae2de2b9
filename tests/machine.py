"""On what the tests run, in one line: results may differ in their last bits between processors and instruction sets."""

from __future__ import annotations

import platform

import torch

from pixelrnn.cli.doctor import processor


def machine() -> str:
    """Processor, instruction set that PyTorch uses, threads, versions."""
    return (
        f"{processor()} ({platform.machine()}), {torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    print(machine())
