"""What a checkpoint and a model folder hold is whole, finite, and never less than what was there before."""

from __future__ import annotations

import errno
import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import pixelrnn
from pixelrnn.errors import RunFolderError, TrainingError
from pixelrnn.training import run_folder
from pixelrnn.training.batches import Batch
from pixelrnn.training.callbacks import moving_average
from pixelrnn.training.checkpoints import AtomicCheckpointIO
from pixelrnn.training.machine import Machine
from pixelrnn.training.module import PixelTraining
from pixelrnn.training.presets import Preset, load_preset
from pixelrnn.training.run import train


@pytest.fixture(autouse=True)
def _single_precision() -> None:
    torch.set_default_dtype(torch.float32)


def tiny(*changes: str) -> Preset:
    return load_preset("digits", ["layers=1", "width=4", "batch_size=200", "warmup=0", "epochs=2", *changes])


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"x": torch.ones(3)}}, path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        TrainingError, match=r"last\.ckpt could not be written \(No space left .*previous checkpoint is kept"
    ):
        AtomicCheckpointIO().save_checkpoint({"state_dict": {"x": torch.zeros(3)}}, path)
    assert path.read_bytes() == before
    assert names_in(tmp_path) == ["last.ckpt"], "and nothing half written stays"


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("checked", [True, False], ids=["before the training", "by Lightning"])
def test_a_checkpoint_is_never_unpickled(checked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny("epochs=1"), tmp_path / "run", machine=Machine("cpu"))
    path, marker = tmp_path / "run" / "training" / "last.ckpt", tmp_path / "marker"
    held = torch.load(path, weights_only=True)
    torch.save({**held, "more": Trap(marker)}, path)
    torch.load(path, weights_only=False)
    assert marker.exists(), "a trap that does not work proves nothing"
    marker.unlink()
    if not checked:
        monkeypatch.setattr(run_folder, "_check_checkpoint", lambda path: None)
    with pytest.raises(RunFolderError if checked else Exception, match=r"nsupported|damaged"):
        train(tiny(), tmp_path / "run", resume=True, machine=Machine("cpu"))
    assert not marker.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_never_reaches_a_checkpoint(tmp_path: Path, value: float) -> None:
    for key in ("state_dict", "current_model_state"):
        with pytest.raises(TrainingError, match="weights a are not finite"):
            AtomicCheckpointIO().save_checkpoint({key: {"a": torch.tensor([1, value])}}, tmp_path / "last.ckpt")
    assert not names_in(tmp_path)


def test_a_disk_that_is_full_ends_the_training_and_the_run_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves: list[Path] = []
    real = AtomicCheckpointIO.save_checkpoint

    def second_fails(
        self: AtomicCheckpointIO, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        saves.append(path)
        with monkeypatch.context() as patch:
            if len(saves) == 2:
                patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
            real(self, checkpoint, path)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", second_fails)
    with pytest.raises(TrainingError, match="could not be written"):
        train(tiny(), tmp_path / "run")
    pixelrnn.load(tmp_path / "run")
    model = train(tiny(), tmp_path / "run", resume=True)
    assert model.about["progress"]["step"] == 14


def spoil_gradients(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Let the gradient of some steps be NaN."""
    real = PixelTraining.configure_gradient_clipping

    def spoilt(self: PixelTraining, *rest: Any, **named: Any) -> None:
        if self.global_step in steps:
            next(iter(self.model.parameters())).grad.view(-1)[0] = torch.nan  # type: ignore[union-attr]
        real(self, *rest, **named)

    monkeypatch.setattr(PixelTraining, "configure_gradient_clipping", spoilt)


def test_a_step_whose_gradient_is_not_finite_is_skipped_counted_and_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_gradients(monkeypatch, {3, 9})
    weights: list[torch.Tensor] = []
    real = PixelTraining.on_train_batch_start

    def watch(self: PixelTraining, *rest: Any) -> None:
        weights.append(torch.cat([each.detach().flatten() for each in self.model.parameters()]))
        real(self, *rest)

    monkeypatch.setattr(PixelTraining, "on_train_batch_start", watch)
    model = train(tiny(), tmp_path / "run")
    moved = [not torch.equal(before, after) for before, after in itertools.pairwise(weights)]
    assert [step for step, each in enumerate(moved) if not each] == [3, 9]
    assert model.about["progress"]["skipped"] == 2
    lines = (tmp_path / "run" / "logs" / "skipped.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(each["epoch"], each["batch"], len(each["images"])) for each in found] == [(0, 3, 200), (1, 2, 200)]


def test_ten_such_steps_in_a_row_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil_gradients(monkeypatch, set(range(8, 99)))
    with pytest.raises(TrainingError, match=r"10 steps in a row.*skipped\.jsonl"):
        train(tiny("epochs=5"), tmp_path / "run", machine=Machine(save_minutes=0))
    assert len((tmp_path / "run" / "logs" / "skipped.jsonl").read_text().splitlines()) == 10
    checkpoint = torch.load(tmp_path / "run" / "training" / "last.ckpt", weights_only=True)
    assert all(each.isfinite().all() for each in checkpoint["state_dict"].values())
    pixelrnn.load(tmp_path / "run")


def test_a_training_whose_gradient_is_not_finite_any_more_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a step that was much too large, from the third step on."""
    step = PixelTraining.training_step

    def diverged(self: PixelTraining, batch: Batch, batch_idx: int) -> Tensor:
        return step(self, batch, batch_idx) * (torch.nan if self.global_step > 2 else 1)

    monkeypatch.setattr(PixelTraining, "training_step", diverged)
    with pytest.raises(TrainingError, match=r"gradient was not finite (in|for) 10|10 steps in a row"):
        train(tiny("epochs=9", "ema=0"), tmp_path / "run")


def test_a_training_whose_weights_are_not_finite_any_more_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients may be zero then, as those of a sigmoid without bounds: nothing but the weights shows it."""
    step = PixelTraining.training_step

    def diverged(self: PixelTraining, batch: Batch, batch_idx: int) -> Tensor:
        nats = step(self, batch, batch_idx)
        with torch.no_grad():
            next(self.model.parameters()).fill_(torch.inf)
        return nats

    monkeypatch.setattr(PixelTraining, "training_step", diverged)
    with pytest.raises(TrainingError, match="not finite"):
        train(tiny("epochs=9", "ema=0"), tmp_path / "run")


@pytest.mark.parametrize("moment", ["weights", "config"])
def test_a_model_folder_that_is_being_written_again_is_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The process ends after one of the three moves."""
    old, new = (pixelrnn.build("pixelcnn", size=(4, 4), levels=2, layers=1, width=4) for _ in range(2))
    old.save(tmp_path / "model")
    real = pixelrnn.model.model_folder.write_atomic

    def ends_after(path: Path, content: bytes) -> None:
        real(path, content)
        if moment in path.name or (moment == "weights" and path.suffix == ".new"):
            raise KeyboardInterrupt

    monkeypatch.setattr(pixelrnn.model.model_folder, "write_atomic", ends_after)
    with pytest.raises(KeyboardInterrupt):
        new.save(tmp_path / "model")
    monkeypatch.undo()
    found, expected = pixelrnn.load(tmp_path / "model"), new if moment == "config" else old
    for mine, theirs in zip(found.parameters(), expected.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    new.save(tmp_path / "model")
    assert names_in(tmp_path / "model") == ["README.md", "config.json", "model.safetensors"]


def test_the_average_of_the_weights_is_its_definition() -> None:
    torch.manual_seed(0)
    weights = [torch.randn(3, 2, dtype=torch.float64) for _ in range(41)]
    average, update = [weights[0].clone()], moving_average(0.6)
    expected = weights[0].clone()
    for step, current in enumerate(weights[1:], start=1):
        update(average, [current], torch.tensor(step))
        share = min(0.6, (1 + step) / (10 + step))
        expected = share * expected + (1 - share) * current
    torch.testing.assert_close(average[0], expected)
