"""A model as its users meet it: folders, images that do not fit, numbers out of range."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

import pixelrnn
from pixelrnn.errors import ConfigError, ImageError, ModelFolderError, PixelRNNError, RunFolderError
from pixelrnn.model import PixelModel
from pixelrnn.networks import NETWORKS, options_of


def small(network: str = "gated-pixelcnn", **options: Any) -> PixelModel:
    """A model; options that the network does not have are left out."""
    wanted = {"layers": 2, "width": 4, **options}
    places = {key: wanted.pop(key) for key in ("size", "channels", "levels", "head") if key in wanted}
    known = {key: value for key, value in wanted.items() if key in options_of(network)}
    return pixelrnn.build(network, **{"size": (5, 4), "channels": 1, "levels": 4, **places}, **known).eval()


def images_of(model: PixelModel, n: int = 2) -> Tensor:
    return torch.randint(0, model.levels, (n, model.channels, *model.size))


# ---- public names


def test_the_names_of_the_networks_are_listed_before_and_after_a_model_is_built() -> None:
    """`networks` is a function and a subpackage; importing the second must not replace the first."""
    code = (
        "import pixelrnn; before = pixelrnn.networks();"
        "pixelrnn.build('pixelcnn', size=(2, 2), levels=2, layers=1, width=1); assert pixelrnn.networks() == before;"
        "print(*before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(NETWORKS)


@pytest.mark.parametrize("name", pixelrnn.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(pixelrnn, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = pixelrnn.nothing_of_the_kind


# ---- folders


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3])
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


@pytest.mark.parametrize("below", ["file", "file/folder"])
def test_a_place_that_cannot_be_written_is_a_run_folder_error(tmp_path: Path, below: str) -> None:
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
    ("no network", drop("network"), "'network' should be"),
    ("no size", drop("size"), "'size' should be"),
    ("no levels", drop("levels"), "'levels' should be"),
    ("no hash", drop("sha256"), "'sha256' should be"),
    ("levels as text", edit(levels="4"), "'levels' should be"),
    ("levels true", edit(levels=True), "'levels' should be"),
    ("channels as a fraction", edit(channels=1.5), "'channels' should be"),
    ("options as a list", edit(options=[]), "'options' should be"),
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
    with pytest.raises(ModelFolderError, match="no model folder"):
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
    from pixelrnn import model as module

    small(network).save(tmp_path)
    edit_options(**changes)(tmp_path)
    build = module.build_network

    def guarded(*arguments: Any) -> Any:
        assert torch.empty(0).device.type == "meta", "memory would be taken for weights that are not there"
        return build(*arguments)

    monkeypatch.setattr(module, "build_network", guarded)
    with pytest.raises(ModelFolderError):
        pixelrnn.load(tmp_path)


def test_what_is_loaded_was_never_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small().save(tmp_path)
    for name in ("torch.load", "pickle.load", "pickle.loads"):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("unpickled"))
    pixelrnn.load(tmp_path)


# ---- images that do not fit

WRONG_IMAGES: list[tuple[str, Any, str]] = [
    ("three dimensions", torch.zeros(1, 5, 4, dtype=torch.uint8), "shape"),
    ("five dimensions", torch.zeros(1, 1, 1, 5, 4, dtype=torch.uint8), "shape"),
    ("no dimension", torch.tensor(1), "shape"),
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
        lambda: model.log_prob(wrong), lambda: model.log_prob(wrong, reduce=False), lambda: model.bits_per_dim(wrong),
        lambda: model(wrong), lambda: model.complete(wrong, known),
    ]  # fmt: skip
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
    ("a dropout that is no number", {"dropout": math.nan}, "dropout must be"),
    ("skip as a number", {"skip": 1}, "skip must be true or false"),
    ("one level", {"levels": 1}, "levels must be from 2 to 256"),
    ("257 levels", {"levels": 257}, "levels must be from 2 to 256"),
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
]  # fmt: skip


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


def test_the_head_follows_the_levels() -> None:
    assert pixelrnn.build("pixelcnn", **{**SIZE, "levels": 2}).config["head"] == "bernoulli"
    assert pixelrnn.build("pixelcnn", **SIZE).config["head"] == "categorical"
    assert pixelrnn.build("pixelcnn", **{**SIZE, "levels": 2}, head="categorical").config["head"] == "categorical"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("network", NETWORKS)
def test_any_number_of_colours_is_modelled(network: str, channels: int) -> None:
    model = small(network, channels=channels, levels=2)
    images = model.sample(2, seed=0)
    assert images.shape == (2, channels, 5, 4)
    assert torch.equal(images, model.sample(2, seed=0, method="naive"))


# ---- sampling

WRONG_SAMPLES: list[tuple[str, dict[str, Any], str]] = [
    ("a negative number", {"n": -1}, "n must be a whole number, 0 or more, not -1"),
    ("a fraction of an image", {"n": 1.5}, "n must be a whole number"),
    ("true images", {"n": True}, "n must be a whole number"),
    ("a negative temperature", {"temperature": -0.1}, "temperature must be a number, 0 or more, not -0.1"),
    ("a temperature that is no number", {"temperature": math.nan}, "temperature must be"),
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
