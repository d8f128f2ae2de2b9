"""pixelrnn doctor: on what it runs, for a report of a problem."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import typer

EXAMPLE = "\b\nExamples:\n  pixelrnn doctor\n  pixelrnn doctor --json > machine.json\n"
_PACKAGES = ("torch", "numpy", "numba", "lightning", "pydantic", "safetensors", "pillow", "fastapi")


def run(as_json: bool = typer.Option(False, "--json", help="One JSON object instead of lines.")) -> None:
    """Print versions, processor, memory, accelerators, caches and the data sets that are found, for a bug report.

    Nothing is sent anywhere. Folders below your home folder are shown with ~.
    """
    found = dict(_findings())
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    width = max(map(len, found))
    for name, value in found.items():
        typer.echo(f"{name:{width}}  {value}")


def _findings() -> Iterator[tuple[str, str]]:
    import psutil
    import torch

    from pixelrnn import __version__
    from pixelrnn.data import cache_folder
    from pixelrnn.program import native

    yield "pixelrnn", __version__
    yield "python", f"{platform.python_version()} ({platform.system()} {platform.release()}, {platform.machine()})"
    for name in _PACKAGES:
        yield name, _version(name)
    yield "processor", f"{processor()}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads"
    yield "instructions", torch.backends.cpu.get_cpu_capability()
    memory = psutil.virtual_memory()
    yield "memory", f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    devices = [torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())]
    yield "accelerators", ", ".join(devices) or "none"
    ready = [number for number in ("float32", "float64", "codec32", "codec64") if native.is_ready(number)]
    yield "compiled code", f"{_short(native.folder())}: {', '.join(ready) or 'none yet'}"
    yield "cache", _short(cache_folder())
    yield "data sets", ", ".join(_data_sets()) or "digits; set PIXELRNN_DATA to a folder with others"
    for name in sorted(os.environ):
        if name.startswith(("PIXELRNN_", "OMP_", "MKL_", "ATEN_", "ONEDNN_", "CUDA_VISIBLE")):
            yield name, _short(Path(os.environ[name])) if os.sep in os.environ[name] else os.environ[name]


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _data_sets() -> list[str]:
    """The built-in data sets that can be read without a download."""
    from pixelrnn.data import data_names
    from pixelrnn.data.builtin import is_here
    from pixelrnn.errors import DataError

    try:
        return [name for name in data_names() if is_here(name)]
    except DataError:  # PIXELRNN_DATA names no folder
        return [name for name in data_names() if name == "digits"]


def _short(path: Path) -> str:
    """A path, with ~ for the home folder."""
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(path)
