"""The processor that code is made for."""

from __future__ import annotations

import os


def processor() -> tuple[str, str]:
    """Name and features of the processor, as LLVM names them; numba's variables for another one count."""
    from llvmlite import binding

    name = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    return name, binding.get_host_cpu_features().flatten() if features is None else features


def vector_bytes() -> int:
    """How wide vectors are: as wide as its registers."""
    return 64 if "+avx512f" in processor()[1].split(",") else 32
