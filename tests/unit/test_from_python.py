"""Training from Python: data sets of PyTorch, loaders, tensors; what does not fit is named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

import pixelrnn
from pixelrnn.data.from_dataset import FromDataset, from_dataset, held_out
from pixelrnn.errors import ConfigError, DataError, ImageError, RunFolderError
from pixelrnn.model import PixelModel
from pixelrnn.training.batches import Images
from pixelrnn.training.loggers import check_loggers
from pixelrnn.training.machine import Machine

SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 8, "warmup": 0}


@pytest.fixture(autouse=True)
def _single_precision() -> None:
    torch.set_default_dtype(torch.float32)


def small(**options: Any) -> PixelModel:
    torch.manual_seed(0)
    return pixelrnn.build("pixelcnn", size=(6, 5), levels=4, layers=1, width=4, **options)


def pictures(count: int = 40) -> np.ndarray:
    """Squares of one level, whose rows are easy to learn."""
    levels = np.random.default_rng(0).integers(4, size=(count, 1, 1, 1))
    return np.broadcast_to(levels, (count, 1, 6, 5)).astype(np.uint8)


class Drawn(Dataset[Any]):
    """Pairs of an image and its level, as PIL pictures; counts how often each item was read."""

    classes = ("black", "dark", "light", "white")

    def __init__(self, count: int = 40) -> None:
        self.images = pictures(count)
        self.read = np.zeros(count, dtype=int)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        self.read[index] += 1
        return Image.fromarray(self.images[index, 0]), int(self.images[index, 0, 0, 0])


def test_a_dataset_is_learned_and_the_model_has_the_weights_of_the_folder(tmp_path: Path) -> None:
    model, seen = small(), []
    before = model.log_prob(torch.from_numpy(pictures())).mean().item()
    data = Drawn()
    trained = pixelrnn.train(
        model, data, out=tmp_path / "run", learning_rate=0.03, on_validation=seen.append, **SETTINGS
    )
    assert trained is model
    assert not model.training
    assert len(seen) == 2
    assert data.read.min() >= 2, "every item is checked first, and read in an epoch"
    nats = model.log_prob(torch.from_numpy(pictures()))
    assert nats.mean() > before + 1
    saved = pixelrnn.load(tmp_path / "run").state_dict()
    assert all(torch.equal(saved[key], value) for key, value in model.state_dict().items())
    assert all(each.is_contiguous() for each in model.parameters())
    assert model.about["data"] == "Drawn"


def test_an_array_a_tensor_a_dataset_and_a_loader_train_alike(tmp_path: Path) -> None:
    images = torch.from_numpy(pictures())
    kinds = {
        "array": pictures(),
        "tensor": images,
        "dataset": TensorDataset(images),
        "loader": DataLoader(TensorDataset(images), batch_size=8, shuffle=True),
    }
    settings = {"epochs": 1, "warmup": 0}
    found = []
    for name, data in kinds.items():
        given = settings if name == "loader" else settings | {"batch_size": 8}
        found.append(pixelrnn.train(small(), data, out=tmp_path / name, **given).state_dict())
    for other in found[1:]:
        assert all(torch.equal(other[key], value) for key, value in found[0].items())


def test_labels_condition_a_model_that_has_classes(tmp_path: Path) -> None:
    model = small(classes=4)
    pixelrnn.train(model, Drawn(), Drawn(8), out=tmp_path / "run", **SETTINGS)
    assert model.about["class_names"] == ["black", "dark", "light", "white"]
    assert model.about["valid_images"] == 8
    pixelrnn.train(small(classes=4), (pictures(), pictures()[:, 0, 0, 0]), out=tmp_path / "other", **SETTINGS)


def test_what_a_dataset_draws_by_chance_is_drawn_again_in_every_epoch() -> None:
    class Random(Dataset[Any]):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.randint(0, 4, (6, 5), dtype=torch.uint8)

    images = from_dataset(Random(), 4).images
    assert isinstance(images, FromDataset)
    assert not np.array_equal(images[:], images[:])
    kept = Images(images)
    kept.put_on(torch.device("cuda"))  # there, one draw would be kept for good
    assert kept.pixels is images
    assert images.through(np.array([7, 7, 7, 7], dtype=np.uint8))[[1]].tolist() == np.full((1, 1, 6, 5), 7).tolist()


def test_auto_is_a_gpu_of_cuda_or_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, chosen in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert (Machine().accelerator, Machine("cpu").accelerator) == (chosen, "cpu")


def test_a_tenth_is_held_out_and_shared_with_no_training_image() -> None:
    images = np.arange(40, dtype=np.uint8)[:, None, None].repeat(6, 1).repeat(5, 2)
    for data in (images, TensorDataset(torch.from_numpy(images))):
        train, valid = held_out(from_dataset(data, 256))
        numbers = [set(np.asarray(each.images)[:, 0, 0, 0].tolist()) for each in (train, valid)]
        assert len(numbers[1]) == 4
        assert numbers[0] | numbers[1] == set(range(40))
        assert not numbers[0] & numbers[1]


def test_callbacks_loggers_and_the_trainer_are_lightnings(tmp_path: Path) -> None:
    class Counts(lightning.Callback):
        steps = 0

        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:
            self.steps += 1
            assert trainer.log_every_n_steps == 1

    counts, own = Counts(), CSVLogger(tmp_path / "own")
    pixelrnn.train(
        small(), pictures(), out=tmp_path / "run", callbacks=[counts], loggers=[own],
        trainer={"log_every_n_steps": 1, "limit_train_batches": 3}, **SETTINGS,
    )  # fmt: skip
    assert counts.steps == 6
    assert list((tmp_path / "own").rglob("metrics.csv"))


@pytest.mark.parametrize("wrong", [{"trainer": {"limit_train_batch": 1}}, {"loggers": ["wandbb"]}])
def test_wrong_arguments_for_lightning_leave_no_run_folder(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Did you mean"):
        pixelrnn.train(small(), pictures(), out=tmp_path / "run", **wrong, **SETTINGS)
    assert not (tmp_path / "run").exists()


def test_a_logger_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        check_loggers(["csv", "wandb"])


def test_a_model_that_has_learned_goes_on_from_its_weights(tmp_path: Path) -> None:
    """PixelCNN++ lets the first images decide its initial weights, but only when they are initial."""
    torch.manual_seed(0)
    model = pixelrnn.build("pixelcnn-pp", size=(6, 5), levels=4, head="categorical", layers=1, width=4)
    images = torch.from_numpy(pictures())
    pixelrnn.train(model, images, out=tmp_path / "first", learning_rate=0.01, **SETTINGS)
    before = model.log_prob(images).mean().item()
    pixelrnn.train(model, images, out=tmp_path / "second", learning_rate=1e-9, ema=0, **SETTINGS | {"epochs": 1})
    assert abs(model.log_prob(images).mean().item() - before) < 1e-3


def test_targets_that_are_no_classes_are_not_taken_for_labels() -> None:
    images = [torch.zeros(6, 5, dtype=torch.uint8)] * 3
    for target in (0.7, {"boxes": [1]}, "seven", [1, 2], torch.zeros(3)):
        assert from_dataset([(image, target) for image in images], 4).labels is None
    assert from_dataset([(image, torch.tensor(2)) for image in images], 4).labels is not None


def test_a_run_from_python_is_resumed(tmp_path: Path) -> None:
    def run(folder: str, epochs: int, resume: bool = False) -> dict[str, torch.Tensor]:
        settings = SETTINGS | {"epochs": epochs, "schedule": "constant"}
        return pixelrnn.train(small(), pictures(), out=tmp_path / folder, resume=resume, **settings).state_dict()

    whole = run("whole", 3)
    run("parts", 1)
    parts = run("parts", 3, resume=True)
    assert all(torch.equal(parts[key], value) for key, value in whole.items())
    with pytest.raises(RunFolderError):
        run("parts", 3)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        while True:
            yield torch.zeros(6, 5, dtype=torch.uint8)


class Ragged(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.zeros(6, 5 + index, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (Endless(), DataError, "map-style Dataset"),
        (Ragged(), ImageError, "all must be of one size"),
        (pictures() / 4.0, ImageError, "must hold integers"),
        (TensorDataset(torch.rand(9, 6, 5)), ImageError, "must hold integers"),
        (pictures() + 1, ImageError, r"values 0\.\.3"),
        (TensorDataset(torch.from_numpy(pictures() + 1)), ImageError, "4 values, 0..3"),
        ([Image.new("P", (5, 6))] * 4, ImageError, "a palette"),
        (pictures()[:, :, :4], ConfigError, "was built for 1 channel"),
        (pictures(2), DataError, "At least 3 images"),
        (pictures(0), DataError, "is empty"),
        ((pictures(), np.zeros(3, dtype=int)), DataError, "Labels must be 40 integers"),
        (DataLoader(Drawn(), sampler=WeightedRandomSampler([1.0] * 40, 40)), ConfigError, "sampler or batches"),
    ],
)
def test_data_that_cannot_be_trained_on_is_named_and_nothing_written(
    tmp_path: Path, data: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        pixelrnn.train(small(), data, out=tmp_path / "run", **SETTINGS)
    assert not (tmp_path / "run").exists()


def test_settings_and_labels_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="learning_rat"):
        pixelrnn.train(small(), pictures(), out=tmp_path / "run", learning_rat=1)
    with pytest.raises(ConfigError, match="has no labels"):
        pixelrnn.train(small(classes=4), pictures(), out=tmp_path / "run")
    with pytest.raises(ConfigError, match="classes=4"):
        pixelrnn.train(small(classes=2), Drawn(), out=tmp_path / "run")
