"""Presets: a whole training as a text, and the changes that a user makes to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelrnn.data import BINARISATIONS, ImageData, Levels, data_names
from pixelrnn.errors import ConfigError
from pixelrnn.training.prepare import build_model, check_orders
from pixelrnn.training.presets import (
    DataSettings,
    Preset,
    TrainingSettings,
    load_preset,
    preset_from,
    preset_names,
)

NAME = "mnist-gated"


def few_images(preset: Preset, size: tuple[int, int] = (8, 8), channels: int = 1) -> ImageData:
    """Noise in place of the preset's data."""
    source = 17 if preset.data.name == "digits" else 256
    images = np.random.default_rng(0).integers(0, source, (4, channels, *size), dtype=np.uint8)
    return ImageData(preset.data.name, "train", images, np.array([0, 1, 2, 1]), ("a", "b", "c"), source)


def changed(*changes: str, name: str = NAME) -> Preset:
    return load_preset(name, list(changes))


# ---- what is shipped


def test_there_are_presets() -> None:
    assert {"digits", "mnist-gated"} <= set(preset_names())
    assert preset_names() == sorted(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_a_shipped_preset_is_whole_and_its_model_gives_likelihoods(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name
    assert preset.description, "`pixelrnn list presets` shows it"
    assert preset.source, "where its settings come from"
    assert preset.data.name in data_names(), "a shipped preset needs no file of the user's"
    assert preset.data.binarise in ("", *BINARISATIONS)
    torch.set_default_dtype(torch.float32)
    colours = len(preset.model.get("colour_order", [0]))
    data = few_images(preset, channels=colours)
    model = build_model(preset, data)
    assert (model.size, model.channels, model.levels) == ((8, 8), colours, preset.data.levels)
    assert model.config["network"] == preset.model["network"]
    check_orders(preset, model)
    for key, value in preset.model.items():
        assert key in ("network", "head") or model.config["options"][key] == value
    levels = Levels(data.values, preset.data.levels, preset.data.binarise or None)
    start = data.images if levels.redrawn else levels.fixed(data.images)
    images = levels.draw(torch.from_numpy(start), torch.rand(start.shape))
    assert model.eval().log_prob(images).isfinite().all()


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_survives_json(name: str) -> None:
    """A run folder keeps the resolved preset as JSON and takes it up from there."""
    preset = load_preset(name, ["epochs=7", "batch_size=12"])
    table = json.loads(json.dumps(preset.as_dict()))
    assert preset_from(table["name"], table) == preset


@pytest.mark.parametrize("name", preset_names())
def test_what_is_assumed_is_a_key_of_the_preset(name: str) -> None:
    preset = load_preset(name)
    for key in preset.assumed:
        section, _, last = key.partition(".")
        assert last in preset.as_dict()[section], f"{name} says that it assumes {key}"


def test_a_preset_of_ones_own_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\nnetwork = "pixelcnn"\nlayers = 1\nwidth = 2\n[data]\nlevels = 4\n')
    preset = load_preset(str(path), ["epochs=2"])
    assert preset.name == "mine"
    assert preset.training == TrainingSettings(epochs=2), "the rest is the defaults"
    assert preset.data == DataSettings(levels=4)
    assert build_model(preset, few_images(preset)).levels == 4


# ---- changes

CHANGES: list[tuple[str, str, str, Any]] = [
    ("epochs=3", "training", "epochs", 3),
    ("training.epochs=3", "training", "epochs", 3),
    (" epochs = 3 ", "training", "epochs", 3),
    ("learning_rate=1e-4", "training", "learning_rate", 1e-4),
    ("learning_rate=0.5", "training", "learning_rate", 0.5),
    ("clip=2", "training", "clip", 2.0),
    ("ema=0", "training", "ema", 0.0),
    ("optimizer=rmsprop", "training", "optimizer", "rmsprop"),
    ('optimizer="rmsprop"', "training", "optimizer", "rmsprop"),
    ("precision=32", "training", "precision", "32"),
    ("schedule=constant", "training", "schedule", "constant"),
    ("seed=5", "training", "seed", 5),
    ("levels=16", "data", "levels", 16),
    ("data.levels=16", "data", "levels", 16),
    ("size=[28, 28]", "data", "size", [28, 28]),
    ("name=digits", "data", "name", "digits"),
    ("data.name=/pictures/my = folder", "data", "name", "/pictures/my = folder"),
    ("binarise=", "data", "binarise", ""),
    ("binarise=fixed", "data", "binarise", "fixed"),
]


@pytest.mark.parametrize(("change", "section", "key", "value"), CHANGES, ids=[each[0] for each in CHANGES])
def test_a_change_sets_one_key_and_no_other(change: str, section: str, key: str, value: Any) -> None:
    preset, before = changed(change).as_dict(), changed().as_dict()
    assert preset[section][key] == value
    assert type(preset[section][key]) is type(value)
    preset[section][key] = before[section][key]
    assert preset == before


MODEL_CHANGES: list[tuple[str, str, Any]] = [
    ("width=16", "width", 16),
    ("model.width=16", "width", 16),
    ("skip=false", "skip", False),
    ("dropout=0.25", "dropout", 0.25),
    ("network=pixelcnn", "network", "pixelcnn"),
    ("model.network=pixelcnn", "network", "pixelcnn"),
    ("head=categorical", "head", "categorical"),
]


@pytest.mark.parametrize(("change", "key", "value"), MODEL_CHANGES, ids=[each[0] for each in MODEL_CHANGES])
def test_what_is_no_key_of_data_or_training_is_the_models(change: str, key: str, value: Any) -> None:
    preset, before = changed(change), changed()
    assert preset.model == {**before.model, key: value}
    assert (preset.data, preset.training) == (before.data, before.training)
    model = build_model(preset, few_images(preset))
    assert {**model.config, **model.config["options"]}[key] == value


def test_of_two_changes_of_one_key_the_later_counts() -> None:
    assert changed("epochs=3", "training.epochs=4").training.epochs == 4


def test_every_key_of_data_and_training_is_found_by_its_last_part_alone() -> None:
    """No name is in two sections, and none is an option of a network or of a head."""
    from pixelrnn.heads import HEADS, head_options
    from pixelrnn.networks import NETWORKS, options_of

    data = set(DataSettings.model_fields)
    training = set(TrainingSettings.model_fields)
    model = {"network", "head"}.union(
        *(options_of(network) for network in NETWORKS), *map(head_options, HEADS.values())
    )
    assert not data & training
    assert not (data | training) & model


CHOICES = {"optimizer": ("adam", "adamw", "rmsprop"), "schedule": ("cosine", "constant"), "precision": ("32", "bf16")}


@pytest.mark.parametrize("choice", [(key, each) for key, choices in CHOICES.items() for each in choices], ids=str)
def test_every_choice_can_be_taken(choice: tuple[str, str]) -> None:
    key, value = choice
    assert getattr(changed(f"{key}={value}").training, key) == value


# ---- errors

WRONG: list[tuple[str, str]] = [
    ("training.epoch=3", r"key of \[training\] 'epoch'. Did you mean 'epochs'"),
    ("data.lvels=3", r"key of \[data\] 'lvels'. Did you mean 'levels'"),
    ("trainin.epochs=3", "section 'trainin'. Did you mean 'training'"),
    ("optimiser.x=3", "section"),
    ("training.deep.epochs=3", "section"),
    ("epochs=0", "training.epochs must be a whole number, 1 or more, not 0"),
    ("epochs=-1", "training.epochs must be a whole number, 1 or more"),
    ("epochs=3.5", "training.epochs must be a whole number, 1 or more, not 3.5"),
    ("epochs=many", "training.epochs must be a whole number, 1 or more, not 'many'"),
    ("epochs=true", "training.epochs must be a whole number"),
    ("epochs=", "training.epochs must be a whole number"),
    ("epochs=[3]", "training.epochs must be a whole number"),
    ("batch_size=0", "training.batch_size must be a whole number, 1 or more"),
    ("warmup=-1", "training.warmup must be a whole number, 0 or more"),
    ("seed=-1", "training.seed must be a whole number, 0 or more"),
    ("learning_rate=0", "training.learning_rate must be a number above 0"),
    ("learning_rate=-1e-3", "training.learning_rate must be a number above 0"),
    ("learning_rate=nan", "training.learning_rate must be a number above 0"),
    ("learning_rate=inf", "training.learning_rate must be a number above 0"),
    ("learning_rate=fast", "training.learning_rate must be a number above 0, not 'fast'"),
    ("learning_rate=true", "training.learning_rate must be a number"),
    ("ema=1", "training.ema must be a number from 0 to below 1"),
    ("ema=-0.5", "training.ema must be a number from 0 to below 1"),
    ("ema=nan", "training.ema must be"),
    ("clip=-1", "training.clip must be a number, 0 or more"),
    ("weight_decay=nan", "training.weight_decay must be"),
    ("optimizer=adma", "training.optimizer 'adma'. Did you mean 'adam'"),
    ("schedule=linear", "training.schedule 'linear'"),
    ("precision=16", "training.precision '16'"),
    ("size=28", "data.size must be a list"),
    ("levels=two", "data.levels must be a whole number"),
    ("name=true", "data.name must be a string"),
    ("epochs", "KEY=VALUE.*'epochs'"),
    ("=3", "KEY=VALUE"),
    ("", "KEY=VALUE"),
]


@pytest.mark.parametrize(("change", "says"), WRONG, ids=[each[0] or "nothing" for each in WRONG])
def test_a_wrong_change_is_a_config_error_that_says_what_is_wrong(change: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        changed(change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("epoch=3", "no setting 'epoch' with the network gated-pixelcnn. Did you mean 'epochs'"),
        ("wdith=16", "Did you mean 'width'"),
        ("levls=16", "no setting 'levls' .*Did you mean 'levels'"),
        ("width=0", "width must be"),
        ("network=gatedpixelcnn", "Did you mean 'gated-pixelcnn'"),
        ("head=gumbel", "There is no head 'gumbel'"),
        ("levels=1", "levels must be"),
        ("levels=300", "levels must be"),
        ("layers=text", "layers must be"),
        ("dropout=1.5", "dropout must be"),
    ],
)
def test_a_change_that_the_model_cannot_take_is_seen_before_anything_is_trained(change: str, says: str) -> None:
    def build() -> None:
        preset = changed(change)
        build_model(preset, few_images(preset))

    with pytest.raises(ConfigError, match=says):
        build()


def test_an_unknown_preset_names_the_nearest_and_how_to_list_them() -> None:
    with pytest.raises(ConfigError, match=r"'mnist-gatd'. Did you mean 'mnist-gated'.*pixelrnn list presets"):
        load_preset("mnist-gatd")
    with pytest.raises(ConfigError, match=r"Known: .*digits"):
        load_preset("zzzzzzzz")


def test_a_preset_file_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no preset file .*digits"):
        load_preset(str(tmp_path / "none.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match="no preset file"):
        load_preset(str(tmp_path / "folder.toml"))


NETWORK = '[model]\nnetwork = "pixelcnn"\n'
FILES: list[tuple[str, bytes, str]] = [
    ("malformed TOML", b"[model\nnetwork = 3", "not valid TOML.*line 1"),
    ("a key twice", b"[training]\nepochs = 1\nepochs = 2\n", "not valid TOML"),
    ("not text", b"\xff\xfe\x00", "mine"),
    ("empty", b"", "needs a network"),
    ("no network", b"[training]\nepochs = 2\n", "needs a network"),
    ("a network that is a number", b"[model]\nnetwork = 3\n", "needs a network"),
    ("an unknown table", b"[trainning]\nepochs = 2\n" + NETWORK.encode(), "'trainning'. Did you mean 'training'"),
    ("an unknown key", NETWORK.encode() + b"[training]\nepoch = 2\n", "Did you mean 'epochs'"),
    ("a bad value", NETWORK.encode() + b'[training]\nepochs = "2"\n', "training.epochs must be a whole number"),
    ("training that is no table", b"training = 3\n" + NETWORK.encode(), "training"),
    ("data that is no table", b'data = "mnist"\n' + NETWORK.encode(), "data"),
    ("a model that is no table", b'model = "pixelcnn"\n', "model"),
]


@pytest.mark.parametrize(("content", "says"), [each[1:] for each in FILES], ids=[each[0] for each in FILES])
def test_a_wrong_preset_file_is_a_config_error_that_says_what_is_wrong(
    content: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        load_preset(str(path))


def test_a_change_of_a_section_that_is_no_table_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("training = 3\n" + NETWORK)
    with pytest.raises(ConfigError, match="training"):
        load_preset(str(path), ["epochs=3"])


def test_another_network_takes_of_the_presets_options_only_those_it_has() -> None:
    preset = load_preset("digits", ["network=lmconv"])
    assert preset.model["network"] == "lmconv"
    assert preset.model == {"network": "lmconv", "layers": 6, "width": 48, "dropout": 0.3}
    with pytest.raises(ConfigError, match="first_kernel"):
        load_preset("digits", ["network=lmconv", "first_kernel=3"])
