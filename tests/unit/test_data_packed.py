"""Data sets that stay on disk: read like an array, written whole or not at all, damage named."""

from __future__ import annotations

import json
import pickle
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelrnn.data import Levels, OnDisk, check_packed, load_data, load_packed, on_disk, pack, quantise, write_packed
from pixelrnn.data import picture_folder as pictures
from pixelrnn.data.packed import check_free
from pixelrnn.data.splits import split_places
from pixelrnn.errors import ConfigError, DataError, ImageError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (230, 3, 5, 4), dtype=np.uint8)
LABELS = RANDOM.integers(0, 3, 230)


def write(folder: Path, images: np.ndarray = IMAGES, **options: Any) -> Path:
    """200 images for training, and 30 for testing, with classes."""
    parts = {"train": images[:200], "test": images[200:]}
    settings: dict[str, Any] = {"labels": {"train": LABELS[:200], "test": LABELS[200:]}, "class_names": "abc"}
    write_packed(folder, parts, images.shape[1:], name="noise", **{**settings, **options})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("packed") / "noise")


@pytest.fixture(params=["packed", "npy", "channels last", "wide integers", "gray"])
def stored(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> tuple[OnDisk, np.ndarray]:
    """Images on disk, and the same in memory."""
    if request.param == "packed":
        return load_packed(folder, "train").images, IMAGES[:200]
    array = {
        "npy": IMAGES,
        "channels last": IMAGES.transpose(0, 2, 3, 1),
        "wide integers": IMAGES.astype(">i4"),
        "gray": IMAGES[:, 0],
    }[request.param]
    np.save(tmp_path / "a.npy", array)
    whole = IMAGES[:, :1] if request.param == "gray" else IMAGES
    return load_data(tmp_path / "a.npy", "train").images, whole[split_places(230, "train", "")]


KEYS: list[Any] = [
    0,
    -1,
    29,
    30,
    np.int64(31),
    slice(None),
    slice(5, 65),
    slice(-40, None, 7),
    slice(None, None, -1),
    slice(70, 20, -3),
    slice(9, 9),
    [],
    [3],
    [150, 0, 31, 30, 29, 31, -1],
    np.array([80, 2, 2], dtype=np.uint8),
    np.arange(180)[::-1],
    (slice(None), 0, 0, 0),
    (4, 0),
    ([40, 3], slice(None), slice(1, 3), -1),
    (-1, 0, slice(None, None, 2)),
    (),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_reading_equals_reading_of_an_array_in_memory(stored: tuple[OnDisk, np.ndarray], key: Any) -> None:
    images, array = stored
    found = images[key]
    assert type(found) is np.ndarray
    assert found.dtype == np.uint8
    assert np.array_equal(found, array[key])


def test_it_says_of_itself_what_an_array_says(stored: tuple[OnDisk, np.ndarray]) -> None:
    images, array = stored
    for name in ("shape", "dtype", "ndim", "nbytes"):
        assert getattr(images, name) == getattr(array, name)
    assert len(images) == len(array)
    assert np.array_equal(np.asarray(images), array)
    assert np.array_equal(np.stack(list(images)), array)
    assert np.asarray(images, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("key", [200, -201, [0, 200], [0.0], [True, False], True, [[1]], "a", (0, [1]), None], ids=str)
def test_images_that_are_not_there_are_an_index_error(folder: Path, key: Any) -> None:
    with pytest.raises(IndexError):
        load_packed(folder, "train").images[key]


def test_what_is_read_can_be_changed_and_the_files_stay(folder: Path) -> None:
    images = load_packed(folder, "train").images
    images[:2][:] = 0
    images[0][:] = 0
    assert np.array_equal(images[:2], IMAGES[:2])


def test_it_is_pickled_by_its_paths_and_read_wherever_the_process_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    images = load_packed("noise", "train").images
    packed = pickle.dumps(images)
    assert len(packed) < 1500 < images.nbytes
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(pickle.loads(packed)[[199, 0]], IMAGES[[199, 0]])
    halves = images.through((np.arange(256) // 2).astype(np.uint8))
    assert np.array_equal(pickle.loads(pickle.dumps(halves))[5:8], IMAGES[5:8] // 2)


def test_the_file_is_opened_when_it_is_read_and_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load_packed(folder, "train").images
    opened: list[Path] = []
    read_npy = on_disk.read_npy
    monkeypatch.setattr(on_disk, "read_npy", lambda path: [opened.append(path), read_npy(path)][1])
    assert np.array_equal(images[::-1], IMAGES[199::-1])
    images[0]
    assert [path.name for path in opened] == ["train.npy"]


def test_splits_labels_and_names_are_kept(folder: Path) -> None:
    for split, part in (("train", slice(200)), ("test", slice(200, None))):
        data = load_data(folder, split, size=(5, 4), channels=3)
        assert (data.name, data.split, data.values, data.class_names) == ("noise", split, 256, ("a", "b", "c"))
        assert np.array_equal(data.images[:], IMAGES[part])
        assert np.array_equal(data.labels, LABELS[part])
        assert data.labels.dtype == np.int64
    names = ["packed.json", "test-labels.npy", "test.npy", "train-labels.npy", "train.npy"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert np.array_equal(np.load(folder / "train.npy"), IMAGES[:200])
    with pytest.raises(DataError, match="no split 'valid': it holds train and test"):
        load_data(folder, "valid")
    for wrong in ({"size": (8, 8)}, {"channels": 1}):
        with pytest.raises(ImageError, match=rf"^{folder} has (images of 5 x 4|3 channel)"):
            load_data(folder, "train", **wrong)
    shutil.copytree(folder, folder.parent / "copy")
    with pytest.raises(ImageError, match="copy has images"):
        load_data(folder.parent / "copy", "train", size=(8, 8))
    with pytest.raises(ConfigError, match="'all' is only for folders and files without splits"):
        load_data(folder, "all")


WAYS = [Levels(256, 256), Levels(256, 8), Levels(256, 2, "threshold"), Levels(256, 2, "fixed"), Levels(256, 2)]


@pytest.mark.parametrize("levels", WAYS, ids=lambda levels: levels.protocol)
@pytest.mark.parametrize("chunk", [100, 1 << 22])
def test_levels_on_disk_are_those_in_memory(
    folder: Path, levels: Levels, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = levels.fixed(IMAGES[:200])
    monkeypatch.setattr(quantise, "_CHUNK", chunk)
    found = levels.fixed(load_packed(folder, "train").images)
    assert isinstance(found, OnDisk) == (levels.binarise not in ("stochastic", "fixed"))
    assert np.array_equal(found[::-3], expected[::-3])
    assert np.array_equal(np.asarray(found), expected)


def test_values_out_of_range_are_refused_when_they_are_read(tmp_path: Path) -> None:
    images = np.zeros((9, 1, 2, 2), np.uint8)
    images[7] = 20
    write(tmp_path / "a", np.concatenate([images] * 30)[:230], labels={})
    stored = load_packed(tmp_path / "a", "train").images
    four = Levels(17, 4).fixed(stored)
    assert four[:7].max() == 0
    with pytest.raises(ImageError, match=r"0\.\.16, but got values from 0 to 20"):
        four[3:9]
    with pytest.raises(ImageError, match=r"0\.\.16"):
        Levels(17, 2, "fixed").fixed(stored)
    with pytest.raises(ImageError, match=r"0\.\.3, but got values from 0 to 15"):
        Levels(256, 16).fixed(stored).through(np.arange(4, dtype=np.uint8))


def test_an_npy_file_larger_than_memory_may_be_is_read_image_by_image(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (3 * 2**18, 3, 64, 64))  # 9 GiB, of which nothing is stored
    array[-1] = 7
    del array
    parts = [load_data(path, split).images for split in ("train", "valid", "test")]
    assert sum(len(part) for part in parts) == 3 * 2**18
    assert 7 in [part[-1].max() for part in parts]


def test_only_what_is_asked_for_is_in_memory(tmp_path: Path) -> None:
    def noise() -> Iterator[np.ndarray]:
        for number in range(400):
            yield np.full((1, 100, 100), number % 256, np.uint8)

    tracemalloc.start()
    write_packed(tmp_path / "a", {"train": noise()}, (1, 100, 100), name="a")
    images = load_packed(tmp_path / "a", "train").images
    for first in range(0, 400, 10):
        assert images[[first, 399 - first]][:, 0, 0, 0].tolist() == [first % 256, (399 - first) % 256]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < images.nbytes / 4


def change(path: Path, **entries: Any) -> None:
    table = json.loads(path.read_text())
    path.write_text(json.dumps({**table, **entries}))


def with_images(**entries: Any) -> Callable[[Path], None]:
    """Change what packed.json says of the images."""

    def damage(folder: Path) -> None:
        table = json.loads((folder / "packed.json").read_text())
        table["splits"]["train"]["images"].update(entries)
        change(folder / "packed.json", **table)

    return damage


def cut(folder: Path) -> None:
    path = folder / "train.npy"
    path.write_bytes(path.read_bytes()[:-1])


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / "train.npy").unlink(), r"train\.npy is missing"),
    (cut, r"train\.npy is damaged: 1 bytes are missing"),
    (lambda folder: (folder / "train.npy").write_bytes(b"?"), r"train\.npy is damaged or not a file of numpy"),
    (lambda folder: np.save(folder / "train.npy", np.zeros((200, 3, 5, 5), np.uint8)), r"shape \(200, 3, 5, 5\)"),
    (lambda folder: np.save(folder / "train.npy", np.zeros((30, 3, 5, 4))), "float64 of shape"),
    (lambda folder: (folder / "train-labels.npy").unlink(), r"train-labels\.npy is missing"),
    (lambda folder: np.save(folder / "train-labels.npy", np.full(200, 3)), "a label is not one of its 3 classes"),
    (lambda folder: np.save(folder / "train-labels.npy", np.full(200, -1)), "a label is not one of its 3 classes"),
    (lambda folder: change(folder / "packed.json", version=3), "another version of this package. Update pixelrnn"),
    (lambda folder: (folder / "packed.json").rename(folder / "shards.json"), "an older version .* Pack the data set"),
    (lambda folder: change(folder / "packed.json", format="other"), r"packed\.json is damaged \(format: "),
    (lambda folder: (folder / "packed.json").write_text("[]"), r"packed\.json is damaged"),
    (lambda folder: (folder / "packed.json").write_text("{"), r"packed\.json is damaged \(Invalid JSON"),
    (lambda folder: (folder / "packed.json").write_bytes(b"\xff\xfe\xfd"), r"packed\.json is damaged \(Invalid JSON"),
    (lambda folder: (folder / "packed.json").write_text("[" * 100_000), r"packed\.json is damaged \(Invalid JSON"),
    (lambda folder: (folder / "packed.json").write_text(" " * (2 << 20)), "larger than 1 MiB"),
    (lambda folder: change(folder / "packed.json", image=[3, 5]), r"packed\.json is damaged \(image"),
    (lambda folder: change(folder / "packed.json", image=[3, 5, -4]), r"image\.2: Input should be greater"),
    (lambda folder: change(folder / "packed.json", image=[257, 3, 4]), r"image\.0: Input should be less"),
    (lambda folder: change(folder / "packed.json", values=True), r"values: .* valid integer"),
    (lambda folder: change(folder / "packed.json", values=300), r"values: .* less than or equal to 256"),
    (lambda folder: change(folder / "packed.json", name=7), r"name: .* valid string"),
    (lambda folder: change(folder / "packed.json", more=7), r"more: Extra inputs are not permitted"),
    (lambda folder: change(folder / "packed.json", splits={}), r"splits: .* at least 1 item"),
    (lambda folder: change(folder / "packed.json", splits={"train": {}}), r"splits\.train\.images: Field required"),
    (lambda folder: change(folder / "packed.json", splits=[]), r"splits: Input should be an object"),
    (with_images(file="../noise/train.npy"), r"splits\.train\.images\.file: .* match pattern"),
    (with_images(file="/etc/passwd"), r"splits\.train\.images\.file: .* match pattern"),
    (with_images(file=None), r"splits\.train\.images\.file: .* valid string"),
    (with_images(images=201), r"packed\.json is damaged \(the numbers of images and labels differ"),
    (with_images(images=1e9), r"splits\.train\.images\.images: "),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE, ids=[words for _, words in DAMAGE])
def test_each_damage_is_named_when_the_data_set_is_loaded(
    folder: Path, tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    damage(copy)
    with pytest.raises(DataError, match=words):
        load_data(copy, "train")


def test_a_changed_byte_is_found_by_its_digest(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    calls: list[tuple[str, int, int]] = []
    assert check_packed(copy, lambda *progress: calls.append(progress))[0] == 4 == len(calls)
    assert calls[-1][1] == calls[-1][2] == sum(path.stat().st_size for path in copy.glob("*.npy"))
    content = bytearray((copy / "test.npy").read_bytes())
    content[-1] ^= 1
    (copy / "test.npy").write_bytes(content)
    load_data(copy, "test")
    with pytest.raises(DataError, match=r"test\.npy is damaged: its checksum is wrong"):
        check_packed(copy)


def test_a_file_that_changes_while_it_is_used_is_named(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    images = load_data(copy, "train").images
    other = load_data(copy, "test").images
    np.save(copy / "train.npy", np.zeros((29, 3, 5, 4), np.uint8))
    (copy / "test.npy").unlink()
    with pytest.raises(DataError, match=r"train\.npy has changed since it was opened"):
        images[100]
    with pytest.raises(DataError, match=r"no file .*test\.npy"):
        other[13]


def test_an_existing_folder_or_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("empty", "file", "link"):
        with pytest.raises(DataError, match=f"{name} already exists and is not overwritten"):
            write(tmp_path / name)
        with pytest.raises(DataError, match="already exists"):
            check_free(tmp_path / name)
    with pytest.raises(DataError, match="inside cannot be written"):
        write(tmp_path / "file" / "inside")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "link"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError, OSError])
def test_what_is_interrupted_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]) -> None:
    def some() -> Iterator[np.ndarray]:
        yield IMAGES
        raise error("enough")

    with pytest.raises(DataError if error is OSError else error, match="enough"):
        write_packed(tmp_path / "a", {"train": some()}, (3, 5, 4), name="a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pieces", "options", "error", "words"),
    [
        ([], {}, DataError, "no image in its split 'train'"),
        ([IMAGES.astype(np.int64)], {}, ImageError, "int64 of"),
        ([IMAGES[:, :, :4]], {}, ImageError, r"images \(3, 5, 4\), but got uint8 of \(230, 3, 4, 4\)"),
        ([IMAGES], {"values": 17}, ImageError, r"0\.\.16"),
        ([IMAGES], {"labels": {"train": LABELS[:9]}, "class_names": "abc"}, DataError, "needs 230 labels"),
        ([IMAGES], {"labels": {"train": LABELS}, "class_names": "ab"}, DataError, "one of 2 classes"),
        ([IMAGES], {"image": (257, 3, 4)}, ImageError, "1 to 256 channels"),
    ],
)
def test_what_does_not_fit_is_not_written(
    tmp_path: Path, pieces: list[np.ndarray], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        write_packed(tmp_path / "a", {"train": iter(pieces)}, **{"image": (3, 5, 4), "name": "a", **options})
    with pytest.raises(ConfigError, match="no split 'tarin'"):
        write_packed(tmp_path / "a", {"tarin": IMAGES}, (3, 5, 4), name="a")
    assert list(tmp_path.iterdir()) == []


def test_pieces_of_any_length_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    for name, cuts in (("one", range(1, 230)), ("odd", [7, 30, 31, 120, 200]), ("whole", [200])):
        parts = np.split(IMAGES, cuts)
        train = [part[0] if len(part) == 1 else part for part in parts if len(part)]
        ends = np.cumsum([len(part) for part in parts])
        splits = {"train": train[: list(ends).index(200) + 1], "test": train[list(ends).index(200) + 1 :]}
        labels = {"train": LABELS[:200], "test": LABELS[200:]}
        write_packed(tmp_path / name, splits, (3, 5, 4), name="noise", labels=labels, class_names="abc")
        for path in folder.iterdir():
            assert (tmp_path / name / path.name).read_bytes() == path.read_bytes()


def same(source: Path | str, folder: Path, splits: tuple[str, ...], **wishes: Any) -> None:
    for split in splits:
        before, after = load_data(source, split, **wishes), load_data(folder, split)
        assert np.array_equal(before.images, after.images)
        assert (before.labels is None) == (after.labels is None)
        assert before.labels is None or np.array_equal(before.labels, after.labels)
        assert (before.class_names, before.values, before.name) == (after.class_names, after.values, after.name)


def test_a_folder_of_pictures_is_packed_picture_by_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + number, 30), (number, 2 * number, 3)).save(path)
    with pytest.raises(ImageError, match="differ in size"):
        pack(tmp_path / "photos", tmp_path / "packed")
    decoded, calls = [], []
    decode = pictures.decode
    monkeypatch.setattr(pictures, "decode", lambda path, **wishes: [decoded.append(path), decode(path, **wishes)][1])
    packed = pack(
        tmp_path / "photos",
        tmp_path / "packed",
        size=(8, 6),
        channels=1,
        progress=lambda _, done, all_: calls.append((len(decoded), done, all_)),
    )
    assert calls == [(count, 48 * count, 48 * 40) for count in range(1, 41)]
    assert (packed.counts, packed.image, packed.bytes) == ({"train": 32, "valid": 4, "test": 4}, (1, 8, 6), 40 * 48)
    same(tmp_path / "photos", tmp_path / "packed", ("train", "valid", "test"), size=(8, 6), channels=1)


def test_arrays_are_packed_with_the_splits_that_they_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELRNN_CACHE", str(tmp_path / "cache"))
    arrays = {"train_images": IMAGES[:20], "train_labels": LABELS[:20], "test_images": IMAGES[20:30]}
    np.savez(tmp_path / "named.npz", **arrays)
    np.savez(tmp_path / "whole.npz", images=IMAGES, labels=LABELS, class_names=np.array(["x", "y", "z"]))
    np.save(tmp_path / "plain.npy", IMAGES)
    np.save(tmp_path / "two.npy", IMAGES[:2])
    every = ("train", "valid", "test")
    for name, splits in (
        ("named.npz", ("train", "test")),
        ("whole.npz", every),
        ("plain.npy", every),
        ("two.npy", ("train",)),
    ):
        packed = pack(tmp_path / name, tmp_path / f"{name} packed")
        assert tuple(packed.counts) == splits
        same(tmp_path / name, tmp_path / f"{name} packed", splits)
    pack(tmp_path / "plain.npy packed", tmp_path / "again")
    same(tmp_path / "plain.npy", tmp_path / "again", every)


def test_images_of_many_channels_are_packed(tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", np.random.default_rng(0).integers(0, 256, (20, 8, 12, 9), dtype=np.uint8))
    pack(tmp_path / "many.npy", tmp_path / "packed")
    same(tmp_path / "many.npy", tmp_path / "packed", ("train", "valid", "test"))


def test_a_built_in_data_set_is_packed_with_its_number_of_values(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    packed = pack("digits", tmp_path / "packed", progress=lambda *progress: calls.append(progress))
    assert packed.counts == {"train": 1297, "valid": 200, "test": 300}
    assert calls[-1] == ("packing digits", packed.bytes, packed.bytes)
    same("digits", tmp_path / "packed", ("train", "valid", "test"))
    assert load_data(tmp_path / "packed", "test").values == 17
