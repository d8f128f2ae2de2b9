"""Train the models of docs/results.md, and write that file: all measured figures come from run folders.

    python scripts/results.py scripts/results.toml --train     # train the missing models, one after the other
    python scripts/results.py scripts/results.toml             # writes docs/results.md

The first command can run several times in parallel, started a few seconds apart: each process takes the next run that
is not finished and not in use. If a table names a split, each model is evaluated on all of it, once; the result is
cached in RUN/results.json with the hash of the weights; a line with `orders` is of the mean probability in these. Runs
that are unfinished, or were trained with settings other than the plan's, are reported on standard error, and nothing is
written, unless --partial leaves them out.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
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

CLASSIFIED = 3000  # images to classify, which takes one network pass per class each
UNITS: dict[str, Callable[[int, int], float]] = {  # the divisor of nats per image, from (pixels, channels)
    "nats": lambda pixels, channels: 1,
    "nats/pixel": lambda pixels, channels: pixels,
    "bits/dim": lambda pixels, channels: pixels * channels * math.log(2),
}

_TRAIN = argparse.ArgumentParser()  # the arguments of `pixelrnn train` that a plan may use
_TRAIN.add_argument("preset")
_TRAIN.add_argument("--set", action="append", default=[])
_TRAIN.add_argument("--epochs", type=int)
_TRAIN.add_argument("--max-minutes", type=float)


def train(plan: Table) -> bool:
    """Train every run that is neither finished nor in use; whether all of these succeeded."""
    succeeded = True
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
                succeeded &= process.wait() == 0
            except KeyboardInterrupt:
                process.wait()  # it got the signal too, and saves a checkpoint
                raise
    return succeeded


def trained_as_planned(entry: Table) -> bool:
    """Whether the run has finished with the settings of the plan; if not, the reason is printed on standard error.

    The number of epochs may differ if a time limit ended the training.
    """
    folder, why = Path(entry["folder"]), ""
    if not finished(folder):
        why = "it is missing, or not finished"
    else:
        options = _TRAIN.parse_args(shlex.split(entry["train"]))
        epochs = [] if options.epochs is None else [f"epochs={options.epochs}"]
        planned, ran = load_preset(options.preset, [*options.set, *epochs]).as_dict(), saved_preset(folder).as_dict()
        different = [
            f"{part}.{key}"
            for part in ("data", "model", "training")
            for key in sorted({*planned[part], *ran[part]} - ({"epochs"} if options.max_minutes else set()))
            if planned[part].get(key) != ran[part].get(key)
        ]
        if different:
            why = f"its {' and '.join(different)} differ from the plan"
    if why:
        print(f"left out: {folder}: {why}", file=sys.stderr)
    return not why


def busy(folder: Path) -> bool:
    """Whether a training is running in the folder."""
    if not folder.is_dir():
        return False
    try:
        FileLock(folder / ".lock").acquire(timeout=0).lock.release()
    except Timeout:
        return True
    return False


def measured(run: Path, split: str, orders: Sequence[str] = ()) -> dict[str, Any]:
    """The results of `evaluate`, from RUN/results.json if that is for these weights.

    With orders, of the mean of the probabilities in each of them.
    """
    path = run / ("-".join(["results", *orders]) + ".json")
    weights = read_config(run)["sha256"]
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text())
        if (found["sha256"], found["split"]) == (weights, split):
            return found
    model = pixelrnn.load(run)
    data = load_like(model, None, split)
    with bar(f"{run}, {split}") as update:
        found = {"sha256": weights, **evaluate(model, data, on_batch=update, orders=orders).as_dict()}
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
    """One line of a table: the cell of each column."""
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
        found = measured(run, table["split"], entry.get("orders", ()))
        line[f"{table['split']}, {unit}"] = f"**{_value(found['nats'], found['standard_error'], unit, config)}**"
        line["conditioned on"] = found["protocol"].partition(", given ")[2].partition(", s-curve")[0] or "nothing"
        if "accuracy" in found:
            right, error = 100 * found["accuracy"], 100 * found["accuracy_standard_error"]
            line["conditioned on"] += (
                f"; class by Bayes' rule {right:.1f} +- {error:.1f} % right ({found['classified']:,} images)"
            )
    if any("paper" in other for other in table["run"]):
        line["the paper"] = entry.get("paper", "")
    return line


def _value(nats: float, error: float, unit: str, config: dict[str, Any]) -> str:
    """Nats per image and their standard error, converted to one of UNITS."""
    height, width = config["size"]
    parts, digits = UNITS[unit](height * width, config["channels"]), 2 if unit == "nats" else 4
    return f"{nats / parts:.{digits}f} +- {error / parts:.{digits}f}"


def machine(run: Path) -> str:
    """The hardware of a run, from its config."""
    about = read_config(run)["about"]
    return str(about.get("machine") or about["device"])


def draw(run: Path, folder: Path, split: str) -> str:
    """Save a sheet of samples next to the document; the Markdown that shows it."""
    model = pixelrnn.load(run)
    folder.mkdir(parents=True, exist_ok=True)
    save_picture(sample_sheet(model, load_like(model, None, split)), folder / f"{run.name}.png")
    return f"![Samples of {run.name}](images/results/{run.name}.png)\n\n*{run.name}: forty samples with seed 0.*"


def section(table: Table, images: Path) -> list[str]:
    """The Markdown of one table with its heading, text, commands and pictures."""
    entries = [entry for entry in table["run"] if trained_as_planned(entry)]
    if not entries:
        return []
    lines = [f"## {table['title']}", "", table["text"].strip(), ""]
    rows = [cells(entry, table) for entry in entries]
    columns = list(rows[0])
    lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(row[column] for column in columns) + " |" for row in rows]
    runs = [Path(entry["folder"]) for entry in entries]
    lines += ["", f"Trained on: {'; '.join(sorted({machine(run) for run in runs}))}. Commands:", ""]
    # A run may have several lines, in other orders.
    lines += dict.fromkeys(f"    pixelrnn train {entry['train']} --out {entry['folder']}" for entry in entries)
    if table.get("pictures"):
        for run in dict.fromkeys(runs):
            lines += ["", draw(run, images, table["split"])]
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--train", action="store_true", help="train the missing models, and do not write the document")
    parser.add_argument("--out", type=Path, help="the document; by default docs/NAME.md for the plan NAME.toml")
    parser.add_argument("--partial", action="store_true", help="write the document without the runs that are missing")
    args = parser.parse_args()
    plan = tomllib.loads(args.plan.read_text())
    if args.train:
        sys.exit(not train(plan))
    # Not `all` alone, which would stop at the first one: each says what is wrong.
    planned = [trained_as_planned(entry) for table in plan["table"] for entry in table["run"]]
    if not (all(planned) or args.partial):
        sys.exit("not written: runs are missing; --train trains them, --partial leaves them out")
    out = args.out or Path("docs") / f"{args.plan.stem}.md"
    lines = [
        f"# {plan.get('title', 'Results')}",
        "",
        f"Written by `python scripts/results.py {args.plan}` from the run folders.",
        "",
    ]
    if plan.get("text"):
        lines += [plan["text"].strip(), ""]
    for table in plan["table"]:
        lines += section(table, out.parent / "images" / "results")
    out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
