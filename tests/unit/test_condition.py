"""Conditions as users meet them: what is refused and what the message says, what comes back from a folder, encoders."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from close import assert_close
from models import images_of, small

import pixelrnn
from pixelrnn.errors import ConditionError, ConfigError, ImageError
from pixelrnn.model import PixelModel
from pixelrnn.model.encoder import ENCODERS
from pixelrnn.model.options import CONDITION

EVERY: dict[str, Any] = {"classes": 3, "vector_size": 2, "map_channels": 2, "condition_width": 3}
AUTOENCODER: dict[str, Any] = {"code_size": 4, "condition_width": 3}


def condition(network: str = "gated-pixelcnn", **options: Any) -> PixelModel:
    """A small model with the options of a condition."""
    model = small(network)
    size = {"size": model.size, "channels": 1, "levels": 4, "layers": 2, "width": 4}
    return pixelrnn.build(network, **{**size, **options}).eval()


def whatever(n: int = 2) -> dict[str, Any]:
    return {"label": 1, "vector": [0.5, -1.0], "condition_map": torch.randn(n, 2, 5, 4)}


# ---- shares of classes


def test_shares_of_classes_lead_from_one_to_another() -> None:
    model = condition(classes=3, condition_width=3).double()
    images = images_of(model, 2)
    one_hot = torch.eye(3, dtype=torch.float64)
    for label in range(3):
        assert_close(model.log_prob(images, label=one_hot[label]), model.log_prob(images, label=label))
    assert_close(model.log_prob(images, label=one_hot[[2, 0]]), model.log_prob(images, label=[2, 0]))
    between = model.embed_condition(1, label=torch.tensor([0.25, 0.0, 0.75], dtype=torch.float64))
    ends = [model.embed_condition(1, label=label) for label in (0, 2)]
    assert_close(between, 0.25 * ends[0] + 0.75 * ends[1])
    assert model.sample(2, label=[0.5, 0.5, 0.0], seed=0).shape == images.shape


@pytest.mark.parametrize("shares", [[0.5, 0.5, 0.5], [1.5, -0.5, 0.0], [math.nan, 0.0, 1.0]])
def test_shares_that_are_none_are_refused(shares: list[float]) -> None:
    with pytest.raises(ConditionError, match="0 or more, and sum up to 1"):
        condition(classes=3).sample(2, label=shares)
    with pytest.raises(ConditionError, match="whole numbers"):
        condition(classes=3).sample(2, label=shares[:2])


def test_an_exact_model_takes_no_shares() -> None:
    model = condition(classes=3, condition_width=3)
    exact = model.quantised(images_of(model, 4), label=1)
    with pytest.raises(ConditionError, match="not shares of classes"):
        exact.log_prob(images_of(model, 1), label=[0.5, 0.5, 0.0])


# ---- what is refused

WRONG: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("a label out of range", EVERY, {"label": 3}, r"whole numbers 0\.\.2.*, not 3"),
    ("a label out of range for one image", EVERY, {"label": [0, 7]}, r"whole numbers 0\.\.2.*, not 7"),
    ("a negative label", EVERY, {"label": -1}, r"whole numbers 0\.\.2.*, not -1"),
    ("a label in floats", EVERY, {"label": 1.0}, r"whole numbers 0\.\.2.*, not float64"),
    ("labels in floats", EVERY, {"label": torch.ones(2)}, r"whole numbers 0\.\.2.*, not float.."),
    ("true labels", EVERY, {"label": True}, r"whole numbers 0\.\.2.*, not bool"),
    ("labels as text", EVERY, {"label": "1"}, r"whole numbers 0\.\.2.*, not '1'"),
    ("too many labels", EVERY, {"label": [0, 1, 2]}, r"all images, or a list of 2, but they have the shape \(3,\)"),
    ("too few labels", EVERY, {"label": [0]}, r"all images, or a list of 2, but they have the shape \(1,\)"),
    ("labels in a column", EVERY, {"label": [[0], [1]]}, r"but they have the shape \(2, 1\)"),
    ("labels of a ragged list", EVERY, {"label": [[0], [1, 2]]}, r"whole numbers 0\.\.2"),
    ("a label for a model of vectors", {"vector_size": 2}, {"label": 0}, r"no label.*without classes=.*takes vector="),
    ("a vector for a model of labels", {"classes": 3}, {"vector": [0, 1]}, r"no vector.*vector_size=.*takes label="),
    (
        "a map for a model of both",
        {"classes": 3, "vector_size": 2},
        {"condition_map": 0},
        r"no condition_map.*takes label= and vector=",
    ),
    ("a longer vector", EVERY, {"vector": [0.0, 1, 2]}, r"numbers of shape \(2,\).*but it has the shape \(3,\)"),
    ("vectors of another count", EVERY, {"vector": torch.zeros(3, 2)}, r"or \(2, 2\).*but it has the shape \(3, 2\)"),
    ("a number for a vector", EVERY, {"vector": 0.5}, r"vector must be.*but it has the shape \(\)"),
    ("a vector with NaN", EVERY, {"vector": [0.0, math.nan]}, r"vector must be.*not finite"),
    ("an infinite vector", EVERY, {"vector": [0.0, math.inf]}, r"vector must be.*not finite"),
    ("a vector as text", EVERY, {"vector": "12"}, r"vector must be numbers.*, not str"),
    ("a bool vector", EVERY, {"vector": [True, False]}, r"vector must be.*, not torch\.bool"),
    ("a complex vector", EVERY, {"vector": [1j, 0]}, r"vector must be.*, not torch\.complex128"),
    (
        "a map of another size",
        EVERY,
        {"condition_map": torch.zeros(2, 5, 5)},
        r"map must be.*\(2, 5, 4\).*but it has the shape \(2, 5, 5\)",
    ),
    ("a map of other channels", EVERY, {"condition_map": torch.zeros(1, 5, 4)}, r"\(2, 5, 4\).*\(1, 5, 4\)"),
    (
        "maps of another count",
        EVERY,
        {"condition_map": torch.zeros(3, 2, 5, 4)},
        r"\(2, 2, 5, 4\).*but it has the shape \(3, 2, 5, 4\)",
    ),
    ("a map of NaN", EVERY, {"condition_map": torch.full((2, 5, 4), math.nan)}, r"map must be.*not finite"),
    ("a label for a model without conditions", {}, {"label": 0}, r"takes no condition.*classes="),
    ("a vector for a model without conditions", {}, {"vector": [0.0]}, r"takes no condition.*vector_size="),
    (
        "a map for a model without conditions",
        {},
        {"condition_map": torch.zeros(1, 5, 4)},
        r"takes no condition.*map_channels=",
    ),
]


@pytest.mark.parametrize(("options", "wrong", "says"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_a_condition_that_does_not_fit_is_refused_wherever_it_is_given(
    options: dict[str, Any], wrong: dict[str, Any], says: str
) -> None:
    model = condition(**options)
    images, known = images_of(model), torch.zeros(5, 4, dtype=torch.bool)
    uses = [
        lambda: model.log_prob(images, **wrong),
        lambda: model.bits_per_dim(images, **wrong),
        lambda: model.sample(2, **wrong),
        lambda: model.sample_rows(2, **wrong),
        lambda: model.complete(images, known, **wrong),
        lambda: model.embed_condition(2, **wrong),
    ]
    for use in uses:
        with pytest.raises(ConditionError, match=says) as caught:
            use()
        assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize("wrong", [{"label": 0}, {"vector": [0.0, 1.0]}], ids=str)
def test_a_spatial_condition_takes_images_of_the_trained_size_only(wrong: dict[str, Any]) -> None:
    model = condition(classes=3, vector_size=2, map_channels=1, condition_spatial=True)
    with pytest.raises(ConditionError, match=r"size 5x4 .*, not 6x4"):
        model.log_prob(torch.zeros(2, 1, 6, 4, dtype=torch.uint8), **wrong)
    with pytest.raises(ConditionError, match=r"size 5x4 .*, not 4x5"):
        model.sample(1, size=(4, 5), **wrong)
    assert model.sample(1, size=(4, 5), seed=0).shape == (1, 1, 4, 5), "without it any size"
    assert model.sample(1, size=(4, 5), condition_map=torch.zeros(1, 4, 5), seed=0).shape == (1, 1, 4, 5), (
        "a map has the place"
    )


WRONG_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"classes": -1}, "classes must be a whole number from 0 to 65536, not -1"),
    ({"classes": 2.0}, "classes must be a whole number from 0 to 65536, not 2.0"),
    ({"classes": True}, "classes must be a whole number from 0 to 65536, not True"),
    ({"vector_size": -2}, "vector_size must be a whole number from 0 to 65536, not -2"),
    ({"map_channels": "1"}, "map_channels must be a whole number from 0 to 65536, not '1'"),
    ({"classes": 2, "condition_width": 0}, "condition_width must be a whole number from 1 to 65536, not 0"),
    ({"classes": 2, "condition_dropout": 1}, "condition_dropout must be a number from 0 to below 1, not 1"),
    ({"classes": 2, "condition_dropout": -0.1}, "condition_dropout must be a number from 0 to below 1, not -0.1"),
    ({"classes": 2, "condition_dropout": math.nan}, "condition_dropout must be a number from 0 to below 1, not nan"),
    ({"classes": 2, "condition_spatial": 1}, "condition_spatial must be true or false, not 1"),
    ({"code_size": 4, "encoder": "x"}, "x.*conv.*mdrnn"),
    ({"code_size": 4, "encoder": "cnov"}, "'cnov'. Did you mean 'conv'"),
    ({"code_size": 4, "encoder": 1}, "encoder must be a string, not 1"),
    ({"code_size": 4, "unit_code": "yes"}, "unit_code must be true or false"),
    ({"code_size": 4, "vector_size": 4}, "vector_size.*or computes one from an image .code_size., not both"),
    ({"clases": 3}, "'clases'"),
]


@pytest.mark.parametrize(("options", "says"), WRONG_OPTIONS, ids=str)
def test_a_condition_that_cannot_be_built_is_a_config_error_that_says_why(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        condition(**options)


@pytest.mark.parametrize("guidance", [-0.5, math.nan, math.inf, "strong", None])
def test_a_guidance_that_is_not_a_finite_number_is_refused(guidance: Any) -> None:
    model = condition(classes=3)
    with pytest.raises(ConfigError, match="guidance must be a number, 0 or more, not"):
        model.sample(1, label=0, guidance=guidance)


# ---- what is taken


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1],
        (2, 0, 1),
        np.array([2, 0, 1]),
        np.array([2, 0, 1], dtype=np.uint8),
        torch.tensor([2, 0, 1]),
        torch.tensor([2, 0, 1], dtype=torch.uint8),
        np.array([2, 0, 1], dtype=np.int32),
        [np.int64(2), 0, 1],
        np.array([2, 0, 1], dtype=np.uint16),
        np.array([1, 0, 2])[::-1],
        np.array([2, 0, 1], dtype=">i4"),
        torch.tensor([2, 0, 1], dtype=torch.uint16),
    ],
    ids=lambda labels: f"{type(labels).__name__} {getattr(labels, 'dtype', '')}",
)
def test_labels_of_every_type_are_the_same_labels(labels: Any) -> None:
    model = condition(classes=3)
    images = images_of(model, 3)
    one_by_one = [model.log_prob(images[i : i + 1], label=label) for i, label in enumerate((2, 0, 1))]
    assert_close(model.log_prob(images, label=labels), torch.cat(one_by_one))
    assert torch.equal(model.sample(3, seed=0, label=labels), model.sample(3, seed=0, label=[2, 0, 1]))


@pytest.mark.parametrize("label", [1, np.int64(1), np.uint8(1), torch.tensor(1)], ids=lambda each: type(each).__name__)
def test_one_label_of_every_type_counts_for_all_images(label: Any) -> None:
    model = condition(classes=3)
    images = images_of(model, 3)
    assert torch.equal(model.log_prob(images, label=label), model.log_prob(images, label=[1, 1, 1]))


def test_labels_of_an_array_that_cannot_be_written_to_are_labels() -> None:
    model, labels = condition(classes=3), np.array([2, 0, 1])
    labels.flags.writeable = False
    images = images_of(model, 3)
    assert torch.equal(model.log_prob(images, label=labels), model.log_prob(images, label=[2, 0, 1]))


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.float16, list, torch.tensor])
def test_vectors_of_every_type_are_the_same_vectors(kind: Any) -> None:
    model, vectors = condition(vector_size=2), [[1.0, -2.0], [0.0, 4.0]]
    images = images_of(model)
    condition_map = kind(vectors) if kind in (list, torch.tensor) else np.array(vectors).astype(kind)
    assert torch.equal(
        model.log_prob(images, vector=condition_map), model.log_prob(images, vector=torch.tensor(vectors))
    )


def test_no_images_of_any_condition_are_an_empty_tensor() -> None:
    model = condition(**EVERY)
    assert model.sample(0, label=1, guidance=2.0).shape == (0, 1, 5, 4)
    assert model.log_prob(images_of(model, 0), **whatever(0)).shape == (0,)


def test_a_condition_that_is_not_checked_is_the_same_one() -> None:
    model = condition(**EVERY)
    images = images_of(model)
    one = {"label": torch.tensor([1, 2]), "vector": torch.randn(2, 2), "condition_map": torch.randn(2, 2, 5, 4)}
    assert torch.equal(model.log_prob(images, **one, check=False), model.log_prob(images, **one))


def test_every_weight_of_a_conditional_model_can_be_learned() -> None:
    model = condition(**EVERY, condition_spatial=True, condition_dropout=0.0).train()
    model.log_prob(images_of(model, 8), **{**whatever(8), "label": [0, 1, 2, 0, 1, 2, 0, 1]}).sum().backward()
    without = [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()]
    assert not without


# ---- labels of images


def test_the_labels_of_images_are_the_most_probable_ones() -> None:
    model = condition(classes=3)
    images = images_of(model, 4)
    labels = model.classify(images)
    assert labels.shape == (4,)
    assert labels.dtype == torch.int64
    each = torch.stack([model.log_prob(images, label=label) for label in range(3)], 1)
    assert torch.equal(labels, each.argmax(1))
    assert model.classify(images, prior=[0, 1, 0]).tolist() == [1, 1, 1, 1], "what never comes is not found"
    torch.testing.assert_close(model.label_log_prob(images).exp().sum(1), torch.ones(4))


@pytest.mark.parametrize("use", ["classify", "label_log_prob"])
def test_a_model_without_classes_cannot_classify(use: str) -> None:
    for options in ({}, {"vector_size": 2}):
        model = condition(**options)
        with pytest.raises(ConditionError, match=r"not conditioned on labels.*classes="):
            getattr(model, use)(images_of(model))


@pytest.mark.parametrize(
    "prior", [[1, 1], [1, 1, -1], [0, 0, 0], [math.nan, 1, 1], [[1, 1, 1]], [math.inf, 1, 1]], ids=str
)
def test_a_prior_that_is_none_is_refused(prior: Any) -> None:
    model = condition(classes=3)
    with pytest.raises(ConditionError, match="prior must be 3 non-negative numbers"):
        model.classify(images_of(model), prior=prior)


# ---- folders


@pytest.mark.parametrize(
    "options", [EVERY, {**AUTOENCODER, "encoder": "conv"}, {**AUTOENCODER, "encoder": "mdrnn"}], ids=str
)
@pytest.mark.parametrize("network", ["gated-pixelcnn", "multiscale", "mcgsm"])
def test_a_conditional_model_comes_back_from_its_folder(network: str, options: dict[str, Any], tmp_path: Path) -> None:
    size = {"size": (5, 4), "levels": 4, **({} if network == "mcgsm" else {"layers": 2, "width": 4})}
    model = pixelrnn.build(network, **size, **options, condition_spatial=True, condition_dropout=0.25).eval()
    model.about = {"class_counts": [1.0, 2.0, 3.0]}
    model.save(tmp_path)
    again = pixelrnn.load(tmp_path)
    assert again.config == model.config
    assert again.config["options"].items() >= {**options, "condition_dropout": 0.25}.items()
    old, new = model.state_dict(), again.state_dict()
    assert list(old) == list(new)
    assert all(torch.equal(old[key], new[key]) for key in old)
    images = images_of(model)
    one = {"vector": model.encode(images)} if "code_size" in options else whatever()
    assert torch.equal(again.log_prob(images, **one), model.log_prob(images, **one))
    one = {key: each.detach() if isinstance(each, torch.Tensor) else each for key, each in one.items()}
    assert torch.equal(again.sample(2, seed=0, guidance=2, **one), model.sample(2, seed=0, guidance=2, **one))
    if "classes" in options:
        assert torch.equal(again.label_log_prob(images), model.label_log_prob(images))


def test_options_in_numbers_of_numpy_come_back_from_a_folder(tmp_path: Path) -> None:
    model = condition(classes=np.int64(3), condition_width=np.int32(3))
    model.save(tmp_path)
    assert pixelrnn.load(tmp_path).config["options"]["classes"] == 3


def test_a_model_without_a_condition_has_no_options_of_one() -> None:
    assert not set(condition().config["options"]) & set(CONDITION)
    assert set(condition(classes=2).config["options"]) >= set(CONDITION)
    assert condition().condition is None
    assert condition().embed_condition(3) is None


# ---- encoders


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("size", "channels"), [((5, 4), 1), ((8, 8), 3), ((1, 7), 1), ((2, 7), 2)], ids=str)
def test_an_encoder_makes_a_code_of_every_image(encoder: str, size: tuple[int, int], channels: int) -> None:
    model = condition(**AUTOENCODER, encoder=encoder, size=size, channels=channels)
    images = images_of(model, 3)
    codes = model.encode(images)
    assert codes.shape == (3, 4)
    assert codes.unique(dim=0).shape == (3, 4), "each image has its own"
    alone = torch.cat([model.encode(images[i : i + 1]) for i in range(3)])
    assert_close(alone, codes)
    assert model.sample(3, vector=codes.detach(), seed=0).shape == images.shape


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_unit_code_has_length_one_and_another_one_has_any(encoder: str) -> None:
    images = images_of(condition(), 5)
    torch.manual_seed(1)
    unit = condition(**AUTOENCODER, encoder=encoder, unit_code=True)
    free = condition(**AUTOENCODER, encoder=encoder)
    free.load_state_dict(unit.state_dict())
    torch.testing.assert_close(unit.encode(images).norm(dim=1), torch.ones(5))
    assert (free.encode(images).norm(dim=1) - 1).abs().min() > 1e-6
    lengths = free.encode(images).norm(dim=1, keepdim=True)
    torch.testing.assert_close(unit.encode(images), free.encode(images) / lengths)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoder_is_learned_through_the_likelihood(encoder: str) -> None:
    model = condition(**AUTOENCODER, encoder=encoder, condition_dropout=0.0).train()
    images = images_of(model, 8)
    model.log_prob(images, vector=model.encode(images)).sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in model.encoder.parameters())


def test_an_encoder_reads_the_whole_image() -> None:
    for encoder in ENCODERS:
        model = condition(**AUTOENCODER, encoder=encoder)
        image = images_of(model, 1)
        for row, column in [(0, 0), (4, 3), (0, 3), (4, 0), (2, 1)]:
            other = image.clone()
            other[0, 0, row, column] = (image[0, 0, row, column] + 1) % 4
            assert not torch.equal(model.encode(other), model.encode(image)), f"{encoder}: ({row}, {column})"


def test_an_encoder_refuses_images_of_another_size_and_a_model_without_one_all_images() -> None:
    model = condition(**AUTOENCODER)
    with pytest.raises(ImageError, match="images of 5x4, but these are 6x4"):
        model.encode(torch.zeros(1, 1, 6, 4, dtype=torch.uint8))
    with pytest.raises(ImageError, match="float"):
        model.encode(torch.zeros(1, 1, 5, 4))
    for options in ({}, {"vector_size": 4}):
        with pytest.raises(ConditionError, match=r"no encoder.*code_size"):
            condition(**options).encode(images_of(condition()))


# ---- names of classes


def test_labels_may_be_names_of_classes_if_the_model_knows_them() -> None:
    model = condition(classes=3)
    images = images_of(model)
    expected = model.log_prob(images, label=[2, 0])
    with pytest.raises(ConditionError, match=r"whole numbers 0\.\.2.*, not 'circle'"):
        model.sample(2, label="circle")
    model.about["class_names"] = ["square", "star", "circle"]
    for label in (["circle", "square"], ("circle", 0), np.array(["circle", "square"]), ["2", "0"]):
        assert torch.equal(model.log_prob(images, label=label), expected)
    assert torch.equal(model.sample(2, seed=0, label="circle"), model.sample(2, seed=0, label=2))
    assert torch.equal(model.sample(2, seed=0, label=["star", "circle"]), model.sample(2, seed=0, label=[1, 2]))
    with pytest.raises(ConditionError, match=r"no class 'circl'. Did you mean 'circle'\? Numbers 0\.\.2 work too"):
        model.log_prob(images, label=["square", "circl"])


def test_a_size_that_a_spatial_condition_cannot_take_names_the_option() -> None:
    model = condition(classes=3, condition_spatial=True)
    with pytest.raises(ConditionError, match="built with condition_spatial=True"):
        model.sample(1, label=0, size=(6, 6))
