"""kill -9 at any moment loses nothing older than the last checkpoint, and what follows is what would have been.

PIXELRNN_KILLS says how often; `make soak` takes 20.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from runs import assert_no_orphan, begin, complete, curve, ended, kill, wait_for, weights_hash

import pixelrnn

KILLS = int(os.environ.get("PIXELRNN_KILLS", "2"))
ALWAYS_SAVING = ("--save-minutes", 0)  # a checkpoint after every step, so that many kills fall into one


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A run that nothing happened to, and how long its steps took."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    process = begin(folder, *ALWAYS_SAVING)
    wait_for(folder / "training" / "preset.json", process)
    began = time.monotonic()
    process.communicate(timeout=300)
    assert process.returncode == 0
    return folder, time.monotonic() - began


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_ends_as_if_nothing_had_happened(
    unbroken: tuple[Path, float], tmp_path: Path, number: int
) -> None:
    whole, seconds = unbroken
    folder, workers = tmp_path / "run", 2 * (number % 2)
    process = begin(folder, *ALWAYS_SAVING, "--workers", workers)
    wait_for(folder / "training" / "preset.json", process)
    time.sleep(random.Random(number).uniform(0, seconds))
    kill(process)
    if (folder / "config.json").exists():
        pixelrnn.load(folder)  # the model is whole, even if it was being written
    complete(folder, *ALWAYS_SAVING, "--resume", "--workers", workers)
    assert weights_hash(folder) == weights_hash(whole)
    found, expected = curve(folder), curve(whole)
    assert all(found[step] == expected[step] for step in found), "a step that was taken twice came out the same"
    assert max(found) == max(expected)
    assert_no_orphan(folder)
    assert not list(folder.rglob("*.tmp")), "what a kill left half written was cleared away"


def test_a_signal_to_all_processes_is_heard_by_the_one_that_saves(unbroken: tuple[Path, float], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = begin(folder, *ALWAYS_SAVING, "--workers", 2)
    wait_for(folder / "training" / "last.ckpt", process)
    os.killpg(process.pid, signal.SIGTERM)  # as `timeout` does
    err = ended(process)
    assert "continue with the same command and --resume" in err
    assert "Traceback" not in err
    assert_no_orphan(folder)
    complete(folder, *ALWAYS_SAVING, "--resume", "--workers", 2)
    assert weights_hash(folder) == weights_hash(unbroken[0])
