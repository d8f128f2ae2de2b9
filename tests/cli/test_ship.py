"""scripts/ship.py: a trained model becomes one of the package, or nothing is touched."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import pixelrnn

SCRIPT = Path(__file__).parents[2] / "scripts" / "ship.py"


@pytest.fixture
def ship(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which writes into `tmp_path` and is called on the run `run`."""
    torch.set_default_dtype(torch.float32)
    spec = importlib.util.spec_from_file_location("ship", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "WEIGHTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["ship.py", str(run), "small", "Digits of a test"])
    return module


def test_a_model_is_shipped_in_16_bits_with_what_they_give(ship: ModuleType, run: Path, tmp_path: Path) -> None:
    ship.main()
    folder = tmp_path / "small"
    assert (folder / "model.safetensors").stat().st_size < 0.7 * (run / "model.safetensors").stat().st_size
    said = pixelrnn.load(folder).about["shipped"]
    card = (folder / "README.md").read_text()
    assert card.startswith("# small\n\nDigits of a test\n")
    assert f"**{said['nats']:.2f} +- {said['standard_error']:.2f} nats per image" in card
    assert said["nats"] == pytest.approx(said["nats_in_32_bits"], abs=0.05)
    assert said["images"] == 300, "the test split of the digits"
    assert (folder / "samples.png").is_file()


@pytest.mark.parametrize(("limit", "least"), [("LARGEST", 1), ("MOST", -1)])
def test_what_is_too_large_or_differs_is_not_shipped(ship: ModuleType, tmp_path: Path, limit: str, least: int) -> None:
    ship.main()
    before = {each.name: each.read_bytes() for each in (tmp_path / "small").iterdir()}
    setattr(ship, limit, least)
    with pytest.raises(SystemExit, match=r"not shipped: .* bytes"):
        ship.main()
    assert {each.name: each.read_bytes() for each in (tmp_path / "small").iterdir()} == before
