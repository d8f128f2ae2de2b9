"""A model as its users meet it: how it is built, numbers out of range, precision and devices."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import images_of, small

import pixelrnn
from pixelrnn.errors import ConfigError
from pixelrnn.fields import options_of_call
from pixelrnn.heads import HEADS, head_options
from pixelrnn.networks import NETWORKS, options_of

# ---- building

SIZE = {"size": (5, 4), "levels": 4, "layers": 2, "width": 4}
WRONG_BUILDS: list[tuple[str, dict[str, Any], str]] = [
    ("a network with a typing error", {"network": "pixlcnn"}, "'pixlcnn'. Did you mean 'pixelcnn'"),
    ("another network", {"network": "gated_pixelcnn"}, "Did you mean 'gated-pixelcnn'"),
    ("a network like no other", {"network": "zzz"}, "Known: diagonal-bilstm, gated-pixelcnn, .*pixelcnn"),
    ("an option with a typing error", {"wdith": 3}, "'wdith'. Did you mean 'width'"),
    ("an option like no other", {"zzzzzz": 3}, "zzzzzz.*Known: .*layers"),
    ("a head with a typing error", {"head": "catgorical"}, "Did you mean 'categorical'"),
    ("an even kernel", {"kernel": 4}, "kernel must be an odd"),
    ("a kernel of one", {"kernel": 1}, "kernel must be an odd"),
    ("an even first kernel", {"first_kernel": 8}, "first_kernel must be an odd"),
    ("a kernel in floats", {"kernel": 3.5}, "kernel must be an odd"),
    ("no layers", {"layers": 0}, "layers must be a whole number from 1"),
    ("layers in floats", {"layers": 2.0}, "layers must be a whole number"),
    ("layers true", {"layers": True}, "layers must be a whole number"),
    ("a width of zero", {"width": 0}, "width must be a whole number from 1"),
    ("fewer maps than colours", {"width": 2, "channels": 3}, "width must be a whole number from 3"),
    ("a negative out_width", {"out_width": -1}, "out_width must be"),
    ("a dropout of one", {"dropout": 1.0}, "dropout must be a number from 0"),
    ("a dropout of NaN", {"dropout": math.nan}, "dropout must be"),
    ("skip as a number", {"skip": 1}, "skip must be true or false"),
    ("one level", {"levels": 1}, "levels must be a whole number from 2 to 256"),
    ("257 levels", {"levels": 257}, "levels must be a whole number from 2 to 256"),
    ("levels in floats", {"levels": 4.0}, "levels must be"),
    ("bernoulli with 4 levels", {"head": "bernoulli"}, '2 levels, not 4.*"categorical"'),
    ("no rows", {"size": (0, 4)}, "size must be"),
    ("a negative size", {"size": (5, -4)}, "size must be"),
    ("a size of one", {"size": (5,)}, "size must be"),
    ("a size of three", {"size": (5, 4, 3)}, "size must be"),
    ("a size in floats", {"size": (5.0, 4)}, "size must be"),
    ("a size as one number", {"size": 5}, "size must be"),
    ("no channels", {"channels": 0}, "channels"),
    ("channels in floats", {"channels": 1.0}, "channels"),
]


@pytest.mark.parametrize(
    ("changes", "says"), [each[1:] for each in WRONG_BUILDS], ids=[each[0] for each in WRONG_BUILDS]
)
def test_what_cannot_be_built_is_a_config_error_that_says_why(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        pixelrnn.build(**{"network": "gated-pixelcnn", **SIZE, **changes})
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("network", [each for each in NETWORKS if "layers" in options_of(each)])
@pytest.mark.parametrize("missing", ["layers", "width"])
def test_a_missing_option_is_asked_for(network: str, missing: str) -> None:
    options = {key: value for key, value in SIZE.items() if key != missing}
    with pytest.raises(ConfigError, match=f"{network} needs {missing}"):
        pixelrnn.build(network, **options)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("network", NETWORKS)
def test_no_option_of_a_head_has_the_name_of_one_of_a_network(network: str, head: str) -> None:
    """The head would take it, and the network has no such option."""
    assert not set(options_of(network)) & set(head_options(HEADS[head]))


def test_the_head_follows_the_levels() -> None:
    assert pixelrnn.build("pixelcnn", **{**SIZE, "levels": 2}).config["head"] == "bernoulli"
    assert pixelrnn.build("pixelcnn", **SIZE).config["head"] == "categorical"
    assert pixelrnn.build("pixelcnn", **{**SIZE, "levels": 2}, head="categorical").config["head"] == "categorical"


@pytest.mark.parametrize("channels", [2, 4])  # 1 and 3 are those of the contracts
@pytest.mark.parametrize("network", NETWORKS)
def test_any_number_of_colours_is_modelled(network: str, channels: int) -> None:
    model = small(network, channels=channels, levels=2)
    images = model.sample(2, seed=0)
    assert images.shape == (2, channels, 5, 4)
    assert torch.equal(images, model.sample(2, seed=0, method="naive"))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_model_is_copied_and_sent_to_other_processes(network: str) -> None:
    model = small(network)
    images = images_of(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other.log_prob(images), model.log_prob(images))


# ---- learning


def test_likelihoods_can_be_learned_from() -> None:
    model = small().train()
    images = torch.ones(4, 1, 5, 4, dtype=torch.uint8)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    before = model.log_prob(images).mean().item()
    for _ in range(20):
        optimizer.zero_grad()
        (-model.log_prob(images).mean()).backward()
        optimizer.step()
    assert model.log_prob(images).mean().item() > before + 1


def test_sampling_leaves_weights_that_can_still_be_trained() -> None:
    """The walk runs in inference mode; nothing of it may stay in the model."""
    model = small()
    model.sample(1, seed=0)
    model.log_prob(images_of(model)).sum().backward()
    assert all(each.grad is not None for each in model.parameters())


# ---- sampling

WRONG_SAMPLES: list[tuple[str, dict[str, Any], str]] = [
    ("a negative number", {"n": -1}, "n must be a whole number, 0 or more, not -1"),
    ("a fraction of an image", {"n": 1.5}, "n must be a whole number"),
    ("true images", {"n": True}, "n must be a whole number"),
    ("a negative temperature", {"temperature": -0.1}, "temperature must be a number, 0 or more, not -0.1"),
    ("a temperature of NaN", {"temperature": math.nan}, "temperature must be"),
    ("an infinite temperature", {"temperature": math.inf}, "temperature must be"),
    ("a temperature as text", {"temperature": "hot"}, "temperature must be"),
    ("an unknown method", {"method": "cahced"}, "'cahced'. Did you mean 'cached'"),
    ("a negative seed", {"seed": -1}, "seed must be a whole number, 0 or more"),
    ("a seed in floats", {"seed": 0.5}, "seed must be a whole number"),
    ("a seed as text", {"seed": "zero"}, "seed must be a whole number"),
    ("an empty batch", {"batch_size": 0}, "batch_size must be a whole number, 1 or more"),
    ("no rows", {"size": (0, 4)}, "height must be a whole number, 1 or more"),
    ("no columns", {"size": (5, 0)}, "width must be a whole number, 1 or more"),
    ("a size of one", {"size": (5,)}, "size"),
    ("a size as one number", {"size": 5}, "size"),
]


@pytest.mark.parametrize(
    ("wrong", "says"), [each[1:] for each in WRONG_SAMPLES], ids=[each[0] for each in WRONG_SAMPLES]
)
def test_a_sampling_that_makes_no_sense_is_a_config_error(wrong: dict[str, Any], says: str) -> None:
    model = small()
    with pytest.raises(ConfigError, match=says):
        model.sample(**{"n": 1, **wrong})
    shared = {key: value for key, value in wrong.items() if key not in ("n", "size")}
    if shared:
        with pytest.raises(ConfigError, match=says):
            model.complete(images_of(model), torch.ones(5, 4).bool(), **shared)


def test_no_images_are_an_empty_tensor() -> None:
    for channels in (1, 3):
        none = small(channels=channels).sample(0)
        assert none.shape == (0, channels, 5, 4)
        assert none.dtype == torch.uint8


def test_numbers_of_numpy_are_numbers() -> None:
    model = small()
    assert torch.equal(model.sample(np.int64(2), seed=np.uint8(3)), model.sample(2, seed=3))


def test_a_seed_may_be_as_large_as_anyone_likes() -> None:
    model = small()
    assert not torch.equal(model.sample(4, seed=2**80), model.sample(4, seed=0))


# ---- precision and devices


def test_a_model_may_be_made_more_and_less_precise() -> None:
    model = small().float()
    images = images_of(model)
    single = model.log_prob(images)
    assert single.dtype == torch.float32
    exact = model.double().log_prob(images)
    assert exact.dtype == model.dtype == torch.float64
    torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-4)
    assert model.sample(1, seed=0).dtype == torch.uint8


def test_nats_under_autocast_are_summed_in_float32() -> None:
    model = small().float()
    images = images_of(model)
    expected = model.log_prob(images)
    with torch.autocast("cpu", torch.bfloat16):
        nats = model.log_prob(images)
    assert nats.dtype == torch.float32
    torch.testing.assert_close(nats, expected, rtol=0.02, atol=0.5)


def test_a_model_knows_its_geometry() -> None:
    model = small(channels=3)
    assert (model.size, model.channels, model.levels, model.dimensions) == ((5, 4), 3, 4, 60)
    assert model.device == torch.device("cpu")
    assert model.num_parameters == sum(each.numel() for each in model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_model_on_a_gpu_is_the_same_model(network: str, channels: int, tmp_path: Path) -> None:
    model = small(network, channels=channels)
    images, known = images_of(model), torch.rand(5, 4) < 0.5
    nats, new = model.log_prob(images), model.sample(3, seed=0)
    whole = model.complete(images, known, seed=0)
    model.save(tmp_path)
    model.to("cuda")
    assert model.device.type == "cuda"
    torch.testing.assert_close(model.log_prob(images).cpu(), nats, rtol=0, atol=1e-9)
    for method in ("cached", "naive"):
        drawn = model.sample(3, seed=0, method=method)
        assert drawn.device.type == "cuda"
        assert torch.equal(drawn.cpu(), new)
    assert torch.equal(model.complete(images, known, seed=0).cpu(), whole)
    loaded = pixelrnn.load(tmp_path, "cuda")
    assert torch.equal(loaded.sample(3, seed=0).cpu(), new)
    model.save(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


@pytest.mark.parametrize("kind", [*NETWORKS.values(), *HEADS.values()], ids=lambda kind: kind.__name__)
def test_every_number_among_the_options_has_a_range(kind: type) -> None:
    for name, field in options_of_call(kind).model_fields.items():
        if field.annotation in (int, float):
            assert field.metadata, f"{name} takes any number"
        else:
            assert field.annotation in (bool, str), name
