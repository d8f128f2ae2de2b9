"""Train the models of docs/results.md, and write it: every measured figure comes from a run folder.

    python scripts/results.py scripts/results.toml --train     # those that are not there yet, one after the other
    python scripts/results.py scripts/results.toml --out docs/results.md

Several of the first command may run at once, begun a few seconds apart: each takes the next run that is not finished
and that no other is at. Where a table names a split, each model is evaluated on the whole of it, once: what was found
is kept in RUN/results.json beside the hash of the weights that it belongs to. Runs that are not finished, or were
trained with other settings than the plan says, are left out, and named on standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

import pixelrnn
from pixelrnn.cli.common import bar
from pixelrnn.data import save_picture
from pixelrnn.files import write_atomic
from pixelrnn.measure.evaluation import accuracy, evaluate, load_like
from pixelrnn.model.model_folder import read_config
from pixelrnn.report.sheets import sample_sheet
from pixelrnn.training.presets import load_preset
from pixelrnn.training.run_folder import finished, saved_preset

Table = dict[str, Any]

CLASSIFIED = 3000  # images, as each takes a pass for every class
UNITS: dict[str, Callable[[int, int], float]] = {  # (pixels, channels) to what nats per image are divided by
    "nats": lambda pixels, channels: 1,
    "nats/pixel": lambda pixels, channels: pixels,
    "bits/dim": lambda pixels, channels: pixels * channels * math.log(2),
}

_TRAIN = argparse.ArgumentParser()  # what a plan says of a training
_TRAIN.add_argument("preset")
_TRAIN.add_argument("--set", action="append", default=[])
_TRAIN.add_argument("--epochs", type=int)
_TRAIN.add_argument("--max-minutes", type=float)


def train(plan: Table) -> bool:
    """Train every run that is not finished and that no other process is at; whether all of these came to their end."""
    fine = True
    for table in plan["table"]:
        for entry in table["run"]:
            folder = Path(entry["folder"])
            if finished(folder) or busy(folder):
                continue
            command = ["pixelrnn", "train", *shlex.split(entry["train"]), "--out", str(folder)]
            command += ["--resume"] * folder.exists()
            print(shlex.join(command), file=sys.stderr)
            process = subprocess.Popen([sys.executable, "-m", *command])
            try:
                fine &= process.wait() == 0
            except KeyboardInterrupt:
                process.wait()  # it has heard it too, and saves
                raise
    return fine


def stands(entry: Table) -> bool:
    """Whether the run is there, trained as the plan says; if not, why is said on standard error.

    The number of epochs may differ where a time limit ended the training.
    """
    folder, why = Path(entry["folder"]), ""
    if not finished(folder):
        why = "it is not there, or not finished"
    else:
        asked = _TRAIN.parse_args(shlex.split(entry["train"]))
        epochs = [] if asked.epochs is None else [f"epochs={asked.epochs}"]
        planned, ran = load_preset(asked.preset, [*asked.set, *epochs]).as_dict(), saved_preset(folder).as_dict()
        other = [
            f"{part}.{key}"
            for part in ("data", "model", "training")
            for key in sorted({*planned[part], *ran[part]} - ({"epochs"} if asked.max_minutes else set()))
            if planned[part].get(key) != ran[part].get(key)
        ]
        if other:
            why = f"it was trained with another {' and another '.join(other)} than the plan says"
    if why:
        print(f"left out: {folder}: {why}", file=sys.stderr)
    return not why


def busy(folder: Path) -> bool:
    """Whether a training is at work in the folder."""
    if not folder.is_dir():
        return False
    try:
        FileLock(folder / ".lock").acquire(timeout=0).lock.release()
    except Timeout:
        return True
    return False


def measured(run: Path, split: str) -> dict[str, Any]:
    """What `evaluate` finds, from RUN/results.json if it is of these weights."""
    path, weights = run / "results.json", read_config(run)["sha256"]
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text())
        if (found["sha256"], found["split"]) == (weights, split):
            return found
    model = pixelrnn.load(run)
    data = load_like(model, None, split)
    with bar(f"{run}, {split}") as update:
        found = {"sha256": weights, **evaluate(model, data, on_batch=update).as_dict()}
    if model.condition is not None and model.condition.classes:
        with bar(f"{run}, classes") as update:
            classified = accuracy(model, data, on_batch=update, count=CLASSIFIED)
        found |= {
            "accuracy": classified.accuracy,
            "accuracy_standard_error": classified.standard_error,
            "classified": classified.images,
        }
    write_atomic(path, (json.dumps(found, indent=2) + "\n").encode())
    return found


def cells(entry: Table, table: Table) -> dict[str, str]:
    """One line of a table, by column."""
    run = Path(entry["folder"])
    config = read_config(run)
    about, options = config["about"], config["options"]
    progress = about["progress"]
    sizes = " x ".join(str(options[key]) for key in ("layers", "width") if options.get(key))
    unit = table["unit"]
    line = {
        "model": entry.get("name") or f"{config['network']} {sizes}",
        "parameters": f"{config['parameters']:,}",
        "images seen": f"{progress['images']:,}",
        "seconds": f"{progress['seconds']:,.0f}",
        f"validation, {unit}": _value(progress["valid_nats"], progress["standard_error"], unit, config),
    }
    if "split" in table and table["split"] != "valid":
        found = measured(run, table["split"])
        line[f"{table['split']}, {unit}"] = f"**{_value(found['nats'], found['standard_error'], unit, config)}**"
        line["given"] = found["protocol"].partition(", given ")[2] or "nothing"
        if "accuracy" in found:
            right, error = 100 * found["accuracy"], 100 * found["accuracy_standard_error"]
            line["given"] += (
                f"; class by Bayes' rule {right:.1f} +- {error:.1f} % right ({found['classified']:,} images)"
            )
    if any("paper" in other for other in table["run"]):
        line["the paper"] = entry.get("paper", "")
    return line


def _value(nats: float, error: float, unit: str, config: dict[str, Any]) -> str:
    """Nats per image and their standard error, in a unit of UNITS."""
    height, width = config["size"]
    parts, digits = UNITS[unit](height * width, config["channels"]), 2 if unit == "nats" else 4
    return f"{nats / parts:.{digits}f} +- {error / parts:.{digits}f}"


def machine(run: Path) -> str:
    """What a run was trained on, as its config says it."""
    about = read_config(run)["about"]
    return str(about.get("machine") or about["device"])


def draw(run: Path, folder: Path, split: str) -> str:
    """A sheet of samples beside the document; the lines that show it."""
    model = pixelrnn.load(run)
    folder.mkdir(parents=True, exist_ok=True)
    save_picture(sample_sheet(model, load_like(model, None, split)), folder / f"{run.name}.png")
    return f"![Samples of {run.name}](images/results/{run.name}.png)\n\n*{run.name}: forty images of seed 0.*"


def section(table: Table, images: Path) -> list[str]:
    """Heading, text, table, commands and pictures of one table."""
    there = [entry for entry in table["run"] if stands(entry)]
    if not there:
        return []
    lines = [f"## {table['title']}", "", table["text"].strip(), ""]
    found = [cells(entry, table) for entry in there]
    columns = list(found[0])
    lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(line[column] for column in columns) + " |" for line in found]
    runs = [Path(entry["folder"]) for entry in there]
    lines += ["", f"Trained on: {'; '.join(sorted({machine(run) for run in runs}))}. Commands:", ""]
    lines += [f"    pixelrnn train {entry['train']} --out {entry['folder']}" for entry in there]
    if table.get("pictures"):
        for run in runs:
            lines += ["", draw(run, images, table["split"])]
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--train", action="store_true", help="train what is missing, and write nothing")
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    args = parser.parse_args()
    plan = tomllib.loads(args.plan.read_text())
    if args.train:
        sys.exit(not train(plan))
    lines = ["# Results", "", f"Written by `python scripts/results.py {args.plan}` from the folders of the runs.", ""]
    for table in plan["table"]:
        lines += section(table, args.out.parent / "images" / "results")
    args.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
