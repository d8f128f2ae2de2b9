"""The machine code of the kernels: compiled once for a processor, kept on disk, and loaded without numba.

Loading takes a few hundredths of a second, as much as an import; compiling takes some seconds. The folder is
`kernels` in the user's cache folder (`PIXELRNN_KERNELS` names another); where it cannot be written, the code is
compiled in each process. A file is named by the hash of everything that it was made from, appears whole or not at all,
and is read back only with the checksum that it begins with; as what is there is run, others must not be able to write
into the folder.

A walk that is shorter than the compiling leaves it to another process, of low priority, and goes on without.
`PIXELRNN_COMPILE=never` forbids that process; what is asked for by name is compiled all the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import numpy.typing as npt

from pixelrnn.files import write_atomic
from pixelrnn.program.processor import processor

Entry = Callable[[npt.NDArray[np.int64]], int]
"""Takes the address of a block; returns -1, or where parameters are not finite."""

_SOURCES = (
    "processor",
    "block",
    "operations",
    "formulas",
    "vectors",
    "elementary",
    "attention",
    "kernels",
    "drawing",
    "entry",
    "coding",
    "coding_block",
    "coding_entry",
)
_LOADING, _COMPILING = 0.1, 15.0  # seconds
_lock = threading.Lock()
_entries: dict[str, Entry] = {}
_failed: dict[str, str] = {}
_engines: list[Any] = []  # that own the code


class KernelError(RuntimeError):
    """There is no machine code, and none can be made."""


@functools.cache
def is_installed() -> bool:
    """Whether there is a compiler."""
    return importlib.util.find_spec("numba") is not None


def is_ready(number: str) -> bool:
    """Whether the code of a kind need not be compiled any more."""
    return number in _entries or _file(number).is_file()


def seconds_until_ready(number: str) -> float:
    """About how long it takes until the code for "float32", "float64", "codec32" or "codec64" is there."""
    return 0.0 if number in _entries else _LOADING if is_ready(number) else _COMPILING


def entry(number: str) -> Entry:
    """The compiled function of a kind, "float32", "float64", "codec32" or "codec64": from this process, from disk, or
    compiled now.

    Raises: KernelError if that fails; it is not tried again in this process
    """
    with _lock:
        if number in _failed:
            raise KernelError(_failed[number])
        if number not in _entries:
            try:
                _entries[number] = _load(_read(_file(number)) or _compiled(number))
            except Exception as error:  # whatever a compiler can raise: there is another way to walk
                _failed[number] = f"the kernels cannot be compiled here ({type(error).__name__}: {error})"
                raise KernelError(_failed[number]) from error
        return _entries[number]


def compile_in_background(number: str) -> None:
    """Let another process of low priority put the code on disk, if nothing does yet; this one goes on."""
    if number in _started or os.environ.get("PIXELRNN_COMPILE") == "never":
        return
    if seconds_until_ready(number) < _COMPILING or not _writable():
        return
    _started.add(number)
    try:
        with filelock.FileLock(_file(number).with_suffix(".lock"), blocking=False):
            pass
    except filelock.Timeout:  # another process is at it
        return
    command = [sys.executable, "-m", "pixelrnn.program.native", number]
    with contextlib.suppress(OSError):
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


_started: set[str] = set()


def folder() -> Path:
    """Where compiled code is kept."""
    import platformdirs

    return Path(os.environ.get("PIXELRNN_KERNELS") or Path(platformdirs.user_cache_dir("pixelrnn")) / "kernels")


def _file(number: str) -> Path:
    return folder() / f"{_key()}-{number}.o"


@functools.cache
def _key() -> str:
    """A hash of all that the code depends on."""
    folder = Path(__file__).parent
    parts = [(folder / f"{name}.py").read_bytes() for name in _SOURCES]
    parts.append((folder.parent / "exact" / "tables.py").read_bytes())
    parts += [importlib.metadata.version(name).encode() for name in ("numba", "llvmlite")]
    parts += [each.encode() for each in (*processor(), sys.platform, platform.machine())]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _writable() -> bool:
    """Whether code can be kept."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder(), os.W_OK)


def _compiled(number: str) -> bytes:
    """Machine code, compiled and kept; processes that need the same wait for the first."""
    if not _writable():
        return _compile(number)
    with filelock.FileLock(_file(number).with_suffix(".lock")):
        code = _read(_file(number))
        if code is None:
            code = _compile(number)
            with contextlib.suppress(OSError):  # a full disk: then it is of use to this process only
                write_atomic(_file(number), code)
        return code


def _compile(number: str) -> bytes:
    from pixelrnn.program import coding_entry, entry

    make = coding_entry.compile_entry if number.startswith("codec") else entry.compile_entry
    name, code = make(np.float64 if number.endswith("64") else np.float32)
    body = name.encode() + b"\0" + code
    return hashlib.sha256(body).digest() + body


def _read(path: Path) -> bytes | None:
    try:
        code = path.read_bytes()
    except OSError:
        return None
    return code if hashlib.sha256(code[32:]).digest() == code[:32] else None


def _load(code: bytes) -> Entry:
    from llvmlite import binding

    name, _, machine_code = code[32:].partition(b"\0")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    cpu, features = processor()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, codemodel="jitdefault"
    )
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    _engines.append(engine)
    address = engine.get_function_address(name.decode())
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)  # numba's own convention
    function = kind(address)

    def call(block: npt.NDArray[np.int64]) -> int:
        returned, unused = ctypes.c_int64(-1), ctypes.c_void_p()
        function(ctypes.addressof(returned), ctypes.addressof(unused), block.ctypes.data)
        return returned.value

    return call


if __name__ == "__main__":
    with contextlib.suppress(AttributeError, OSError):
        os.nice(10)
    entry(sys.argv[1])
