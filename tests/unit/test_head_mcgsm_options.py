"""The options of the head "mcgsm": ranges, defaults, and what a saved model keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pixelrnn
from pixelrnn.errors import ConfigError
from pixelrnn.heads import MCGSM


def test_a_head_says_how_many_parameters_and_passes_it_takes() -> None:
    for channels in (1, 2, 3):
        head = MCGSM(channels, 4, components=3, scales=2)
        assert head.groups == channels
        assert head.num_params == channels * (3 * 2 + 3 + 3 * 2)  # weights, means, precisions
    assert (MCGSM(1, 4).components, MCGSM(1, 4).scales) == (8, 4)


@pytest.mark.parametrize("network", ["mcgsm", "spatial-lstm", "pixelcnn"])
@pytest.mark.parametrize("value", [0, -1, 1025, 2.0, True, "3", None])
@pytest.mark.parametrize("option", ["components", "scales"])
def test_an_option_out_of_its_range_is_a_config_error(network: str, option: str, value: object) -> None:
    body = {} if network == "mcgsm" else {"layers": 1, "width": 4}
    with pytest.raises(ConfigError, match=f"{option} must be a whole number from 1 to 1024, not"):
        pixelrnn.build(network, size=(4, 4), levels=4, head="mcgsm", **body, **{option: value})


@pytest.mark.parametrize("network", ["mcgsm", "spatial-lstm"])
def test_a_mixture_without_features_is_a_config_error(network: str) -> None:
    body = {} if network == "mcgsm" else {"layers": 1, "width": 4}
    with pytest.raises(ConfigError, match="features must be a whole number from 1"):
        pixelrnn.build(network, size=(4, 4), levels=4, features=0, **body)


def test_options_of_this_head_are_of_no_other() -> None:
    with pytest.raises(ConfigError, match="'components'"):
        pixelrnn.build("pixelcnn", size=(4, 4), levels=4, head="categorical", layers=1, width=4, components=3)


def test_an_option_of_the_head_with_a_typing_error_is_recognised() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'components'"):
        pixelrnn.build("mcgsm", size=(4, 4), levels=4, component=3)


@pytest.mark.parametrize("whole", [int, np.int64])
@pytest.mark.parametrize("network", ["mcgsm", "spatial-lstm", "pixelcnn"])
def test_a_saved_model_keeps_its_components_and_scales(network: str, whole: type, tmp_path: Path) -> None:
    body: dict[str, Any] = {} if network == "mcgsm" else {"layers": 1, "width": 4}
    model = pixelrnn.build(
        network, size=(4, 4), channels=3, levels=4, head="mcgsm", components=whole(3), scales=whole(2), **body
    )
    assert (model.config["options"]["components"], model.config["options"]["scales"]) == (3, 2)
    model.eval().save(tmp_path / "model")
    again = pixelrnn.load(tmp_path / "model")
    assert again.config == model.config
    assert isinstance(again.head, MCGSM)
    assert (again.head.components, again.head.scales) == (3, 2)
    images = torch.randint(0, 4, (2, 3, 4, 4))
    assert torch.equal(again.log_prob(images), model.log_prob(images))


def test_options_that_are_left_out_are_shown_with_their_defaults() -> None:
    options = pixelrnn.build("mcgsm", size=(4, 4), levels=4, scales=2).config["options"]
    assert options == {"components": 8, "scales": 2, "kernel": 5, "features": 32}
    assert "components" not in pixelrnn.build("mcgsm", size=(4, 4), levels=4, head="categorical").config["options"]
