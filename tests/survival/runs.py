"""Trainings as processes of their own: begun, killed, looked at."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TINY = [
    "digits",
    "--set",
    "layers=2",
    "--set",
    "width=4",
    "--set",
    "dropout=0.1",
    "--set",
    "batch_size=100",
    "--set",
    "epochs=3",
    "--set",
    "warmup=5",
]


def begin(folder: Path, *options: object, preset: list[str] = TINY) -> subprocess.Popen[str]:
    """`pixelrnn train` in a process group of its own, one thread each."""
    command = [sys.executable, "-m", "pixelrnn", "train", *preset, "--out", str(folder), *map(str, options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def complete(folder: Path, *options: object, preset: list[str] = TINY) -> str:
    """Train to the end; what was written to standard error."""
    process = begin(folder, *options, preset=preset)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (out, err)
    return err


def ended(process: subprocess.Popen[str], patience: float = 60) -> str:
    """Wait for a process that is to fail; its standard error."""
    out, err = process.communicate(timeout=patience)
    assert process.returncode not in (0, None), (out, err)
    return err


def wait_for(path: Path, process: subprocess.Popen[str], patience: float = 120) -> None:
    """Until the file is there."""
    until = time.monotonic() + patience
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, f"no {path}"
        time.sleep(0.01)


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9 the first process alone: what it has begun is left to itself."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()


def of_folder(folder: Path) -> list[int]:
    """The processes whose command names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def assert_no_orphan(folder: Path, patience: float = 20) -> None:
    until = time.monotonic() + patience
    while of_folder(folder):
        assert time.monotonic() < until, f"still there: {of_folder(folder)}"
        time.sleep(0.1)


def weights_hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def curve(folder: Path) -> dict[int, set[str]]:
    """The nats of each step that was logged, by every session that logged it."""
    found: dict[int, set[str]] = {}
    for path in (folder / "logs").glob("version_*/metrics.csv"):
        with path.open(newline="") as stream:
            for row in csv.DictReader(stream):
                if row.get("train_nats"):
                    found.setdefault(int(row["step"]), set()).add(row["train_nats"])
    return found
