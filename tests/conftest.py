"""Contract and unit tests run in float64: right code agrees to 1e-15, wrong code is off by 0.1."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from pixelrnn.model.processes import LAUNCHERS
from pixelrnn.sampling.choice import Choice

# Compiled code and decoded arrays are kept beside the other caches of the tests; processes that tests start compile
# nothing.
_CACHE = Path(__file__).parent.parent / ".pytest_cache"
os.environ |= {"PIXELRNN_KERNELS": str(_CACHE / "kernels"), "PIXELRNN_CACHE": str(_CACHE / "arrays")}
os.environ["PIXELRNN_COMPILE"] = "never"
# Servers of the tests are on this machine; the shell of a job may name ranks of its own.
os.environ |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
for each in (name for names in LAUNCHERS for name in names):
    os.environ.pop(each, None)

hypothesis.settings.register_profile("the same in every run", derandomize=True)
hypothesis.settings.load_profile("the same in every run")

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
