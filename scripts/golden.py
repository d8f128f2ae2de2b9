"""Make the files in tests/golden, once for each version of the format: small exact models, images and their archives.

    python scripts/golden.py tests/golden

They are never made again: a test decodes them for ever. A kind that is there already is left as it is.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import torch

import pixelrnn

KINDS: dict[str, dict[str, object]] = {
    "pixelcnn-bernoulli": {"network": "pixelcnn", "levels": 2},
    "pixelcnn-categorical": {"network": "pixelcnn", "channels": 3, "levels": 9},
    "local-categorical": {"network": "local-pixelcnn", "levels": 17, "head": "categorical"},
    "local-bernoulli": {"network": "local-pixelcnn", "levels": 2, "head": "bernoulli"},
    "local-mixture": {"network": "local-pixelcnn", "channels": 3, "levels": 256, "components": 2},
    "local-masked": {
        "network": "local-pixelcnn",
        "channels": 3,
        "levels": 256,
        "components": 2,
        "masked": True,
        "linear": True,
        "colour_order": [1, 0, 2],
    },
    "gated-bernoulli": {"network": "gated-pixelcnn", "levels": 2},
    "row-lstm": {"network": "row-lstm", "levels": 2},
    "diagonal-bilstm": {"network": "diagonal-bilstm", "channels": 3, "levels": 5},
    "mdlstm": {"network": "mdlstm", "levels": 4},
    "spatial-lstm": {"network": "spatial-lstm", "levels": 4, "head": "categorical"},
    "gated-labels": {"network": "gated-pixelcnn", "channels": 3, "levels": 9, "classes": 3},
}


def main() -> None:
    root = Path(sys.argv[1])
    for index, (name, options) in enumerate(KINDS.items()):
        folder = root / name
        if folder.exists():
            continue
        torch.manual_seed(index)
        settings = {"layers": 1, "width": 6, **options}
        settings |= {"kernel": 5} if options["network"] in ("local-pixelcnn", "spatial-lstm") else {"first_kernel": 5}
        network = settings.pop("network")
        model = pixelrnn.build(network, size=(40, 9), **settings)
        for weight in model.parameters():
            weight.data *= 2
        shape = (3, model.channels, 40, 9)
        label = [2, 0, 1] if model.takes_labels else None
        exact = model.quantised(torch.randint(0, model.levels, shape, dtype=torch.uint8), label=label)
        images = exact.sample(3, seed=0, label=label)
        exact.save(folder)
        (folder / "images.sha256").write_text(hashlib.sha256(images.numpy().tobytes()).hexdigest() + "\n")
        (folder / "images.prnn").write_bytes(exact.compress(images, label=label))
        for each in folder.iterdir():
            print(each, each.stat().st_size)


if __name__ == "__main__":
    main()
