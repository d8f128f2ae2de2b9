"""A PixelModel is a module like any other: it is compiled, and its weights are cut among processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pixelrnn


@pytest.mark.parametrize("network", ["pixelcnn", "gated-pixelcnn"])
def test_a_likelihood_is_compiled_as_one_graph(network: str) -> None:
    """What the compiler makes of the graph is its own affair; that there is one graph is ours."""
    model = pixelrnn.build(network, size=(4, 5), levels=2, layers=2, width=4)
    images = torch.randint(0, 2, (2, 1, 4, 5))
    compiled = torch.compile(model.log_prob, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images, check=False), model.log_prob(images))


def test_two_processes_that_cut_the_weights_among_them_learn_the_same() -> None:
    found = []
    for count in (1, 2):
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("sharded.py")), str(count)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        words = done.stdout.split()
        assert words[3] == str(count > 1)
        found.append(float(words[1]))
    assert found[1] == pytest.approx(found[0], rel=1e-6)
