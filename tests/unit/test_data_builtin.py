"""The data sets known by name, from every format they come in; the internet is never asked."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from pixelrnn.data import builtin, cifar, data_descriptions, data_names, download, load_data
from pixelrnn.errors import ConfigError, DataError, DownloadError, ImageError


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIXELRNN_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()

    def refuse(*_: object, **__: object) -> Path:
        raise DownloadError("no test asks the internet")

    monkeypatch.setattr(builtin, "fetch", refuse)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST of 60 + 10 images and CIFAR-10 of 5 x 10 + 10, with all proportions kept."""
    monkeypatch.setattr(builtin, "MNIST_TRAIN", 60)
    monkeypatch.setattr(builtin, "MNIST_VALID", 5)
    monkeypatch.setattr(builtin, "MNIST_TEST", 10)
    monkeypatch.setattr(cifar, "PER_FILE", 10)


def shared(name: str, before: str | None = os.environ.get("PIXELRNN_DATA")) -> Path:
    folder = Path(before) if before else Path(__file__).parents[3] / "shared" / "data"
    if not (folder / name).is_file():
        pytest.skip(f"{name} is not in {folder}; set PIXELRNN_DATA to a folder that holds it")
    return folder


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def some_mnist(count: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(count)
    return draw.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count, dtype=np.uint8) % 10


def some_records(seed: int, count: int = 10) -> np.ndarray:
    records = np.random.default_rng(seed).integers(0, 256, (count, 3073), dtype=np.uint8)
    records[:, 0] = np.arange(count) % 10
    return records


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def all_members() -> dict[str, bytes]:
    members = {f"data_batch_{number}.bin": some_records(number).tobytes() for number in range(1, 6)}
    return members | {"test_batch.bin": some_records(6).tobytes()}


def test_digits_split_into_1297_200_and_300_in_their_order() -> None:
    from sklearn.datasets import load_digits

    parts = [load_data("digits", split) for split in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [1297, 200, 300]
    whole = np.concatenate([part.images for part in parts])
    assert whole.dtype == np.uint8
    assert np.array_equal(whole[:, 0], load_digits().images)
    assert np.array_equal(np.concatenate([part.labels for part in parts]), load_digits().target)
    assert (parts[0].values, parts[0].size, parts[0].channels, int(whole.max())) == (17, (8, 8), 1, 16)


def test_mnist_from_npz_is_the_canonical_split(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared("mnist.npz")
    monkeypatch.setenv("PIXELRNN_DATA", str(folder))
    train, valid, test = (load_data("mnist", split) for split in ("train", "valid", "test"))
    assert (len(train), len(valid), len(test)) == (55_000, 5_000, 10_000)
    assert (train.images.shape[1:], train.values, train.labels.dtype) == ((1, 28, 28), 256, np.int64)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    with np.load(folder / "mnist.npz") as arrays:
        assert np.array_equal(valid.images[:, 0], arrays["train_images"][55_000:])
        assert np.array_equal(valid.labels, arrays["train_labels"][55_000:])


def test_cifar10_from_npz_has_its_channels_first(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared("cifar10.npz")
    monkeypatch.setenv("PIXELRNN_DATA", str(folder))
    valid = load_data("cifar10", "valid")
    with np.load(folder / "cifar10.npz") as arrays:
        assert np.array_equal(valid.images, arrays["valid_images"].transpose(0, 3, 1, 2))
        assert valid.class_names == tuple(arrays["class_names"])


def test_cifar10_from_npz_without_test_says_which_splits_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELRNN_DATA", str(shared("cifar10.npz")))
    with pytest.raises(DataError, match=r"no split 'test': it holds train and valid\. Use the split valid"):
        load_data("cifar10", "test")


@pytest.mark.parametrize("folder", ["", "MNIST/raw", "mnist"])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_from_idx_files(tmp_path: Path, small: None, folder: str, packed: bool) -> None:
    place = tmp_path / "data" / folder
    place.mkdir(parents=True, exist_ok=True)
    for stem, count in (("train", 60), ("t10k", 10)):
        for kind, array in zip(("images-idx3", "labels-idx1"), some_mnist(count), strict=True):
            name = f"{stem}-{kind}-ubyte"
            if packed:
                (place / f"{name}.gz").write_bytes(gzip.compress(idx(array), 1))
            else:
                (place / name).write_bytes(idx(array))
    images, labels = some_mnist(60)
    valid = load_data("mnist", "valid")
    assert np.array_equal(valid.images[:, 0], images[55:])
    assert np.array_equal(valid.labels, labels[55:])
    assert len(load_data("mnist", "train")) == 55
    assert np.array_equal(load_data("mnist", "test").images[:, 0], some_mnist(10)[0])


def test_mnist_npz_with_the_names_of_keras_is_read(tmp_path: Path, small: None) -> None:
    images, labels = some_mnist(10)
    np.savez(tmp_path / "data" / "mnist.npz", x_test=images, y_test=labels)
    assert np.array_equal(load_data("mnist", "test").images[:, 0], images)


def test_mnist_npz_with_another_number_of_images_is_refused(tmp_path: Path, small: None) -> None:
    images, labels = some_mnist(9)
    np.savez(tmp_path / "data" / "mnist.npz", test_images=images, test_labels=labels)
    with pytest.raises(DataError, match="9 images where MNIST has 10"):
        load_data("mnist", "test")


def test_mnist_npz_with_other_arrays_is_refused(tmp_path: Path, small: None) -> None:
    np.savez(tmp_path / "data" / "mnist.npz", pictures=some_mnist(9)[0])
    with pytest.raises(DataError, match="lacks test_images and test_labels"):
        load_data("mnist", "test")


def test_mnist_npz_with_images_of_another_size_is_refused(tmp_path: Path, small: None) -> None:
    np.savez(tmp_path / "data" / "mnist.npz", test_images=np.zeros((10, 9, 9), np.uint8), test_labels=np.zeros(10, int))
    with pytest.raises(DataError, match=r"shape \(1, 9, 9\), but \(1, 28, 28\)"):
        load_data("mnist", "test")


def test_mnist_npz_with_too_few_labels_is_refused(tmp_path: Path, small: None) -> None:
    images, labels = some_mnist(10)
    np.savez(tmp_path / "data" / "mnist.npz", test_images=images, test_labels=labels[:9])
    with pytest.raises(DataError, match="10 integers, one per image"):
        load_data("mnist", "test")


def test_labels_beyond_the_classes_are_refused(tmp_path: Path, small: None) -> None:
    images, labels = some_mnist(10)
    np.savez(tmp_path / "data" / "mnist.npz", test_images=images, test_labels=labels + 1)
    with pytest.raises(DataError, match=r"0\.\.9, but got 10"):
        load_data("mnist", "test")


@pytest.mark.parametrize("unpacked", [False, True])
def test_cifar10_is_read_from_its_binary_version(tmp_path: Path, small: None, unpacked: bool) -> None:
    if unpacked:
        folder = tmp_path / "data" / "cifar-10-batches-bin"
        folder.mkdir()
        for name, content in all_members().items():
            (folder / name).write_bytes(content)
    else:
        write_tar(tmp_path / "data" / "cifar-10-binary.tar.gz", all_members())
    train, valid, test = (load_data("cifar10", split) for split in ("train", "valid", "test"))
    assert (len(train), len(valid), len(test)) == (45, 5, 10)
    assert np.array_equal(train.images[10], some_records(2)[0, 1:].reshape(3, 32, 32))
    assert np.array_equal(valid.images, some_records(5)[5:, 1:].reshape(5, 3, 32, 32))
    assert np.array_equal(test.images, some_records(6)[:, 1:].reshape(10, 3, 32, 32))
    assert valid.labels.tolist() == [5, 6, 7, 8, 9]
    assert test.class_names[0] == "airplane"


def test_cifar10_takes_the_split_that_the_npz_lacks_from_the_binary_version(tmp_path: Path, small: None) -> None:
    valid = np.zeros((4, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "data" / "cifar10.npz", valid_images=valid, valid_labels=np.zeros(4, np.uint8))
    write_tar(tmp_path / "data" / "cifar-10-binary.tar.gz", all_members())
    assert len(load_data("cifar10", "valid")) == 4
    assert len(load_data("cifar10", "test")) == 10


def some_faces(people: int) -> dict[str, np.ndarray]:
    """Two photographs of each, whose blocks of 4 x 4 are of one value."""
    blocks = np.random.default_rng(0).integers(0, 256, (2 * people, 28, 23), dtype=np.uint8)
    return {"images": blocks.repeat(4, 1).repeat(4, 2), "person": np.arange(2 * people) // 2 + 1}


def test_nobody_is_in_two_splits_of_the_faces_and_they_are_means_of_blocks(tmp_path: Path) -> None:
    arrays = some_faces(11)
    np.savez(tmp_path / "data" / "orl_faces.npz", **arrays)
    found = {split: load_data("faces", split) for split in ("train", "valid", "test")}
    assert {split: sorted(set(data.labels.tolist())) for split, data in found.items()} == {
        "train": [0, 1, 2, 3, 4],
        "valid": [5, 6, 7],
        "test": [8, 9, 10],
    }
    assert found["test"].images.shape == (6, 1, 28, 23)
    assert np.array_equal(found["test"].images[:, 0], arrays["images"][16:, ::4, ::4])
    assert found["test"].class_names[8] == "person 9"


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.zeros((22, 112, 90), np.uint8)},
        {"person": np.zeros(22, int)},
        {"person": np.ones(21, int)},
        {"person": np.arange(22) // 6 + 1},
    ],
)
def test_faces_of_another_shape_or_too_few_people_are_refused(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "data" / "orl_faces.npz", **{**some_faces(11), **change})
    with pytest.raises(DataError, match="should hold"):
        load_data("faces", "train")


def test_faces_that_are_not_there_cannot_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"orl_faces\.npz.*PIXELRNN_DATA"):
        load_data("faces", "train")


@pytest.mark.parametrize("name", ["cifar-10-batches-py", "cifar-10-python.tar.gz"])
def test_the_pickled_cifar10_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "data" / name).mkdir()
    with pytest.raises(DataError, match=f"{name} is pickled.*Get the binary version, cifar-10-binary.tar.gz"):
        load_data("cifar10", "train")


def test_a_cifar_archive_that_lacks_a_file_is_refused(tmp_path: Path, small: None) -> None:
    members = all_members()
    del members["data_batch_3.bin"]
    write_tar(tmp_path / "data" / "cifar-10-binary.tar.gz", members)
    with pytest.raises(DataError, match=r"lacks data_batch_3\.bin"):
        load_data("cifar10", "train")


def test_a_cifar_archive_with_a_file_of_another_length_is_refused(tmp_path: Path, small: None) -> None:
    write_tar(tmp_path / "data" / "cifar-10-binary.tar.gz", all_members() | {"test_batch.bin": b"short"})
    with pytest.raises(DataError, match="has 5 bytes, but 30,730 were expected"):
        load_data("cifar10", "test")


def test_a_cifar_archive_that_is_cut_off_is_refused(tmp_path: Path, small: None) -> None:
    path = tmp_path / "data" / "cifar-10-binary.tar.gz"
    write_tar(path, all_members())
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(DataError, match="damaged or not a tar archive"):
        load_data("cifar10", "train")


def test_a_cifar_folder_that_lacks_a_file_is_refused(tmp_path: Path, small: None) -> None:
    (tmp_path / "data" / "cifar-10-batches-bin").mkdir()
    with pytest.raises(DataError, match=r"test_batch\.bin cannot be read"):
        load_data("cifar10", "test")


def test_a_cifar_label_beyond_nine_is_refused(tmp_path: Path, small: None) -> None:
    bad = np.full((10, 3073), 10, np.uint8).tobytes()
    write_tar(tmp_path / "data" / "cifar-10-binary.tar.gz", all_members() | {"test_batch.bin": bad})
    with pytest.raises(DataError, match="a label is 10"):
        load_data("cifar10", "test")


def test_what_the_folder_lacks_is_downloaded() -> None:
    for name in ("mnist", "cifar10"):
        with pytest.raises(DownloadError, match="no test asks the internet"):
            load_data(name, "train")


def test_every_download_has_a_checksum_and_an_address() -> None:
    assert len(download.REMOTE) == 5
    for remote in download.REMOTE.values():
        assert len(remote.md5) == 32
        assert all(base.startswith("https://") and base.endswith("/") for base in remote.bases)


def test_a_data_folder_that_does_not_exist_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELRNN_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere, which is not a folder"):
        load_data("mnist", "train")


def test_a_wrong_name_names_the_nearest_and_says_that_paths_work() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'mnist'\? The path of a folder, \.npz or \.npy"):
        load_data("mnits", "train")


def test_a_wrong_split_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'test'"):
        load_data("digits", "tests")


def test_a_wrong_builtin_name_is_refused_by_the_loader_itself() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'digits'"):
        builtin.load_builtin("digit", "train")


def test_builtin_images_are_neither_resized_nor_converted() -> None:
    assert len(load_data("digits", "test", size=(8, 8), channels=1)) == 300
    with pytest.raises(ImageError, match=r"8 x 8.*16 x 16 was requested"):
        load_data("digits", "train", size=(16, 16))
    with pytest.raises(ImageError, match=r"has 1 channel\(s\), but 3"):
        load_data("digits", "train", channels=3)


def test_a_size_or_channels_that_no_image_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        load_data("digits", "train", size=(0, 8))
    with pytest.raises(ConfigError, match="1 channel"):
        load_data("digits", "train", channels=2)


def test_a_file_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ConfigError, match=r"notes\.txt is not a data set"):
        load_data(tmp_path / "notes.txt", "train")


def test_every_name_has_a_description() -> None:
    assert data_names() == list(data_descriptions()) == ["digits", "mnist", "cifar10", "faces"]
    assert all(data_descriptions().values())
