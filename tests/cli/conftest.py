"""The command line, run in this process, and one small trained run to work on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command import Cli, Result

import pixelrnn
from pixelrnn.data import load_data


@pytest.fixture(autouse=True)
def _single_precision() -> None:
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """Call `cli("sample", folder, ...)`."""
    from pixelrnn.cli import main

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["pixelrnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return Result(int(stop.value.code or 0), printed.out, printed.err)

    return call


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: the digits, one epoch, tiny."""
    return trained(tmp_path_factory.mktemp("trained") / "run", "width=4", "batch_size=200")


@pytest.fixture(scope="session")
def class_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned of the class of each digit."""
    return trained(tmp_path_factory.mktemp("trained") / "class", "condition=class")


@pytest.fixture(scope="session")
def half_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned to restore digits from half their size."""
    return trained(tmp_path_factory.mktemp("trained") / "half", "condition=half")


@pytest.fixture(scope="session")
def blur_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned to restore digits that are blurred."""
    return trained(tmp_path_factory.mktemp("trained") / "blur", "condition=blur", "batch_size=200")


@pytest.fixture(scope="session")
def code_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an encoder to five numbers, of length one."""
    folder = trained(tmp_path_factory.mktemp("trained") / "code", "code_size=5", "unit_code=true")
    model = pixelrnn.load(folder)
    spread_codes(model)
    model.save(folder)
    return folder


@torch.no_grad()
def spread_codes(model: pixelrnn.PixelModel) -> None:
    """Let codes differ from image to image, and matter: an epoch does not teach that."""
    images = torch.from_numpy(load_data("digits", "test").images[:50].copy())
    assert model.encoder is not None
    model.encoder.unit = False
    model.encoder.code.bias -= model.encode(images).mean(0)
    model.encoder.unit = True
    model.get_submodule("condition.vector").weight *= 20


def trained(folder: Path, *changes: str) -> Path:
    """The digits, one epoch, small."""
    from pixelrnn.training.presets import load_preset
    from pixelrnn.training.run import train

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
    train(load_preset("digits", ["layers=2", "width=8", "batch_size=50", "epochs=1", "ema=0", *changes]), folder)
    torch.set_default_dtype(before)
    return folder
