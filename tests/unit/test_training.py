"""A training ends in a model folder, can be stopped and taken up, and never loses what was there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import signal
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pixelrnn
from pixelrnn.data import Levels, load_data
from pixelrnn.errors import ConfigError, RunFolderError, StoppedError
from pixelrnn.measure.evaluation import evaluate, levels_for, load_like
from pixelrnn.model import PixelModel
from pixelrnn.sampling.choosers import uniforms
from pixelrnn.training import module, run_folder
from pixelrnn.training.batches import EpochOrder, Images, PixelBatches
from pixelrnn.training.callbacks import Bar, Progress
from pixelrnn.training.checkpoints import Checkpoints
from pixelrnn.training.machine import Machine
from pixelrnn.training.optimizers import hidden_weights, optimizer_of
from pixelrnn.training.presets import Preset, TrainingSettings, load_preset
from pixelrnn.training.run import train
from pixelrnn.training.run_folder import finished, locked


@pytest.fixture(autouse=True)
def _single_precision() -> None:
    torch.set_default_dtype(torch.float32)


def tiny(*changes: str) -> Preset:
    return load_preset(
        "digits", ["layers=2", "width=4", "batch_size=200", "schedule=constant", "warmup=0", "epochs=1", *changes]
    )


def weights_hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_a_run_is_a_model_folder_whose_figures_are_those_of_its_weights(tmp_path: Path) -> None:
    validations: list[Progress] = []
    model = train(tiny("epochs=2"), tmp_path / "run", on_validation=validations.append)
    assert [each.epoch for each in validations] == [1, 2]
    best = min(each.valid_nats for each in validations)
    again = evaluate(PixelModel.load(tmp_path / "run"), load_like(model, None, "valid"))
    assert again.nats == pytest.approx(best, abs=1e-3)
    assert model.about["progress"]["valid_nats"] == pytest.approx(best)
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"{best:.2f}" in card
    assert "pixelrnn train digits" in card
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["about"]["preset"]["training"]["epochs"] == 2
    for name in ("samples.png", "training/last.ckpt", "logs/samples/epoch-002.png"):
        assert (tmp_path / "run" / name).is_file(), name
    assert list((tmp_path / "run" / "logs").rglob("metrics.csv"))
    assert finished(tmp_path / "run")


def test_the_card_names_the_data_that_the_run_learned_from(tmp_path: Path) -> None:
    (tmp_path / "stones").mkdir()
    for number in range(20):
        Image.new("L", (8, 8), 10 * number).save(tmp_path / "stones" / f"{number}.png")
    train(tiny(f"name={tmp_path / 'stones'}", "epochs=1"), tmp_path / "run")
    card = (tmp_path / "run" / "README.md").read_text()
    assert card.startswith("# stones\n")
    assert "trained on stones with the settings of the preset digits" in card
    train(tiny("epochs=1"), tmp_path / "digits")
    assert (tmp_path / "digits" / "README.md").read_text().startswith("# digits\n\nGated PixelCNN on the 8 x 8 digits")


def test_the_bar_counts_epochs_as_the_reports_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    described = Bar._get_train_description
    monkeypatch.setattr(Bar, "_get_train_description", lambda *which: [shown.append(described(*which)), shown[-1]][1])
    train(tiny("epochs=2"), tmp_path / "run", bar=True)
    assert [each.strip() for each in dict.fromkeys(shown)] == ["Epoch 1/2", "Epoch 2/2"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(tiny(f"seed={seed}"), tmp_path / name)
    assert weights_hash(tmp_path / "a") == weights_hash(tmp_path / "b") != weights_hash(tmp_path / "c")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path, workers: int) -> None:
    train(tiny("epochs=3"), tmp_path / "unbroken")
    train(tiny("epochs=1"), tmp_path / "broken")
    epochs: list[int] = []
    machine = Machine(workers=workers)
    on_validation = lambda progress: epochs.append(progress.epoch)  # noqa: E731
    train(tiny("epochs=3"), tmp_path / "broken", resume=True, on_validation=on_validation, machine=machine)
    assert epochs == [2, 3]
    seen = [PixelModel.load(tmp_path / name).about["progress"]["images"] for name in ("unbroken", "broken")]
    assert seen == [3 * 1297, 3 * 1297]
    assert weights_hash(tmp_path / "broken") == weights_hash(tmp_path / "unbroken")


def test_a_finished_run_that_is_resumed_stays_as_it_is(tmp_path: Path) -> None:
    train(tiny(), tmp_path / "run")
    before = weights_hash(tmp_path / "run")
    train(tiny(), tmp_path / "run", resume=True)
    assert weights_hash(tmp_path / "run") == before


def test_a_model_without_a_checkpoint_is_not_trained_afresh_by_resuming(tmp_path: Path) -> None:
    train(tiny(), tmp_path / "run")
    before = weights_hash(tmp_path / "run")
    (tmp_path / "run" / "training" / "last.ckpt").unlink()
    for _ in ("the checkpoint is gone", "the whole folder of the training"):
        with pytest.raises(RunFolderError, match=r"no last\.ckpt to resume from"):
            train(tiny("epochs=2"), tmp_path / "run", resume=True)
        assert weights_hash(tmp_path / "run") == before
        shutil.rmtree(tmp_path / "run" / "training", ignore_errors=True)


@pytest.mark.parametrize(("rank", "world"), [("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")])
def test_a_launcher_of_another_number_of_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, rank: str, world: str
) -> None:
    monkeypatch.setenv(rank, "1")
    monkeypatch.setenv(world, "8")
    with pytest.raises(ConfigError, match="started 8 processes, but --devices 1 and --nodes 1 make 1"):
        Machine()
    assert Machine(devices=4, nodes=2).chosen_strategy == "ddp"


def test_a_run_is_never_overwritten_unasked(tmp_path: Path) -> None:
    train(tiny(), tmp_path / "run")
    before = weights_hash(tmp_path / "run")
    with pytest.raises(RunFolderError, match="--resume"):
        train(tiny("seed=5"), tmp_path / "run")
    assert weights_hash(tmp_path / "run") == before
    train(tiny("seed=5"), tmp_path / "run", overwrite=True)
    assert weights_hash(tmp_path / "run") != before


def test_a_run_killed_before_its_first_file_was_whole_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "run" / "training").mkdir(parents=True)
    (tmp_path / "run" / "training" / ".preset.json.1.tmp").write_text("{")
    train(tiny(), tmp_path / "run", resume=True)
    assert not list((tmp_path / "run" / "training").glob(".*"))
    (tmp_path / "other" / "training").mkdir(parents=True)
    (tmp_path / "other" / "training" / "plan.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="holds training, which were not written"):
        train(tiny(), tmp_path / "other", overwrite=True)


def test_overwriting_a_run_leaves_other_files_alone(tmp_path: Path) -> None:
    train(tiny(), tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    train(tiny(), tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_resuming_with_other_settings_is_refused_by_key(tmp_path: Path) -> None:
    train(tiny(), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"model\.width = 4"):
        train(tiny("width=8", "epochs=2"), tmp_path / "run", resume=True)


def test_resuming_where_there_is_nothing_starts_afresh(tmp_path: Path) -> None:
    assert train(tiny(), tmp_path / "new", resume=True).num_parameters > 0


def test_the_time_limit_ends_with_a_validation_and_a_model(tmp_path: Path) -> None:
    validations: list[Progress] = []
    train(tiny("epochs=100000"), tmp_path / "run", max_minutes=1e-6, on_validation=validations.append)
    assert [each.epoch for each in validations] == [1]
    assert PixelModel.load(tmp_path / "run").about["progress"]["valid_nats"] > 0


def test_a_run_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        train(tiny(), tmp_path / "file" / "run")


def test_the_average_of_the_weights_is_what_is_saved(tmp_path: Path) -> None:
    """With a decay of almost one the average hardly leaves the first weights, so the two runs differ much."""
    fast = ("epochs=3", "learning_rate=0.01", "warmup=0")
    averaged = train(tiny("ema=0.9999", *fast), tmp_path / "a").about["progress"]["valid_nats"]
    plain = train(tiny("ema=0", *fast), tmp_path / "b").about["progress"]["valid_nats"]
    assert averaged > plain + 1


def test_a_resumed_run_with_muon_and_many_orders_is_an_unbroken_one(tmp_path: Path) -> None:
    small = [
        "name=digits",
        "levels=17",
        "binarise=",
        "layers=1",
        "width=8",
        "batch_size=200",
        "schedule=constant",
        "warmup=0",
    ]
    one, two = (load_preset("mnist-any-order", [*small, f"epochs={epochs}"]) for epochs in (1, 2))
    assert (one.training.optimizer, one.training.orders) == ("muon", "completion")
    train(two, tmp_path / "unbroken")
    train(one, tmp_path / "broken")
    train(two, tmp_path / "broken", resume=True)
    assert weights_hash(tmp_path / "broken") == weights_hash(tmp_path / "unbroken")


def test_the_first_images_decide_the_initial_weights_of_normalised_layers(tmp_path: Path) -> None:
    (tmp_path / "digits-pp.toml").write_text(
        'model = {network = "pixelcnn-pp", head = "bernoulli", layers = 1, width = 4}\n'
        'data = {name = "digits", levels = 2}\n'
        'training = {epochs = 1, batch_size = 200, learning_rate = 1e-12, ema = 0, precision = "32"}'
    )
    model = train(load_preset(str(tmp_path / "digits-pp.toml")), tmp_path / "run")
    data = load_data("digits", "train")
    images = levels_for(model, data).fixed(data.images[:32])
    seen = []
    model.network.readout.params.register_forward_hook(lambda _, __, params: seen.append(params))
    with torch.no_grad():
        model.log_prob(torch.from_numpy(images))
    assert abs(float(seen[0].mean())) < 1e-4
    assert abs(float(seen[0].std()) - 1) < 1e-3


def test_orders_are_for_networks_that_take_any(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"goes in raster order only: leave training\.orders out"):
        train(tiny("orders=random"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_muon_steps_hidden_weights_by_matrices_near_orthogonal_and_others_as_adamw() -> None:
    model = pixelrnn.build("pixelcnn", size=(8, 8), levels=2, layers=1, width=4, skip=False)
    twin = pixelrnn.build("pixelcnn", size=(8, 8), levels=2, layers=1, width=4, skip=False)
    twin.load_state_dict(model.state_dict())
    muon = optimizer_of(model, TrainingSettings(optimizer="muon", learning_rate=0.01))
    adamw = optimizer_of(twin, TrainingSettings(optimizer="adamw", learning_rate=0.01))
    images, before = torch.randint(0, 2, (4, 1, 8, 8)), {name: each.clone() for name, each in model.named_parameters()}
    for each, optimizer in ((model, muon), (twin, adamw)):
        (-each.log_prob(images).mean()).backward()
        optimizer.step()
    hidden = hidden_weights(model)
    for (name, weight), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        if all(weight is not each for each in hidden):
            assert torch.equal(weight, other), name
            continue
        step = (weight - before[name]).detach().flatten(1) / (0.01 * 0.2 * max(weight.flatten(1).shape) ** 0.5)
        values = torch.linalg.svdvals(step)
        assert values.max() < 1.5, name
        assert values[0] > 0.5, name


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "rmsprop"])
def test_other_optimizers_and_full_precision_learn_too(tmp_path: Path, optimizer: str) -> None:
    validations: list[Progress] = []
    train(
        tiny(f"optimizer={optimizer}", "precision=32", "epochs=4", "ema=0"),
        tmp_path / "run",
        on_validation=validations.append,
    )
    assert validations[-1].valid_nats < validations[0].valid_nats - 1


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    order = EpochOrder(50, 8, seed=3)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    order.set_epoch(0)
    assert list(order) == first != second
    assert [len(batch) for batch in first] == [8] * 6 + [2] == [len(order.images_of(0, batch)) for batch in range(7)]
    assert first == [order.images_of(0, batch) for batch in range(7)]
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(50))
    assert list(EpochOrder(50, 8, seed=4)) != first


def test_an_epoch_is_taken_up_where_it_was_left_and_the_next_one_is_whole() -> None:
    order = EpochOrder(50, 8, seed=3)
    whole = list(order)
    order.first_batch = 5
    assert list(order) == whole[5:]
    assert list(order) == whole


@pytest.mark.parametrize("world", [2, 3, 5])
def test_the_processes_shares_of_a_batch_are_the_batch(world: int) -> None:
    whole = EpochOrder(50, 8, seed=3)
    orders = [EpochOrder(50, 8, 3, rank, world) for rank in range(world)]
    for batch, (images, *parts) in enumerate(zip(whole, *orders, strict=True)):
        shares = [order.share(batch) for order in orders]
        counted = [part for part, share in zip(parts, shares, strict=True) if share.counts]
        assert list(chain(*counted)) == images
        assert [share.total for share in shares] == [len(images)] * world
        assert [len(part) for part in parts] == [share.size for share in shares]
        for part, share in zip(parts, shares, strict=True):
            place = batch * 8 + images.index(part[0])
            assert share.first == place, "the place in the epoch, which the random numbers are of"
            assert share.counts or part == images[:1], "a process without an image takes one, for nothing"


def test_more_processes_than_validation_images_are_refused() -> None:
    data = dataclasses.replace(load_data("digits", "valid"), images=np.zeros((3, 1, 8, 8), np.uint8), labels=None)
    batches = PixelBatches(data, data, Levels(17, 17), batch_size=2, seed=0)
    for world in (3, 4):
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        batches.trainer = SimpleNamespace(strategy=strategy, global_rank=0, world_size=world)
        with pytest.raises(ConfigError, match="3 validation images are too few for 4") if world > 3 else nullcontext():
            batches.setup("fit")


def test_training_on_arrays_that_are_levels_already(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "levels.npy", np.random.default_rng(0).integers(0, 4, (60, 6, 5), dtype=np.uint8))
    preset = tiny(f"data.name='{tmp_path / 'levels.npy'}'", "levels=4", "values=4", "ema=0")
    model = train(preset, tmp_path / "run")
    assert model.size == (6, 5)
    assert model.about["protocol"] == "4 levels as they are"
    assert evaluate(model, load_like(model, None, "test")).bits_per_dim < 2.5


def test_an_array_whose_values_all_fall_on_one_level_is_refused_with_the_remedy(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "levels.npy", np.random.default_rng(0).integers(0, 4, (60, 6, 5), dtype=np.uint8))
    with pytest.raises(ConfigError, match="values=4"):
        train(tiny(f"data.name='{tmp_path / 'levels.npy'}'"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wanted", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops_and_the_run_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, wanted: signal.Signals
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.epoch == 1:
            os.kill(os.getpid(), wanted)

    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(StoppedError, match=r"last\.ckpt holds step 7; continue with the same command and --resume"):
        train(tiny("epochs=2"), tmp_path / "run", on_validation=interrupt)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert not finished(tmp_path / "run")
    train(tiny("epochs=2"), tmp_path / "run", resume=True)
    train(tiny("epochs=2"), tmp_path / "unbroken")
    assert weights_hash(tmp_path / "run") == weights_hash(tmp_path / "unbroken")


def test_a_second_ctrl_c_ends_at_once_and_the_next_one_works_as_before(tmp_path: Path) -> None:
    def interrupt(_: Progress) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tiny("epochs=3"), tmp_path / "run", on_validation=interrupt)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_training_in_the_same_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "_PATIENCE", 0.1)
    with locked(tmp_path / "run"), pytest.raises(RunFolderError, match="Another training is running"):
        train(tiny(), tmp_path / "run")
    train(tiny(), tmp_path / "run")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_checkpoint_within_an_epoch_is_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Saved after every step, and the wish to stop comes in the middle of the second epoch."""
    steps: list[int] = []
    real = Checkpoints.on_train_batch_end

    def stop_at_ten(self: Checkpoints, trainer: Any, module: Any, *rest: Any) -> None:
        steps.append(trainer.global_step)
        if len(steps) == 10:
            self.signals.received = "SIGTERM"
        real(self, trainer, module, *rest)

    preset, machine = tiny("epochs=3", "dropout=0.1", "schedule=cosine"), Machine(save_minutes=0, workers=workers)
    train(preset, tmp_path / "unbroken")
    monkeypatch.setattr(Checkpoints, "on_train_batch_end", stop_at_ten)
    with pytest.raises(StoppedError, match="holds step 10"):
        train(preset, tmp_path / "run", machine=machine)
    model = train(preset, tmp_path / "run", machine=machine, resume=True)
    assert steps == list(range(1, 22)), "seven steps an epoch, each of them once"
    assert weights_hash(tmp_path / "run") == weights_hash(tmp_path / "unbroken")
    assert model.about["progress"]["images"] == 3 * 1297


def test_two_batches_of_a_step_are_one_of_twice_the_size(tmp_path: Path) -> None:
    """Fixed levels, no dropout, full precision: the same images, the same mean gradient, so nearly the same weights."""
    np.savez(
        tmp_path / "some.npz",
        **{
            f"{split}_images": np.random.default_rng(0).integers(0, 256, (count, 8, 8), dtype=np.uint8)
            for split, count in (("train", 80), ("valid", 8))
        },
    )
    data = [f'data.name="{tmp_path / "some.npz"}"', "levels=4", "dropout=0", "precision=32", "epochs=2"]
    two = train(tiny(*data, "batch_size=20", "accumulate=2"), tmp_path / "two")
    one = train(tiny(*data, "batch_size=40"), tmp_path / "one")
    assert two.about["progress"]["step"] == one.about["progress"]["step"]
    for mine, theirs in zip(two.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_every_batch_has_random_numbers_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    places: list[int] = []
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    monkeypatch.setattr(module, "uniforms", lambda seed, of, shape: places.extend(of) or uniforms(seed, of, shape))
    train(tiny("accumulate=3", "batch_size=100", "levels=2", "binarise=stochastic", "epochs=2"), tmp_path / "run")
    dropout = seeds[1:]  # the first is that of the run
    assert len(dropout) == len(set(dropout)) == 2 * 13
    assert places == list(range(2 * 1297))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_images_on_a_device_are_the_same() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 1, 2, 3), dtype=np.uint8)
    images = Images(pixels)
    images.put_on(torch.device("cuda"))
    assert images[[3, 1]].pixels.device.type == "cuda"
    assert np.array_equal(images[[3, 1]].pixels.cpu().numpy(), pixels[[3, 1]])
