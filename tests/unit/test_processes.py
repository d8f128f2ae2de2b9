"""Which process does what, as far as no process has to be started: see also `test_process_verbs`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from models import small

from pixelrnn.errors import ConfigError, ModelFolderError
from pixelrnn.model import PixelModel
from pixelrnn.model.processes import Launched, Workers, _uninterrupted, launched


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small("pixelcnn").save(tmp_path / "model")
    return tmp_path / "model"


def process_of(model: PixelModel, job: int) -> tuple[int, int]:
    return job, os.getpid()


def test_one_process_is_this_one(folder: Path) -> None:
    with Workers(folder) as workers:
        assert list(workers.map(process_of, [3, 1])) == [(3, os.getpid()), (1, os.getpid())]
    for wrong in (0, -1, 1.5):
        with pytest.raises(ConfigError, match="number of processes"):
            Workers(folder, processes=wrong)  # type: ignore[arg-type]


def test_a_model_that_changes_meanwhile_is_not_mixed(folder: Path) -> None:
    from pixelrnn.model.processes import _loaded

    workers = Workers(folder)
    small("pixelcnn", width=6).save(folder)
    with pytest.raises(ModelFolderError, match="overwritten while"):
        _loaded(folder, workers.weights, "cpu")


@pytest.mark.parametrize(
    "names", [("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")]
)
def test_the_launcher_says_which_process_this_is(monkeypatch: pytest.MonkeyPatch, names: tuple[str, str, str]) -> None:
    assert launched() == Launched(0, 1, 0)
    for name, value in zip(names, ("5", "8", "1"), strict=True):
        monkeypatch.setenv(name, value)
    assert launched() == Launched(5, 8, 1)
    for name, value in ((names[0], "8"), (names[0], "-1"), (names[0], "x"), (names[1], "0"), (names[1], "")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ConfigError, match=f"{names[1]} is .* {names[0]} is"):
                launched()
    monkeypatch.delenv(names[0])
    with pytest.raises(ConfigError, match=f"{names[0]} is None"):
        launched()
    monkeypatch.setenv(names[1], "1")
    assert launched() == Launched(0, 1, 1)


def test_a_batch_script_of_slurm_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the numbers of the whole job, and runs once."""
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert launched() == Launched()


@pytest.mark.parametrize(("world", "count"), [(1, 5), (3, 10), (4, 2)])
def test_every_piece_of_work_is_one_processs(world: int, count: int) -> None:
    taken = [piece for rank in range(world) for piece in Launched(rank, world).share(count)]
    assert sorted(taken) == list(range(count))


def test_images_drawn_in_parts_are_those_drawn_at_once() -> None:
    model = small()
    whole = model.sample(9, seed=4)
    parts = [model.sample(n, seed=4, start=start) for start, n in ((0, 2), (2, 6), (8, 1))]
    np.testing.assert_array_equal(torch.cat(parts), whole)
    with pytest.raises(ConfigError, match="start must be"):
        model.sample(1, start=-1)


def test_ctrl_c_in_the_middle_of_the_pool_is_heard_at_its_end() -> None:
    before, ended = signal.getsignal(signal.SIGINT), []

    def interrupted() -> None:
        with _uninterrupted():
            signal.raise_signal(signal.SIGINT)
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert ended
    assert signal.getsignal(signal.SIGINT) is before
