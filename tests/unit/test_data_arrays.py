"""A user's own arrays as a data set."""

from __future__ import annotations

import io
import itertools
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pixelrnn.data import load_data, npz
from pixelrnn.data.arrays import as_pixels
from pixelrnn.data.splits import split_places
from pixelrnn.errors import DataError, ImageError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELRNN_CACHE", str(tmp_path / "cache"))


def numbered(count: int, *shape: int, dtype: type = np.uint8) -> np.ndarray:
    """Images that differ: image n holds n everywhere."""
    return np.broadcast_to(np.arange(count, dtype=dtype).reshape(count, *(1 for _ in shape)), (count, *shape)).copy()


def numbers(path: Path, split: str) -> list[int]:
    return load_data(path, split).images[:, 0, 0, 0].tolist()


def npy_header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize("name", ["some.npy", "some.npz"])
def test_images_without_splits_are_split_80_10_10_and_nothing_is_lost(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, numbered(50, 4, 5))
    else:
        np.savez(path, images=numbered(50, 4, 5))
    parts = [numbers(path, split) for split in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [40, 5, 5]
    assert sorted(itertools.chain(*parts)) == list(range(50))
    assert parts[1] == split_places(50, "valid", "").tolist()


@pytest.mark.parametrize("count", [3, 4, 9, 10, 19, 20, 101])
def test_every_split_has_an_image_if_there_are_three(count: int) -> None:
    parts = [split_places(count, split, "") for split in ("train", "valid", "test")]
    assert min(len(part) for part in parts) >= 1
    assert sorted(np.concatenate(parts)) == list(range(count))


def test_the_split_never_changes() -> None:
    assert split_places(20, "valid", "").tolist() == [12, 18]
    assert split_places(20, "test", "").tolist() == [10, 15]


def test_too_few_images_to_split_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", numbered(2, 4, 4))
    assert numbers(tmp_path / "two.npy", "train") == [0, 1]
    with pytest.raises(DataError, match=r"two\.npy has 2 image\(s\), so the split 'valid' would be empty"):
        load_data(tmp_path / "two.npy", "valid")


def test_labels_go_with_their_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=numbered(30, 4, 4), labels=np.arange(30, dtype=np.uint8) % 7)
    for split in ("train", "valid", "test"):
        data = load_data(tmp_path / "a.npz", split)
        assert data.labels.dtype == np.int64
        assert np.array_equal(data.labels, data.images[:, 0, 0, 0] % 7)
        assert data.class_names == tuple("0123456")


def test_an_npz_with_splits_keeps_them_and_their_labels(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        train_images=numbered(5, 4, 4),
        train_labels=np.array([0, 1, 0, 1, 0]),
        test_images=numbered(3, 4, 4) + 100,
        test_labels=np.array([2, 2, 2]),
        class_names=np.array(["cat", "dog", "eel"]),
    )
    assert numbers(tmp_path / "a.npz", "train") == [0, 1, 2, 3, 4]
    test = load_data(tmp_path / "a.npz", "test")
    assert test.images[:, 0, 0, 0].tolist() == [100, 101, 102]
    assert (test.labels.tolist(), test.class_names) == ([2, 2, 2], ("cat", "dog", "eel"))
    with pytest.raises(DataError, match=r"no split 'valid': it holds train and test\. Use one of these"):
        load_data(tmp_path / "a.npz", "valid")


def test_labels_that_are_ids_are_no_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "ids.npz", images=numbered(20, 4, 4), labels=np.arange(20) + 1_700_000_000)
    data = load_data(tmp_path / "ids.npz", "train")
    assert (data.labels, data.class_names) == (None, ())


def test_classes_are_counted_over_all_splits(tmp_path: Path) -> None:
    arrays = {"train_images": numbered(2, 4, 4), "train_labels": np.array([0, 1])}
    np.savez(tmp_path / "a.npz", **arrays, test_images=numbered(1, 4, 4), test_labels=np.array([4]))
    assert load_data(tmp_path / "a.npz", "train").class_names == tuple("01234")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 7, 9), (6, 1, 7, 9)),
        ((6, 7, 9, 3), (6, 3, 7, 9)),
        ((6, 7, 9, 1), (6, 1, 7, 9)),
        ((6, 3, 7, 9), (6, 3, 7, 9)),
        ((6, 2, 7, 9), (6, 2, 7, 9)),
        ((6, 3, 7, 3), (6, 3, 7, 3)),
        ((6, 1, 1, 4), (6, 1, 1, 4)),
        ((6, 8, 9, 9), (6, 8, 9, 9)),
        ((6, 9, 9, 8), (6, 8, 9, 9)),
        ((6, 7, 7, 7), (6, 7, 7, 7)),
        ((6, 300, 5, 256), (6, 256, 300, 5)),
    ],
)
def test_channels_are_found_second_then_last(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert as_pixels(np.zeros(shape, np.uint8), "it").shape == expected


def test_channels_last_are_moved_and_not_merely_reshaped() -> None:
    array = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    assert np.array_equal(as_pixels(array, "it")[1, 2], array[1, :, :, 2])


@pytest.mark.parametrize("shape", [(6, 7), (6, 257, 9, 257), (6, 0, 5), (2, 3, 4, 5, 6), (6,)])
def test_a_shape_that_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match=r"it has shape \(.*but images are \(N, H, W\)"):
        as_pixels(np.zeros(shape, np.uint8), "it")


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.int8])
def test_integers_of_any_width_become_bytes(dtype: type) -> None:
    pixels = as_pixels(numbered(100, 2, 2, dtype=dtype), "it")
    assert pixels.dtype == np.uint8
    assert pixels[:, 0, 0, 0].tolist() == list(range(100))


@pytest.mark.parametrize("bad", [-1, 256])
def test_values_that_are_no_bytes_are_refused(bad: int) -> None:
    array = np.zeros((3, 4, 4), np.int32)
    array[2, 3, 3] = bad
    with pytest.raises(ImageError, match=rf"0\.\.255, but got values from .*{bad}.*\. Scale it"):
        as_pixels(array, "it")


@pytest.mark.parametrize("fill", [0.5, np.nan, True])
def test_numbers_that_are_no_integers_are_refused(tmp_path: Path, fill: float) -> None:
    np.savez(tmp_path / "a.npz", images=np.full((5, 4, 4), fill))
    with pytest.raises(ImageError, match=r"images in a\.npz must hold integers, a level each, but got (float64|bool)"):
        load_data(tmp_path / "a.npz", "train")


def test_the_values_of_an_array_stay_as_they_are(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", numbered(10, 4, 4))
    data = load_data(tmp_path / "a.npy", "train", size=(4, 4), channels=1)
    assert (data.values, data.name, data.split) == (256, "a", "train")
    with pytest.raises(ImageError, match="only folders of pictures are resized"):
        load_data(tmp_path / "a.npy", "train", size=(8, 8))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(9), "labels in .* must be 10 integers"),
        (np.zeros((10, 2), int), "must be 10 integers"),
        (np.zeros(10), "float64 of shape"),
        (np.arange(10) - 1, "must be 0 or more, but got -1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "a.npz", images=numbered(10, 4, 4), labels=labels)
    with pytest.raises(DataError, match=message):
        load_data(tmp_path / "a.npz", "train")


def test_too_few_class_names_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=numbered(10, 4, 4), labels=np.arange(10), class_names=np.array(["a", "b"]))
    with pytest.raises(DataError, match="2 class_names, but labels up to 9"):
        load_data(tmp_path / "a.npz", "train")


def test_an_npz_without_images_says_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pictures=numbered(3, 4, 4))
    with pytest.raises(DataError, match="holds pictures, but images or train_images"):
        load_data(tmp_path / "a.npz", "train")


@pytest.mark.parametrize("shape", [(0, 4, 4), ()])
def test_an_array_without_images_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    np.savez(tmp_path / "a.npz", images=np.zeros(shape, np.uint8))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match="is empty"):
            load_data(tmp_path / name, "train")


def test_pickled_objects_are_never_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}] * 5), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.write(tmp_path / "a.npy", "images.npy")
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match="pickled Python objects, which are never read"):
            load_data(tmp_path / name, "train")


def test_an_array_too_large_is_refused_by_its_header_alone(tmp_path: Path) -> None:
    header = npy_header((1 << 40, 64, 64))
    (tmp_path / "a.npy").write_bytes(header)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", header)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=r"GiB of memory, but at most 8\.0 GiB"):
            load_data(tmp_path / name, "train")


def test_the_limit_counts_unpacked_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((100, 100, 100), np.uint8))
    assert (tmp_path / "a.npz").stat().st_size < 10_000
    monkeypatch.setattr(npz, "SIZE_LIMIT", 900_000)
    with pytest.raises(DataError, match="would take"):
        load_data(tmp_path / "a.npz", "train")


def test_an_array_shorter_than_its_header_says_is_refused(tmp_path: Path) -> None:
    content = npy_header((100, 8, 8)) + bytes(100)
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", content)
    with pytest.raises(DataError, match=r"a\.npy is damaged"):
        load_data(tmp_path / "a.npy", "train")
    with pytest.raises(DataError, match=r"a\.npz is damaged: images is truncated"):  # before memory is taken for it
        load_data(tmp_path / "a.npz", "train")


@pytest.mark.parametrize("ending", [".npy", ".npz"])
@pytest.mark.parametrize(
    "content", [b"", b"not an array", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x07\x00" + bytes(200), b"PK\x03\x04"]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    (tmp_path / f"a{ending}").write_bytes(content)
    with pytest.raises(DataError, match="damaged or not a file of numpy arrays"):
        load_data(tmp_path / f"a{ending}", "train")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_packed_array_with_damaged_bytes_is_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.npz"
    stream = io.BytesIO()
    np.save(stream, np.random.default_rng(0).integers(0, 256, (50, 20, 20), dtype=np.uint8))
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("images.npy", stream.getvalue())
    content = bytearray(path.read_bytes())
    content[9000:9100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        load_data(path, "train")


def test_a_missing_or_unreadable_file_is_a_data_error(tmp_path: Path) -> None:
    for read in (npz.read_npy, npz.npz_headers):
        with pytest.raises(DataError, match="There is no file"):
            read(tmp_path / "nowhere.npz")


def test_an_array_that_the_npz_lacks_is_a_data_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=numbered(3, 4, 4))
    with pytest.raises(DataError, match=r"other\.npy"):
        npz.read_npz(tmp_path / "a.npz", "other")
