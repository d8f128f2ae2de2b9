"""The examples in docstrings run, and every network, head and public building block has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest
import torch

import pixelrnn
from pixelrnn.canvas import Order, Whole, known_first
from pixelrnn.heads import HEADS
from pixelrnn.layers.condition import Condition, ConditionBias
from pixelrnn.layers.convolution import CausalConv2d, MaskedConv2d
from pixelrnn.layers.gates import gate
from pixelrnn.layers.masks import causal_mask, colour_mask, group_of
from pixelrnn.layers.mixture import ScaleMixture
from pixelrnn.layers.recurrence import Recurrence
from pixelrnn.measure.inspection import prove_causal, seen_by
from pixelrnn.model import PixelModel
from pixelrnn.model.encoder import ENCODERS
from pixelrnn.networks import NETWORKS, MultiDirectionalLSTM
from pixelrnn.report.sheets import completion_sheet
from pixelrnn.sampling.choosers import uniforms
from pixelrnn.sampling.settings import SamplingSettings
from pixelrnn.sampling.settle import open_positions, settle
from pixelrnn.training.batches import EpochOrder
from pixelrnn.training.module import PixelTraining

BLOCKS = [
    *(Condition, ConditionBias, CausalConv2d, MaskedConv2d, ScaleMixture, Recurrence),
    *(gate, group_of, colour_mask, causal_mask),
    *(prove_causal, seen_by, completion_sheet, MultiDirectionalLSTM, EpochOrder, PixelTraining),
]
SAMPLING = [
    *(Order, known_first, Whole, uniforms, settle, open_positions, SamplingSettings),
    *(PixelModel.log_prob, PixelModel.sample, PixelModel.complete, PixelModel.generate),
]
DOCUMENTED = [*NETWORKS.values(), *HEADS.values(), *ENCODERS.values(), *BLOCKS, *SAMPLING]


def examples() -> dict[str, doctest.DocTest]:
    """Every docstring of the package that has examples, by the name of its object."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {}
    for name in ["pixelrnn", *(module.name for module in pkgutil.walk_packages(pixelrnn.__path__, "pixelrnn."))]:
        if not name.endswith("__main__"):
            tests = finder.find(importlib.import_module(name), name)
            found.update({test.name: test for test in tests if test.examples})
    return found


EXAMPLES = examples()
MODULES = sorted({str(test.globs["__name__"]) for test in EXAMPLES.values()})


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_print_what_they_say(module: str) -> None:
    torch.set_default_dtype(torch.float32)  # as users have it
    runner = doctest.DocTestRunner(verbose=False)
    reports: list[str] = []
    for name, test in EXAMPLES.items():
        if test.globs["__name__"] == module:
            torch.manual_seed(0)
            assert runner.run(test, out=reports.append, clear_globs=False).failed == 0, f"{name}:\n{''.join(reports)}"
    assert runner.tries > 0


@pytest.mark.parametrize("documented", DOCUMENTED, ids=lambda each: each.__name__)
def test_a_public_class_or_function_has_an_example(documented: object) -> None:
    assert ">>>" in (inspect.getdoc(documented) or ""), "a docstring without an example"
    assert f"{documented.__module__}.{documented.__qualname__}" in EXAMPLES, "an example that is not run"
