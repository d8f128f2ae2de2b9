"""A data set larger than the memory that a process may have: read in random order, and learned from.

    python benchmarks/streaming.py [--gigabytes 1.5] [--limit 600] [--minutes 0.1]

Packs random textures, 64 x 64 in colour, into a temporary folder, piece by piece, and works on them in processes that
may take no more than so many megabytes of memory beyond what they have once everything is imported. The limit is
RLIMIT_DATA, which counts what a process allocates. RLIMIT_AS would count the files that it maps too, though their pages
are the system's, which takes them back when memory is short.

    read    every epoch is a permutation of all images, in batches; the system is asked to forget the files before
    train   a small network, some minutes
    load    `np.load` of the file: if that succeeds, the limit proves nothing, and the exit status is 1
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from common import apart

from pixelrnn.data import load_data, write_packed
from pixelrnn.training.presets import load_preset
from pixelrnn.training.run import train

IMAGE, BATCH, EPOCHS = (3, 64, 64), 64, 2
SETTINGS = ["network=pixelcnn", "layers=1", "width=8", "first_kernel=3", "levels=8", "epochs=1", "ema=0"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.5, help="of training images")
    parser.add_argument("--limit", type=float, default=600, help="megabytes beyond what importing takes")
    parser.add_argument("--minutes", type=float, default=0.1, help="of training; 0 for none")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(**json.loads(options.one))))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder, count = Path(temporary) / "textures", int(options.gigabytes * 1e9 / np.prod(IMAGE))
        began = time.perf_counter()
        write_packed(folder, {"train": textures(count), "valid": textures(256)}, IMAGE, name="textures")
        seconds = time.perf_counter() - began
        print(f"{count} images {IMAGE}, {options.gigabytes * 1000:.0f} MB, written in {seconds:.1f} s")
        case = {"folder": str(folder), "limit": options.limit * 1e6, "minutes": options.minutes}
        for what in ("read", "train", "load") if options.minutes else ("read", "load"):
            found = apart(__file__, {**case, "what": what})
            print(f"{what:8}" + "   ".join(f"{name} {value:.0f}" for name, value in found.items()), flush=True)
    print("The limit let everything be loaded: it shows nothing." if found["loaded"] else "np.load of all: MemoryError")
    return int(found["loaded"] > 0)


def textures(count: int) -> Iterator[np.ndarray]:
    """Coarse noise with fine noise on it, some images at a time: (n, 3, 64, 64) uint8."""
    random, channels, side = np.random.default_rng(0), IMAGE[0], IMAGE[1]
    for first in range(0, count, 256):
        shape = (min(256, count - first), channels, side, side)
        coarse = random.integers(0, 192, (*shape[:2], side // 8, side // 8), dtype=np.uint8)
        yield coarse.repeat(8, 2).repeat(8, 3) + random.integers(0, 64, shape, dtype=np.uint8)


def measure(what: str, folder: str, limit: float, minutes: float) -> dict[str, float]:
    """What one process finds under the limit, in megabytes and images per second."""
    torch.set_num_threads(1)
    imported = memory("VmData")
    resource.setrlimit(resource.RLIMIT_DATA, (int(imported + limit), resource.RLIM_INFINITY))
    if what == "load":
        try:
            arrays = [np.load(path) for path in sorted(Path(folder).glob("train.npy"))]
            return {"loaded": len(arrays)}
        except MemoryError:
            return {"loaded": 0}
    found = learn(folder, minutes) if what == "train" else read(folder)
    return {**found, "allocated MB": (memory("VmData") - imported) / 1e6, "limit MB": limit / 1e6}


def read(folder: str) -> dict[str, float]:
    """Images per second of each epoch, and the most anonymous memory that was in use."""
    for path in Path(folder).iterdir():
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    images, anonymous, mapped = load_data(folder, "train").images, memory("RssAnon"), memory("RssFile")
    found, most = {}, anonymous
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(images)).tolist()
        began = time.perf_counter()
        for first in range(0, len(images), BATCH):
            assert len(images[order[first : first + BATCH]])
            most = max(most, memory("RssAnon"))
        found[f"epoch {epoch + 1} images/s"] = len(images) / (time.perf_counter() - began)
    pages = memory("RssFile") - mapped
    return {**found, "anonymous MB at most": (most - anonymous) / 1e6, "pages of the files MB": pages / 1e6}


def learn(folder: str, minutes: float) -> dict[str, float]:
    """Training images that a small network has learned from, and their nats after it."""
    preset = load_preset("digits", [f"data.name='{folder}'", *SETTINGS])
    with tempfile.TemporaryDirectory() as temporary:
        progress = train(preset, Path(temporary) / "run", max_minutes=minutes).about["progress"]
    return {"images": progress["images"], "nats/image": progress["valid_nats"]}


def memory(entry: str) -> int:
    """An entry of /proc/self/status in bytes: VmData, what was allocated; RssAnon, what of it is used."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{entry}:")))


if __name__ == "__main__":
    sys.exit(main())
