"""What got slower: this tree against an older commit, both measured in one run on this machine.

    make bench-compare                               # against the commit in benchmarks/baseline.json
    python benchmarks/compare.py --base v0.1.0       # against a tag or any other commit
    python benchmarks/compare.py --save              # afterwards, let this commit be the baseline

The older commit is unpacked into a temporary folder. Processes of the two trees take turns, so that a machine that is
busy for a while is busy for both; each case counts with its fastest process. A case that the older commit cannot run is
shown without a ratio. Exit status 1 if a case takes more than `--limit` times as long. `--json` writes the figures with
the machine and the versions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BASELINE = Path(__file__).with_name("baseline.json")


def cases() -> dict[str, Callable[[], Callable[[], object]]]:
    """What is measured: a function that prepares each case and returns what is timed."""
    import torch

    import pixelrnn

    def sampling(name: str, method: str, count: int) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            model = pixelrnn.load(name)
            return lambda: model.sample(count, seed=0, method=method)

        return prepare

    def likelihood(name: str, count: int) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            model = pixelrnn.load(name)
            images = model.sample(count, seed=0, method="cached")

            def run() -> None:
                with torch.no_grad():
                    model.log_prob(images)

            return run

        return prepare

    def step(network: str, **options: Any) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            torch.manual_seed(0)
            model = pixelrnn.build(network, size=(28, 28), levels=2, **options)
            images = torch.randint(0, 2, (16, 1, 28, 28))
            return lambda: model.log_prob(images).mean().backward()

        return prepare

    def codec(encode: bool) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            model = pixelrnn.load("photo")
            images = model.sample(1, size=(64, 96), seed=0)
            blob = model.compress(images)
            return (lambda: model.compress(images)) if encode else (lambda: model.decompress(blob))

        return prepare

    return {
        "sample 16, mnist, compiled": sampling("mnist", "compiled", 16),
        "sample 16, mnist, on PyTorch": sampling("mnist", "cached", 16),
        "sample 16, mnist-diagonal-bilstm, compiled": sampling("mnist-diagonal-bilstm", "compiled", 16),
        "sample 4, cifar10-tiny, compiled": sampling("cifar10-tiny", "compiled", 4),
        "sample 4, mnist-any-order, on PyTorch": sampling("mnist-any-order", "cached", 4),
        "likelihood of 16, mnist": likelihood("mnist", 16),
        "likelihood of 16, mnist-pixelcnn-pp": likelihood("mnist-pixelcnn-pp", 16),
        "training step, gated-pixelcnn 4 x 32": step("gated-pixelcnn", layers=4, width=32),
        "training step, diagonal-bilstm 3 x 16": step("diagonal-bilstm", layers=3, width=16),
        "compress 64 x 96, photo": codec(True),
        "decompress 64 x 96, photo": codec(False),
    }


def measure(seconds: float) -> dict[str, float]:
    """Every case that runs, in this process: the fastest of the calls within that many seconds, at least three."""
    began = time.perf_counter()
    from pixelrnn.model import PixelModel  # noqa: F401  # with PyTorch

    found = {"import": time.perf_counter() - began}
    for name, prepare in cases().items():
        try:
            run = prepare()
            run()
        except Exception as error:  # an older commit lacks it
            print(f"note: {name}: {error}", file=sys.stderr)
            continue
        calls: list[float] = []
        while len(calls) < 3 or sum(calls) < seconds:
            began = time.perf_counter()
            run()
            calls.append(time.perf_counter() - began)
        found[name] = min(calls)
    return found


def measured_in(tree: Path, seconds: float, kernels: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PIXELRNN_KERNELS": str(kernels)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=tree)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@contextlib.contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit, "src"], capture_output=True)
        if archive.returncode:
            sys.exit(f"error: there is no commit {commit} here (a shallow clone lacks old ones: git fetch --unshallow)")
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="the older commit or tag; by default the one in benchmarks/baseline.json")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each tree (default 3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each case in a process (default 1)")
    parser.add_argument("--limit", type=float, default=1.25, help="a larger ratio is a failure (default 1.25)")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--save", action="store_true", help="let this commit be the baseline")
    parser.add_argument("--measure", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.measure)))
        return 0
    from common import machine  # not above: its imports are timed

    base = options.base or json.loads(BASELINE.read_text())["commit"]
    old: dict[str, float] = {}
    new: dict[str, float] = {}
    with checked_out(base) as tree:
        for _ in range(options.rounds):
            for best, folder in ((old, tree), (new, ROOT)):
                for name, seconds in measured_in(folder, options.seconds, tree / "kernels").items():
                    best[name] = min(best.get(name, seconds), seconds)
    ratios = {name: new[name] / old[name] for name in new if name in old}
    print(f"{'':45}{base[:10]:>12}{'this tree':>12}{'ratio':>8}")
    for name, seconds in new.items():
        before = f"{old[name]:12.4f}{seconds:12.4f}{ratios[name]:8.2f}" if name in old else f"{'':12}{seconds:12.4f}"
        print(f"{name:45}{before}{'   slower' if ratios.get(name, 0) > options.limit else ''}")
    if lost := old.keys() - new.keys():
        sys.exit(f"error: this tree does not run: {', '.join(sorted(lost))}")
    result = {"commit": git("rev-parse", "HEAD"), "machine": machine(), "seconds": new}
    if options.json:
        options.json.write_text(
            json.dumps({**result, "base": base, "base_seconds": old, "ratios": ratios}, indent=2) + "\n"
        )
    if options.save:
        if git("status", "--porcelain", "src"):
            sys.exit("error: src/ has changes that are not committed, so no commit is what was measured")
        BASELINE.write_text(json.dumps(result, indent=2) + "\n")
    return int(any(ratio > options.limit for ratio in ratios.values()))


if __name__ == "__main__":
    sys.exit(main())
