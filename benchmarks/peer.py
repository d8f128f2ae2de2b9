"""Sampling compared with a public peer, `PixelCNN` of tensorflow-probability, in one run on one machine.

    python benchmarks/peer.py [--folder RUN] [--batches 1 16] [--enough 120] [--threads N] [--peer-python PATH]

The peer is installed with `pip install --group peers`. Where it has an environment of its own, --peer-python names the
interpreter of that one: it needs neither torch nor pixelrnn.

The peer is a PixelCNN++ (two stacks, a U-net, a mixture of five logistics) that runs the whole network once per pixel;
ours is a Gated PixelCNN (or what is in --folder) whose layers keep their past. They are two networks in two frameworks:
seconds say how long a user waits, they do not compare the samplers. The honest comparison of samplers is sampling in
whole passes (log_prob of as many images) of the same library. So that the peer is at its best, its pass and its
sampling are compiled with `tf.function` (eager takes longer, XLA about as long), without dropout and weight
normalisation. Its blocks are those of the example in its documentation, and its width is chosen so that it has about
as many parameters as ours, masked weights counted in both. It is not trained: its time does not depend on the weights.
Ours does: a walk looks ahead with guesses, which nearly always hold where the weights are untrained, as there a pixel
hardly depends on the others. That flatters ours: what a trained model gives is seen with --folder.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PASSES = 9  # timed whole passes, of which the median counts
SAMPLINGS = 5  # the same for sampling; fewer when they last LONG seconds together
LONG = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="a trained model; else an untrained gated-pixelcnn, 8 x 64, 28 x 28 binary")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16], help="images that are sampled together")
    parser.add_argument("--enough", type=float, default=120, help="seconds; a longer sampling is extrapolated")
    parser.add_argument("--threads", type=int, help="of both libraries; else as many as torch takes")
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter that has the peer")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        case = json.loads(options.one)
        print(json.dumps({"ours": ours, "peer": peer}[case.pop("measure")](**case)))
        return
    for images in options.batches:
        case = {"measure": "ours", "images": images, "threads": options.threads, "folder": options.folder}
        mine = apart(sys.executable, case)
        case = {"measure": "peer", "images": images, "enough": options.enough, **mine["like"]}
        other = apart(options.peer_python, case)
        if images == options.batches[0]:
            machine = f"{platform.machine()}, {os.cpu_count()} CPUs, {mine['like']['threads']} threads"
            print(f"*{machine}; {mine['name']}; {other['name']}.*\n")
            print("| library | images | parameters | a pass, s | sampling, s | in whole passes | ours is faster |")
            print("|---|---|---|---|---|---|---|")
        times = other["sample"] / mine["sample"]
        passes = times * mine["whole"] / other["whole"]
        print(row("tfp PixelCNN", images, other), "|")
        print(row("ours", images, mine), f"{times:.0f}x, **in passes {passes:.0f}x** |", flush=True)


def row(library: str, images: int, found: dict[str, Any]) -> str:
    sample = f"{found['sample']:.2f}{'' if found['real'] else ' (extrapolated)'}"
    in_passes = found["sample"] / found["whole"]
    return f"| {library} | {images} | {found['parameters']} | {found['whole']:.4f} | {sample} | {in_passes:.1f} |"


def apart(python: str, case: dict[str, Any]) -> dict[str, Any]:
    """The figures of one case, measured in a fresh process of that interpreter (common.apart needs torch in it)."""
    command = [python, str(Path(__file__)), "--one", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        hint = "; `pip install --group peers`, or name its interpreter: --peer-python PATH"
        sys.exit(f"{done.stderr}error: {python} cannot measure {case['measure']}{hint * (case['measure'] == 'peer')}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def seconds(run: Callable[[], object], times: int) -> list[float]:
    """Of so many calls after one that does not count, fewer once they are LONG together."""
    run()
    found: list[float] = []
    while len(found) < times and sum(found) < LONG:
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return found


def measure(
    whole: Callable[[], object], sample: Callable[[], object], naive_passes: int = 0, enough: float = 0
) -> dict[str, float]:
    """Medians; passes are timed before and after sampling, as the speed of a shared machine drifts.

    A sampler that makes so many whole passes is extrapolated from them where it would take more than `enough` seconds.
    """
    wholes = seconds(whole, PASSES)
    real = naive_passes * statistics.median(wholes) <= enough
    samples = seconds(sample, SAMPLINGS) if real else []
    both = statistics.median(wholes + seconds(whole, PASSES))
    return {"whole": both, "sample": statistics.median(samples) if real else naive_passes * both, "real": real}


def ours(folder: str | None, images: int, threads: int | None) -> dict[str, Any]:
    import torch

    import pixelrnn

    torch.set_num_threads(threads or torch.get_num_threads())
    torch.manual_seed(0)
    model = pixelrnn.load(folder) if folder else None
    model = model or pixelrnn.build("gated-pixelcnn", size=(28, 28), levels=2, layers=8, width=64).eval()
    with torch.inference_mode():
        made = model.sample(images, seed=0, batch_size=images, method="compiled")
        found = measure(
            lambda: model.log_prob(made, check=False),
            lambda: model.sample(images, seed=0, batch_size=images, method="compiled"),
        )
    kind = f"{model.config['network']}, {Path(folder).name if folder else 'untrained'}"
    like = {"parameters": model.num_parameters, "shape": [*model.size, model.channels], "levels": model.levels}
    return {
        **found,
        "name": f"pixelrnn {pixelrnn.__version__} ({kind}), torch {torch.__version__}",
        "parameters": model.num_parameters,
        "like": {**like, "threads": torch.get_num_threads()},
    }


def peer(images: int, threads: int, shape: list[int], levels: int, parameters: int, enough: float) -> dict[str, Any]:
    """The peer for images of this shape (H, W, C), about as large as a model of so many parameters."""
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf
    import tensorflow_probability as tfp

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.random.set_seed(0)
    asked = {"num_resnet": 1, "num_hierarchies": 2, "num_filters": 32, "num_logistic_mix": 5, "dropout_p": 0.0}

    def built() -> Any:
        return tfp.distributions.PixelCNN(tuple(shape), use_weight_norm=False, high=levels - 1, low=0, **asked)

    growth = (parameters / built().network.count_params()) ** 0.5
    asked["num_filters"] = 8 * max(1, round(4 * growth))  # parameters grow with its square
    model = built()
    made = tf.cast(tf.random.uniform((images, *shape), maxval=levels, dtype=tf.int32), tf.float32)
    log_prob, sample = tf.function(model.log_prob), tf.function(lambda: model.sample(images))
    found = measure(lambda: log_prob(made).numpy(), lambda: sample().numpy(), shape[0] * shape[1], enough)
    kind = ", ".join(f"{key} {value:g}" for key, value in asked.items())
    name = f"tensorflow {tf.__version__}, tensorflow-probability {tfp.__version__} ({kind})"
    return {**found, "name": name, "parameters": model.network.count_params()}


if __name__ == "__main__":
    main()
