"""Several processes train as one: the same steps, every image once, one writer, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import (
    TINY,
    assert_no_orphan,
    begin,
    complete,
    curve,
    ended,
    of_folder,
    wait_for,
    weights_hash,
)

import pixelrnn

# No dropout: each process has its own. The last batch of an epoch is of 97 images, and some are mirrored.
SAME = [*TINY, "--set", "dropout=0", "--set", "precision=32", "--set", "mirror=true"]
TWO = ("--devices", 2, "--device", "cpu")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("one") / "run"
    complete(folder, preset=SAME)
    return folder


def assert_as_one(folder: Path, one: Path) -> None:
    """The same loss curve and the same validation, up to the order of sums."""
    mine, theirs = curve(folder), curve(one)
    assert mine.keys() == theirs.keys()
    for step in theirs:
        for value in mine[step]:
            assert float(value) == pytest.approx(float(next(iter(theirs[step]))), rel=1e-5)
    two, single = (pixelrnn.load(each).about["progress"] for each in (folder, one))
    for key in ("valid_nats", "standard_error"):
        assert two[key] == pytest.approx(single[key], rel=1e-5), "an image left out or counted twice would show"
    assert (two["images"], two["step"]) == (single["images"], single["step"])


def test_two_processes_that_are_stopped_go_on_as_if_nothing_had_happened(one: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = begin(folder, *TWO, "--save-minutes", 0, preset=SAME)
    wait_for(folder / "training" / "last.ckpt", process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    err = ended(process)
    assert "stopped by Ctrl-C" in err
    assert "Traceback" not in err
    assert_no_orphan(folder)
    complete(folder, *TWO, "--resume", preset=SAME)
    assert_as_one(folder, one)


@pytest.mark.parametrize("victim", ["first", "second"])
def test_a_killed_process_ends_the_whole_run_with_a_clear_message(tmp_path: Path, victim: str) -> None:
    folder = tmp_path / "run"
    process = begin(folder, *TWO, "--epochs", 100000, preset=SAME)
    wait_for(folder / "training" / "last.ckpt", process)
    others = [each for each in of_folder(folder) if each != process.pid]
    assert len(others) == 1
    os.kill(process.pid if victim == "first" else others[0], signal.SIGKILL)
    err = ended(process)
    assert "error: Training ended: another of its 2 processes died" in err
    assert "--resume" in err
    assert_no_orphan(folder)
    pixelrnn.load(folder)


def test_two_processes_of_torchrun_take_the_steps_of_one_and_only_the_first_writes(one: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "pixelrnn",
        "train",
        *SAME,
        "--out",
        str(tmp_path / "run"),
        *map(str, TWO),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert_as_one(tmp_path / "run", one)
    assert done.stderr.count("epoch   1") == 1
    assert len(list((tmp_path / "run" / "logs").glob("version_*"))) == 1
    assert_no_orphan(tmp_path / "run")


def test_a_second_training_in_the_folder_is_refused_while_the_first_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = begin(folder, "--epochs", 100000)
    wait_for(folder / "training" / "last.ckpt", first)
    err = ended(begin(folder, "--resume", "--epochs", 100000))
    assert "Another training is running" in err
    before = time.monotonic()
    first.send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM" in ended(first)
    assert time.monotonic() - before < 120
    assert weights_hash(folder)
