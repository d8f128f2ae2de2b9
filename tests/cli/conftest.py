"""The command line, run in this process, and one small trained run to work on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command import Cli, Result


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
    from pixelrnn.training.presets import load_preset
    from pixelrnn.training.run import train

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(load_preset("digits", ["layers=2", "width=4", "batch_size=200", "epochs=1", "ema=0"]), folder)
    torch.set_default_dtype(before)
    return folder
