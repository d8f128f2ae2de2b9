"""Contract and unit tests run in float64: right code agrees to 1e-15, wrong code is off by 0.1."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pixelrnn.sampling.choice import Choice

# Compiled code is kept beside the other caches of the tests; processes that tests start compile nothing.
os.environ["PIXELRNN_KERNELS"] = str(Path(__file__).parent.parent / ".pytest_cache" / "kernels")
os.environ["PIXELRNN_COMPILE"] = "never"

# A shell that starts this in the background ignores Ctrl-C for it, and for what the tests start and then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # small tensors: threads that wait for each other take most of the time
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True)
def _walks_on_pytorch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test does not ask for by name does not depend on how long things took before."""
    if request.node.path.name != "test_native.py":
        monkeypatch.setattr(Choice, "compiled", lambda *_, **__: False)
