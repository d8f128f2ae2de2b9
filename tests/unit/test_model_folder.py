"""A model's folder: what comes back from it is the model, and what is damaged is refused."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models import images_of, small
from safetensors.torch import load_file, save
from torch import Tensor

import pixelrnn
from pixelrnn.errors import ModelFolderError, RunFolderError
from pixelrnn.networks import NETWORKS, options_of


@pytest.mark.parametrize(("channels", "dtype"), [(1, torch.float64), (3, torch.float32)])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_saved_model_comes_back_bit_for_bit(network: str, channels: int, dtype: torch.dtype, tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)  # as users have it
    model = small(network, channels=channels, dropout=0.1, kernel=5, skip=False).to(dtype).train()
    model.about = {"preset": "none", "nats": -1.5}
    model.save(tmp_path / "new" / "folder")
    again = pixelrnn.load(tmp_path / "new" / "folder")
    assert again.dtype == dtype
    assert not any(each.training for each in again.modules()), "ready for evaluation"
    assert again.config == model.config
    assert again.about == model.about
    old, new = model.state_dict(), again.state_dict()
    assert list(old) == list(new)
    assert all(torch.equal(old[key], new[key]) for key in old)
    images = images_of(model)
    assert torch.equal(model.eval().log_prob(images), again.log_prob(images))
    assert torch.equal(model.sample(2, seed=0), again.sample(2, seed=0))


def test_a_folder_is_loaded_by_text_and_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small().save(str(tmp_path / "model"))
    monkeypatch.chdir(tmp_path)
    assert pixelrnn.load("model").size == (5, 4)


def test_the_weights_file_is_a_function_of_the_weights(tmp_path: Path) -> None:
    """No time, no path, no order of events inside: the same weights are the same bytes."""
    model = small()
    for name in ("one", "another"):
        model.save(tmp_path / name)
    pixelrnn.load(tmp_path / "one").save(tmp_path / "third")
    files = [tmp_path / name / "model.safetensors" for name in ("one", "another", "third")]
    assert len({each.read_bytes() for each in files}) == 1
    assert str(tmp_path).encode() not in files[0].read_bytes()
    configs = {(tmp_path / name / "config.json").read_bytes() for name in ("one", "another", "third")}
    assert len(configs) == 1


def test_a_folder_holds_the_config_the_weights_and_a_card_and_nothing_else(tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path, card="# My card\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (tmp_path / "README.md").read_text() == "# My card\n"
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["sha256"] == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert config["parameters"] == sum(each.numel() for each in model.parameters())
    assert config["options"]["dropout"] == 0.0, "defaults are written out: a later change of them changes no model"


def test_saving_over_a_model_replaces_it(tmp_path: Path) -> None:
    small().save(tmp_path)
    other = small("pixelcnn")
    other.save(tmp_path)
    images = images_of(other)
    assert torch.equal(pixelrnn.load(tmp_path).log_prob(images), other.log_prob(images))


def test_weights_in_any_layout_of_memory_are_saved_alike(tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path / "plain")
    model.to(memory_format=torch.channels_last)
    model.save(tmp_path / "channels_last")
    plain, last = (tmp_path / name / "model.safetensors" for name in ("plain", "channels_last"))
    assert plain.read_bytes() == last.read_bytes()


def test_weights_of_an_earlier_version_are_renamed_as_they_are_loaded(tmp_path: Path) -> None:
    model = pixelrnn.build("gated-pixelcnn", size=(5, 4), levels=2, layers=2, width=4, classes=3)
    model.save(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    before = {re.sub(r"\bbias_(above|along)\.", r"told_\1.", name): each for name, each in saved.items()}
    assert any(".told_" in name for name in before)
    weights_with_their_hash(save(before))(tmp_path)
    again = pixelrnn.load(tmp_path)
    assert all(torch.equal(each.float(), model.state_dict()[name].float()) for name, each in again.state_dict().items())


@pytest.mark.parametrize("below", ["file", "file/folder"])
def test_an_output_that_cannot_be_written_is_a_run_folder_error(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunFolderError, match="could not be written"):
        small().save(tmp_path / below)
    assert (tmp_path / "file").read_text() == "mine"


Damage = Callable[[Path], object]


def edit(**changes: Any) -> Damage:
    """Other values in the config."""

    def damage(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def edit_options(**changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        edit(options={**json.loads((folder / "config.json").read_text())["options"], **changes})(folder)

    return damage


def drop(key: str) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        del config[key]
        path.write_text(json.dumps(config))

    return damage


def write(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def remove(*names: str) -> Damage:
    return lambda folder: [(folder / name).unlink() for name in names]


def flip(place: int) -> Damage:
    """One bit of the weights' file, counted from the start or the end."""

    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)

    return damage


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


def weights_with_their_hash(content: bytes) -> Damage:
    def damage(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(content)
        edit(sha256=hashlib.sha256(content).hexdigest())(folder)

    return damage


def change_weights(change: Callable[[dict[str, Tensor]], object]) -> Damage:
    """Other weights with the right hash."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        weights_with_their_hash(save(tensors))(folder)

    return damage


def other_model(folder: Path) -> None:
    other = small(width=5)
    weights_with_their_hash(save(dict(other.state_dict())))(folder)


DAMAGES: list[tuple[str, Damage, str]] = [
    ("an empty folder", remove("config.json", "model.safetensors", "README.md"), r"no config\.json"),
    ("no config", remove("config.json"), r"no config\.json"),
    ("a config that is empty", write("config.json", b""), "JSON"),
    ("a config that is not JSON", write("config.json", b"{"), "JSON"),
    ("a config that is not text", write("config.json", b"\xff\xfe\x00"), "JSON"),
    ("a config nested without end", write("config.json", b"[" * 100_000), "JSON"),
    (
        "a config of another program",
        write("config.json", b'{"architectures": ["Bert"]}'),
        "not written by this package",
    ),
    ("a config that is a list", write("config.json", b"[]"), "not written by this package"),
    ("a config that is huge", write("config.json", b" " * 1_000_001), "larger than"),
    ("a newer format", edit(format_version=2), "Update pixelrnn"),
    ("no format version", drop("format_version"), "format version"),
    ("no network", drop("network"), "network (is missing|must be)"),
    ("no size", drop("size"), "size (is missing|must be)"),
    ("no levels", drop("levels"), "levels (is missing|must be)"),
    ("no hash", drop("sha256"), "sha256 (is missing|must be)"),
    ("levels as text", edit(levels="4"), "levels (is missing|must be)"),
    ("levels true", edit(levels=True), "levels (is missing|must be)"),
    ("channels as a fraction", edit(channels=1.5), "channels must be"),
    ("options as a list", edit(options=[]), "options must be"),
    ("about as text", edit(about="text"), "about"),
    ("about as a list", edit(about=[1]), "about"),
    ("an unknown network", edit(network="pixelsnail"), "pixelsnail"),
    ("an unknown head", edit(head="gumbel"), "gumbel"),
    ("an unknown option", edit_options(colour="red"), "colour"),
    ("a missing option", edit(options={}), "layers"),
    ("a size of three", edit(size=[5, 4, 3]), "size"),
    ("an empty size", edit(size=[]), "size"),
    ("a size as text", edit(size=["5", "4"]), "size"),
    ("a negative size", edit(size=[-5, 4]), "size"),
    ("no channels", edit(channels=0), "channels"),
    ("257 levels", edit(levels=257), "levels"),
    ("no layers", edit_options(layers=0), "layers"),
    ("layers as text", edit_options(layers="many"), "layers"),
    ("layers that are infinite", edit_options(layers=math.inf), "layers"),
    ("too many layers", edit_options(layers=10**9), "layers"),
    ("too wide", edit_options(width=10**12), "width"),
    ("no weights", remove("model.safetensors"), "weights are missing"),
    ("a bit of the weights", flip(-1), "damaged or from another model"),
    ("a bit of the weights' header", flip(20), "damaged or from another model"),
    ("weights cut short", cut, "damaged or from another model"),
    ("empty weights", write("model.safetensors", b""), "damaged or from another model"),
    ("weights of another model", other_model, "do not fit"),
    ("weights that are none", weights_with_their_hash(b"not safetensors"), "safetensors"),
    ("weights that are empty but known", weights_with_their_hash(b""), "safetensors"),
    ("a tensor missing", change_weights(lambda tensors: tensors.popitem()), "do not fit"),
    ("a tensor too many", change_weights(lambda tensors: tensors.update(extra=torch.zeros(1))), "do not fit"),
    ("another network's name", edit(network="pixelcnn"), "do not fit"),
    ("a narrower network", edit_options(width=3), "do not fit"),
    ("a wider network", edit_options(width=5), "do not fit"),
    ("fewer levels", edit(levels=3), "do not fit"),
]


@pytest.mark.parametrize(("damage", "says"), [each[1:] for each in DAMAGES], ids=[each[0] for each in DAMAGES])
def test_a_damaged_folder_is_an_error_that_says_what_is_wrong(damage: Damage, says: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    small().save(folder)
    pixelrnn.load(folder)
    damage(folder)
    with pytest.raises(ModelFolderError, match=says) as caught:
        pixelrnn.load(folder)
    assert str(folder) in str(caught.value), "the message names the folder"


def test_a_folder_that_is_not_there_is_an_error_that_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"no model folder .*nowhere.*pixelrnn train"):
        pixelrnn.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFolderError, match="is a file, but a model is a folder"):
        pixelrnn.load(tmp_path / "file")


def test_a_weights_file_that_is_far_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small().save(tmp_path)
    path = tmp_path / "model.safetensors"
    with path.open("ab") as file:
        file.truncate(3 * 2**30)  # sparse: no disk is used
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read"))
    with pytest.raises(ModelFolderError, match="do not belong together"):
        pixelrnn.load(tmp_path)


@pytest.mark.parametrize("changes", [{"width": 16384}, {"width": 16384, "layers": 100}, {"out_width": 16384}], ids=str)
@pytest.mark.parametrize("network", [each for each in NETWORKS if "layers" in options_of(each)])
def test_a_config_of_a_huge_network_takes_no_memory(
    network: str, changes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A config is a few bytes of text; it must not make the loader reserve what it claims before the weights agree."""
    from pixelrnn.model import pixel_model as module

    small(network).save(tmp_path)
    edit_options(**changes)(tmp_path)
    build = module.build_network

    def guarded(*arguments: Any) -> Any:
        assert torch.empty(0).device.type == "meta", "memory would be taken for weights that are not there"
        return build(*arguments)

    monkeypatch.setattr(module, "build_network", guarded)
    with pytest.raises(ModelFolderError):
        pixelrnn.load(tmp_path)


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


TRAPS: dict[str, tuple[Callable[[Trap, Path], object], Callable[[Path], object]]] = {  # how it is set, how it goes off
    "pickle": (lambda trap, path: path.write_bytes(pickle.dumps(trap)), lambda path: pickle.loads(path.read_bytes())),
    "torch.save": (torch.save, lambda path: torch.load(path, weights_only=False)),
}


@pytest.mark.parametrize(("pack", "unpack"), TRAPS.values(), ids=list(TRAPS))
def test_weights_that_are_a_pickle_are_refused_and_never_unpickled(
    pack: Callable[[Trap, Path], object], unpack: Callable[[Path], object], tmp_path: Path
) -> None:
    folder, file, marker = tmp_path / "model", tmp_path / "file", tmp_path / "marker"
    pack(Trap(marker), file)
    unpack(file)
    assert marker.exists(), "a trap that does not work proves nothing"
    marker.unlink()
    small().save(folder)
    weights_with_their_hash(file.read_bytes())(folder)
    with pytest.raises(ModelFolderError, match="not a safetensors file"):
        pixelrnn.load(folder)
    assert not marker.exists()


def test_a_name_that_is_nearly_that_of_a_shipped_model_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"no model folder mnst\. Did you mean 'mnist'\?"):
        pixelrnn.load("mnst")
    with pytest.raises(ModelFolderError, match=r"no model folder [^ ]+/run\. Train one"):
        pixelrnn.load(tmp_path / "run")


def test_a_config_of_an_image_larger_than_any_memory_is_refused(tmp_path: Path) -> None:
    small("pixelcnn").save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["size"] = [10**9, 10**9]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFolderError, match=r"does not describe a model: size must be .* 100,000,000 pixels"):
        pixelrnn.load(tmp_path)
