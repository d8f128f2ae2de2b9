"""Images and masks that fit a model are taken in any form, others are refused with what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import images_of, small

from pixelrnn.errors import ImageError, PixelRNNError

# ---- images that do not fit

WRONG_IMAGES: list[tuple[str, Any, str]] = [
    ("three dimensions", torch.zeros(1, 5, 4, dtype=torch.uint8), r"shape \(1, 5, 4\)\. .* use images\[None\]\.$"),
    ("no channel axis", torch.zeros(2, 5, 4, dtype=torch.uint8), r"use images\[:, None\]\.$"),
    ("two dimensions", torch.zeros(5, 4, dtype=torch.uint8), r"use images\[None, None\]\.$"),
    ("five dimensions", torch.zeros(1, 1, 1, 5, 4, dtype=torch.uint8), r"shape \(1, 1, 1, 5, 4\)\.$"),
    ("no dimension", torch.tensor(1), r"shape \(\)\.$"),
    ("colours", torch.zeros(2, 3, 5, 4, dtype=torch.uint8), "3 channels.*built for 1"),
    ("channels last", torch.zeros(2, 5, 4, 1, dtype=torch.uint8), "5 channels"),
    ("no channels", torch.zeros(2, 0, 5, 4, dtype=torch.uint8), "0 channels"),
    ("no rows", torch.zeros(2, 1, 0, 4, dtype=torch.uint8), "no pixels"),
    ("no columns", torch.zeros(2, 1, 5, 0, dtype=torch.uint8), "no pixels"),
    ("float64", torch.zeros(2, 1, 5, 4, dtype=torch.float64), "float64"),
    ("float32 array", np.zeros((2, 1, 5, 4), np.float32), "float32"),
    ("not a number", torch.full((2, 1, 5, 4), math.nan), "float"),
    ("complex", torch.zeros(2, 1, 5, 4, dtype=torch.complex64), "complex"),
    ("too high", torch.full((2, 1, 5, 4), 4), r"0\.\.3.*4"),
    ("too high for a byte", torch.full((2, 1, 5, 4), 256), "256"),
    ("far too high", torch.full((2, 1, 5, 4), 2**62), "4611686018427387904"),
    ("negative", torch.full((2, 1, 5, 4), -1, dtype=torch.int8), "-1"),
    ("one pixel too high", torch.zeros(2, 1, 5, 4, dtype=torch.uint8).index_fill(3, torch.tensor([2]), 9), "0 to 9"),
]


@pytest.mark.parametrize(("wrong", "says"), [each[1:] for each in WRONG_IMAGES], ids=[each[0] for each in WRONG_IMAGES])
def test_images_that_do_not_fit_are_an_image_error(wrong: Any, says: str) -> None:
    model, known = small(), np.ones((5, 4), bool)
    calls: list[Callable[[], object]] = [
        lambda: model.log_prob(wrong),
        lambda: model.log_prob(wrong, reduce=False),
        lambda: model.bits_per_dim(wrong),
        lambda: model(wrong),
        lambda: model.complete(wrong, known),
    ]
    for call in calls:
        with pytest.raises(ImageError, match=says) as caught:
            call()
        assert isinstance(caught.value, PixelRNNError)
        assert isinstance(caught.value, ValueError)


def test_images_of_any_size_and_number_fit() -> None:
    model = small()
    assert model.log_prob(torch.zeros(3, 1, 9, 2, dtype=torch.uint8)).shape == (3,)
    assert model.log_prob(torch.zeros(0, 1, 5, 4, dtype=torch.uint8)).shape == (0,)
    assert model.complete(torch.zeros(0, 1, 5, 4, dtype=torch.uint8), torch.ones(5, 4).bool()).shape == (0, 1, 5, 4)


WRONG_MASKS: list[tuple[str, Any, str]] = [
    ("bytes", torch.ones(5, 4, dtype=torch.uint8), "bool.*uint8"),
    ("floats", torch.ones(5, 4, dtype=torch.float32), "bool.*float32"),
    ("an array of integers", np.ones((5, 4), np.int64), "bool.*int64"),
    ("another size", torch.ones(4, 5).bool(), r"\(4, 5\)"),
    ("another number", torch.ones(3, 1, 5, 4).bool(), r"\(3, 1, 5, 4\)"),
    ("a mask for each image without a channel", torch.ones(2, 5, 4).bool(), r"\(2, 5, 4\)"),
    ("a mask for each colour", torch.ones(2, 3, 5, 4).bool(), r"\(2, 3, 5, 4\)"),
    ("too many dimensions", torch.ones(1, 2, 1, 5, 4).bool(), r"\(1, 2, 1, 5, 4\)"),
]


@pytest.mark.parametrize(("wrong", "says"), [each[1:] for each in WRONG_MASKS], ids=[each[0] for each in WRONG_MASKS])
def test_a_mask_that_does_not_fit_is_an_image_error(wrong: Any, says: str) -> None:
    for channels in (1, 3):
        model = small(channels=channels)
        with pytest.raises(ImageError, match="(?s)known.*" + says):
            model.complete(images_of(model), wrong)


# ---- images that do


@pytest.fixture
def _every_warning() -> Iterator[None]:
    """PyTorch gives some warnings once in a process; here they come every time, whatever ran before."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@pytest.mark.parametrize("kind", INTEGERS)
def test_numpy_arrays_of_every_integer_type_are_taken(kind: str) -> None:
    model = small()
    images = images_of(model)
    array = images.numpy().astype(kind)
    assert torch.equal(model.log_prob(array), model.log_prob(images))
    assert torch.equal(model.bits_per_dim(array), model.bits_per_dim(images))
    known = np.zeros((5, 4), bool)
    known[:2] = True
    assert torch.equal(model.complete(array, known, seed=0), model.complete(images, torch.from_numpy(known), seed=0))


@pytest.mark.usefixtures("_every_warning")
@pytest.mark.parametrize("kind", ["read-only", "flipped", "transposed", "memory-mapped"])
def test_numpy_arrays_of_every_kind_are_taken_without_a_warning(kind: str, tmp_path: Path) -> None:
    """Data sets are read-only or memory-mapped; a flipped array has negative strides."""
    model = small()
    array = images_of(model).numpy().astype(np.uint8)
    if kind == "read-only":
        array.flags.writeable = False
    elif kind == "flipped":
        array = array[..., ::-1]
    elif kind == "transposed":
        array = array.transpose(0, 1, 3, 2)
    else:
        np.save(tmp_path / "images.npy", array)
        array = np.load(tmp_path / "images.npy", mmap_mode="r")
    expected = model.log_prob(torch.tensor(array.tolist()))
    assert torch.equal(model.log_prob(array), expected)
    known = np.ones(array.shape[2:], bool)
    assert np.array_equal(model.complete(array, known).numpy(), array)


@pytest.mark.usefixtures("_every_warning")
def test_a_read_only_mask_is_taken_without_a_warning() -> None:
    model = small()
    images, known = images_of(model).to(torch.uint8), np.ones((5, 4), bool)
    known.flags.writeable = False
    assert torch.equal(model.complete(images, known), images)


def test_what_a_model_gives_back_it_takes() -> None:
    model = small()
    images = model.sample(3, seed=0)
    assert model.log_prob(images).shape == (3,)
    assert torch.equal(model.complete(images, torch.ones(3, 1, 5, 4).bool()), images)


def test_unchecked_images_have_the_same_nats() -> None:
    model = small()
    images = images_of(model)
    assert torch.equal(model.log_prob(images, check=False), model.log_prob(images))
