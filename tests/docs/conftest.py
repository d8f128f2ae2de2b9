"""A folder in which the commands and programs of the pages can run: pictures, small data sets, a trained run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixelrnn.data import builtin
from pixelrnn.training.presets import load_preset
from pixelrnn.training.run import train

FOLDERS = ("PHOTOS/KIND", "PHOTOS/other", "photos/a", "photos/b", "holiday/beach", "wafers", "imagenet64")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    rng = np.random.default_rng(0)
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
        for index in range(12):
            Image.fromarray(rng.integers(0, 256, (36, 40, 3), np.uint8)).save(folder / name / f"{index}.png")
    (folder / "holiday" / "beach" / "0.png").rename(folder / "holiday" / "beach" / "sunset.png")
    for name, size in {
        "digit": (28, 28),
        "three": (28, 28),
        "scan": (40, 30),
        "small": (14, 14),
        "photo": (112, 92),
    }.items():
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(folder / f"{name}.png")
    for name in ("a", "b"):
        shutil.copy(folder / "photo.png", folder / f"{name}.png")
    hole = np.full((28, 28), 255, np.uint8)
    hole[10:18] = 0
    Image.fromarray(hole).save(folder / "hole.png")
    digits = rng.integers(0, 256, (20, 28, 28), np.uint8)
    np.savez(folder / "letters.npz", test_images=digits)
    patches = {f"{split}_images": rng.integers(0, 256, (8, 8, 8), np.uint8) for split in ("train", "valid", "test")}
    np.savez(folder / "patches.npz", **patches)
    (folder / "data").mkdir()
    label = np.arange(20) % 10
    np.savez(
        folder / "data" / "mnist.npz",
        train_images=digits,
        train_labels=label,
        test_images=digits[:10],
        test_labels=label[:10],
    )
    person = np.arange(20) // 2 + 1
    np.savez(folder / "data" / "orl_faces.npz", images=rng.integers(0, 256, (20, 112, 92), np.uint8), person=person)
    torch.set_default_dtype(torch.float32)
    train(load_preset("digits", ["layers=2", "width=8", "batch_size=200", "epochs=1"]), folder / "demo" / "run")
    return folder


@pytest.fixture
def world(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, as the working directory; its MNIST has twenty images."""
    folder = tmp_path / "world"
    shutil.copytree(template, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PIXELRNN_DATA", str(folder / "data"))
    monkeypatch.setenv("PIXELRNN_CACHE", str(folder / "cache"))
    monkeypatch.setattr(builtin, "MNIST_TRAIN", 20)
    monkeypatch.setattr(builtin, "MNIST_VALID", 5)
    monkeypatch.setattr(builtin, "MNIST_TEST", 10)
    torch.set_default_dtype(torch.float32)
    return folder
