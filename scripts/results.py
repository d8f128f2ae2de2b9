"""Write docs/results.md from run folders: nothing in it is typed by hand.

    python scripts/results.py scripts/results.toml --out docs/results.md

Each model is evaluated on its whole split, once: what was found is kept in RUN/results.json beside the hash of the
weights that it belongs to. Runs that are not there are left out, and named on standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pixelrnn
from pixelrnn.cli.common import bar
from pixelrnn.data import grid, save_picture
from pixelrnn.evaluation import accuracy, evaluate, load_like
from pixelrnn.files import write_atomic
from pixelrnn.folder import read_config
from pixelrnn.model import PixelModel

HEAD = {
    "nats": "| model | parameters | told | images seen | training | test, nats/image | validation | the paper |\n"
    "|---|---|---|---|---|---|---|---|",
    "bits": "| model | parameters | told | images seen | training | bits/dim | validation | the paper |\n"
    "|---|---|---|---|---|---|---|---|",
}


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
            classified = accuracy(model, data, on_batch=update)
        found |= {"accuracy": classified.accuracy, "accuracy_standard_error": classified.standard_error}
    write_atomic(path, (json.dumps(found, indent=2) + "\n").encode())
    return found


def row(run: Path, entry: dict[str, Any], found: dict[str, Any], unit: str) -> str:
    """One line of a table."""
    config = read_config(run)
    about, options = config["about"], config["options"]
    progress = about["progress"]
    sizes = " x ".join(str(options[key]) for key in ("layers", "width") if options.get(key))
    name = entry.get("name") or f"{config['network']} {sizes}"
    if unit == "nats":
        value, valid = f"**{found['nats']:.2f} +- {found['standard_error']:.2f}**", f"{progress['valid_nats']:.2f}"
    else:
        error = found["standard_error"] * found["bits_per_dim"] / found["nats"]
        value, valid = f"**{found['bits_per_dim']:.3f} +- {error:.3f}**", f"{progress['bits_per_dim']:.3f}"
    told = found["protocol"].partition(", given ")[2] or "nothing"
    if "accuracy" in found:
        told += (
            f"; {100 * found['accuracy']:.1f} +- {100 * found['accuracy_standard_error']:.1f} % right by Bayes' rule"
        )
    training = f"{progress['seconds']:,.0f} s, {about.get('machine') or about['device']}: `{about['command']}`"
    return (
        f"| {name} | {config['parameters']:,} | {told} | {progress['images']:,} | {training} | {value} | {valid} | "
        f"{entry.get('paper', '')} |"
    )


def draw(run: Path, name: str, folder: Path, model: PixelModel) -> str:
    """A sheet of samples beside the document; the line that shows it."""
    classes = model.condition.classes if model.condition is not None else 0
    told = {"label": [number % classes for number in range(40)]} if classes else {}
    folder.mkdir(parents=True, exist_ok=True)
    save_picture(grid(model.sample(40, seed=0, **told), model.levels, columns=10), folder / f"{name}.png")
    return f'![{name}](images/results/{name}.png)\n\n*{name}, `pixelrnn.load("{run}")`, forty images of seed 0.*'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    args = parser.parse_args()
    plan = tomllib.loads(args.plan.read_text())
    lines = ["# Results", "", f"Written by `python scripts/results.py {args.plan}` from the folders of the runs.", ""]
    for table in plan["table"]:
        lines += [f"## {table['title']}", "", table["text"].strip(), "", HEAD[table["unit"]]]
        pictures = []
        for entry in table["run"]:
            run = Path(entry["folder"])
            if not (run / "config.json").is_file():
                print(f"left out: there is no {run}", file=sys.stderr)
                continue
            found = measured(run, table.get("split", "test"))
            lines.append(row(run, entry, found, table["unit"]))
            if table.get("pictures", True):
                pictures.append(draw(run, run.name, args.out.parent / "images" / "results", pixelrnn.load(run)))
        lines += ["", *(f"{picture}\n" for picture in pictures)]
    args.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
