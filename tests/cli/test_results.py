"""scripts/results.py: the trainings of a plan, and the document that is written from their folders."""

from __future__ import annotations

import json
import runpy
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

import pixelrnn
from pixelrnn.data import grid
from pixelrnn.measure.evaluation import evaluate, load_like

SCRIPT = Path(__file__).parents[2] / "scripts" / "results.py"
PLAN = """
[[table]]
title = "Digits"
unit = "bits/dim"
split = "test"
pictures = true
text = "Small."

[[table.run]]
folder = "runs/a"
train = "digits --epochs 1 --set width=4 --set layers=1 --set condition=class"
paper = "none"

[[table.run]]
folder = "runs/missing"
train = "digits --epochs 1 --set width=6 --set layers=1"

[[table]]
title = "Nothing here"
unit = "nats"
text = "Small."

[[table.run]]
folder = "runs/missing"
train = "digits --epochs 1 --set width=6 --set layers=1"
"""


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: ANN201
    """Call `results("--train")` in a folder that holds plan.toml."""
    monkeypatch.chdir(tmp_path)
    Path("plan.toml").write_text(PLAN)
    Path("docs").mkdir()

    def call(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["results.py", "plan.toml", *arguments])
        runpy.run_path(str(SCRIPT), run_name="__main__")

    return call


def test_a_plan_is_trained_and_written_down(results, capfd: pytest.CaptureFixture[str]) -> None:  # noqa: ANN001
    Path("runs/missing").mkdir(parents=True)
    with FileLock("runs/missing/.lock"), pytest.raises(SystemExit) as stop:  # another process is at it
        results("--train")
    assert not stop.value.code
    assert not Path("runs/missing/config.json").exists()
    with pytest.raises(SystemExit, match="not written: runs are missing"):
        results()
    assert not any(Path("docs").iterdir())
    results("--partial")
    text, model = Path("docs/plan.md").read_text(), pixelrnn.load("runs/a")
    found = evaluate(model, load_like(model, None, "test"))
    value, error = found.bits_per_dim, found.standard_error * found.bits_per_dim / found.nats
    assert f"| **{value:.4f} +- {error:.4f}** |" in text
    assert f"| {model.num_parameters:,} | {model.about['progress']['images']:,} |" in text
    command = "train digits --epochs 1 --set width=4 --set layers=1 --set condition=class --out runs/a"
    assert f"    pixelrnn {command}\n" in text
    assert "the class of the image; class by Bayes' rule " in text
    drawn = grid(model.sample(40, label=[*range(10)] * 4, seed=0), 17, columns=10)
    assert np.array_equal(np.asarray(Image.open("docs/images/results/a.png")), np.asarray(drawn)), (
        "a column for a class"
    )
    assert "missing" not in text
    assert "Nothing here" not in text
    assert "left out: runs/missing: it is missing" in capfd.readouterr().err
    kept = Path("runs/a/results.json")
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"nats": 1.0}))
    results("--partial")
    assert f"{1 / (64 * 0.6931472):.4f} +-" in Path("docs/plan.md").read_text(), "measured once"
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"sha256": "of other weights"}))
    results("--partial")
    assert f"| **{value:.4f} +- {error:.4f}** |" in Path("docs/plan.md").read_text(), "measured anew"
    Path("plan.toml").write_text(PLAN.replace("--set width=4", "--set width=6"))
    results("--partial")
    assert "left out: runs/a: its model.width differ" in capfd.readouterr().err
    assert "Digits" not in Path("docs/plan.md").read_text()


@pytest.mark.parametrize("name", ["results", "heirs"])
def test_a_page_of_results_says_what_its_plan_says(name: str) -> None:
    root = SCRIPT.parents[1]
    plan = tomllib.loads((root / "scripts" / f"{name}.toml").read_text())
    page = (root / "docs" / f"{name}.md").read_text()
    assert plan.get("text", "").strip() in page
    for table in plan["table"]:
        assert f"## {table['title']}\n\n{table['text'].strip()}\n" in page
        for run in table["run"]:
            assert f"    pixelrnn train {run['train']} --out {run['folder']}\n" in page, run["folder"]
