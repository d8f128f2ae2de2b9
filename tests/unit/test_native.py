"""The machine code of the kernels: kept on disk, loaded without the compiler, shared by processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pixelrnn
from pixelrnn.errors import ConfigError
from pixelrnn.program import native, operations
from pixelrnn.program.processor import vector_bytes
from pixelrnn.sampling.choice import Choice

DRAW = """
import sys, torch, pixelrnn
torch.manual_seed(0)
model = pixelrnn.build("row-lstm", size=(5, 4), levels=2, layers=1, width=4)
images = model.sample(3, seed=0, method="compiled")
assert torch.equal(images, model.sample(3, seed=0, method="cached"))
print("numba" in sys.modules)
"""


# Compiling takes twenty seconds: here it is the reading of a copy, in a tenth of one.
COMPILE = """
import time
from pathlib import Path
from pixelrnn.program import native
native._compile = lambda number: time.sleep(0.1) or print("compiled") or native._read(Path({!r}))
"""


def start(arguments: list[str], folder: Path, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PIXELRNN_KERNELS": str(folder), "OMP_NUM_THREADS": "1", **more}
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def python(arguments: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    process = start(arguments, folder, **more)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(scope="module")
def code() -> Path:
    """The file of the code for float32, compiled for whoever asks first."""
    native.entry("float32")
    return native._file("float32")


@pytest.fixture(scope="module")
def folder(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With that code, made by one of three processes that needed it at the same time."""
    folder = tmp_path_factory.mktemp("kernels")
    processes = [start(["-c", COMPILE.format(str(code)) + "native.entry('float32')"], folder) for _ in range(3)]
    said = [each.communicate(timeout=300) for each in processes]
    assert [each.returncode for each in processes] == [0, 0, 0], said
    assert "".join(out for out, _ in said).split() == ["compiled"]
    return folder


def test_processes_share_one_file(folder: Path, code: Path) -> None:
    (file,) = folder.glob("*.o")
    assert file.read_bytes() == code.read_bytes()
    assert not list(folder.glob("*.tmp"))


def test_what_is_on_disk_is_loaded_without_the_compiler(folder: Path) -> None:
    done = python(["-c", DRAW], folder)
    assert done.stdout.strip() == "False", done.stderr


def test_a_damaged_file_is_compiled_again(folder: Path, code: Path) -> None:
    (file,) = folder.glob("*.o")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done = python(["-c", COMPILE.format(str(code)) + DRAW], folder)
    assert done.stdout.split() == ["compiled", "False"], done.stderr
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_no_obstacle(code: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    done = python(["-c", COMPILE.format(str(code)) + DRAW], blocked / "kernels")
    assert done.stdout.split() == ["compiled", "False"], done.stderr


def test_code_for_a_processor_without_wide_registers_draws_the_same_images(tmp_path: Path) -> None:
    """The same kernels, in vectors of another width and without fused products."""
    if sys.platform == "win32" or os.uname().machine != "x86_64":
        pytest.skip("names of x86 processors")
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    made = python(["-m", "pixelrnn.program.native", "float32"], tmp_path, **generic)  # as another process makes it
    assert made.returncode == 0, made.stderr
    done = python(["-c", DRAW.replace('"cached"))', '"cached")), "differs"')], tmp_path, **generic)
    assert done.stdout.strip() == "False", done.stderr


def test_without_numba_sampling_goes_on_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelrnn.program.programs.is_installed", lambda: False)
    model = pixelrnn.build("pixelcnn", size=(4, 4), levels=2, layers=1, width=4)
    assert torch.equal(model.sample(2, seed=0), model.sample(2, seed=0, method="naive"))
    assert model.not_compiled() == "numba is not installed"
    with pytest.raises(ConfigError, match="numba is not installed"):
        model.sample(1, method="compiled")


def test_where_the_compiler_fails_sampling_goes_on_and_it_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fails(number: str) -> bytes:
        asked.append(number)
        raise OSError("no room")

    monkeypatch.setenv("PIXELRNN_KERNELS", str(tmp_path))
    for name, value in (("_entries", {}), ("_failed", {}), ("_compile", fails), ("_COMPILING", 0.0)):
        monkeypatch.setattr(native, name, value)
    model = pixelrnn.build("pixelcnn", size=(4, 4), levels=256, layers=1, width=4)
    images = model.sample(2, seed=0)
    assert asked == ["float64"]
    assert torch.equal(images, model.sample(2, seed=0))
    with pytest.raises(ConfigError, match="cannot be compiled here \\(OSError: no room\\)"):
        model.sample(1, method="compiled")
    assert asked == ["float64"]


def test_nothing_is_started_in_the_background_where_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("PIXELRNN_KERNELS", str(blocked))
    monkeypatch.delenv("PIXELRNN_COMPILE")
    monkeypatch.setattr(native, "_entries", {})
    monkeypatch.setattr(native, "_started", set())
    native.compile_in_background("float32")
    assert not native._started


def test_a_short_walk_leaves_the_compiling_to_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setenv("PIXELRNN_KERNELS", str(tmp_path))
    monkeypatch.delenv("PIXELRNN_COMPILE")
    monkeypatch.setattr(native, "_entries", {})
    monkeypatch.setattr(native, "_started", set())
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    model = pixelrnn.build("pixelcnn", size=(4, 4), levels=256, layers=1, width=4)
    for _ in range(2):
        model.sample(2, seed=0)
    assert [command[1:] for command in started] == [["-m", "pixelrnn.program.native", "float64"]]
    assert not native._entries


# ---- which way to walk


def test_a_long_walk_is_worth_the_compiling_and_a_short_one_is_not() -> None:
    model = pixelrnn.build("pixelcnn", size=(4, 4), levels=256, channels=3, layers=3, width=12)
    settings = {"levels": 256, "images": 16, "threads": 2, "area": 16}
    tables = model._tables(None)
    assert not Choice().compiled(tables, **settings, pixels=100, first=12.0)
    assert Choice().compiled(tables, **settings, pixels=10_000_000, first=12.0)
    assert Choice().compiled(tables, **settings, pixels=100, first=0.0)


def test_what_was_measured_decides() -> None:
    model = pixelrnn.build("pixelcnn", size=(4, 4), levels=256, layers=1, width=4)
    choice, settings = Choice(), {"levels": 256, "images": 4, "threads": 2, "area": 16, "pixels": 1000, "first": 0.0}
    choice.learn("compiled", images=4, area=16, pixels=100, seconds=100.0)
    assert not choice.compiled(model._tables(None), **settings)
    choice.learn("cached", images=4, area=16, pixels=100, seconds=200.0)
    assert choice.compiled(model._tables(None), **settings)
    choice.learn("compiled", images=4, area=16, pixels=100, seconds=300.0)  # disturbed
    assert choice.compiled(model._tables(None), **settings)


def test_vectors_hold_whole_numbers_of_panels() -> None:
    assert vector_bytes() in (32, 64)
    assert operations.PANELS * vector_bytes() % np.dtype(np.float64).itemsize == 0
