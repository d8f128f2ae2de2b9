"""A folder of pictures as a data set."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelrnn.data import load_data, npz
from pixelrnn.data.picture_folder import load_folder
from pixelrnn.errors import ConfigError, DataError, ImageError


def put(path: Path, value: int | tuple[int, int, int] = 0, size: tuple[int, int] = (4, 6)) -> None:
    """A picture of one value and of size (rows, columns)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(value, int) else "RGB", size[::-1], value).save(path)


def values(folder: Path, split: str) -> list[int]:
    return load_data(folder, split).images[:, 0, 0, 0].tolist()


def test_a_folder_is_split_80_10_10_and_nothing_is_lost(tmp_path: Path) -> None:
    for number in range(30):
        put(tmp_path / f"{number:02}.png", number)
    parts = [values(tmp_path, split) for split in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [24, 3, 3]
    assert sorted(itertools.chain(*parts)) == list(range(30))


def test_the_split_depends_on_nothing_but_the_paths(tmp_path: Path) -> None:
    for number in range(12):
        put(tmp_path / "one" / f"{number:02}.png", number)
    for number in reversed(range(12)):
        put(tmp_path / "two" / f"{number:02}.png", number)
    assert values(tmp_path / "one", "train") == values(tmp_path / "two", "train")


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path / "dogs" / f"{number}.png", number)
        put(tmp_path / "cats" / "deeper" / f"{number}.png", 100 + number)
    for split in ("train", "valid", "test"):
        data = load_data(tmp_path, split)
        assert data.class_names == ("cats", "dogs")
        assert data.labels.dtype == np.int64
        assert np.array_equal(data.labels, np.where(data.images[:, 0, 0, 0] >= 100, 0, 1))


def test_pictures_without_a_class_leave_the_data_set_without_labels(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path / f"{number}.png", number)
    assert load_data(tmp_path, "train").labels is None
    put(tmp_path / "cats" / "a.png", 9)
    data = load_data(tmp_path, "train")
    assert (data.labels, data.class_names) == (None, ())


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "Val"])
def test_split_folders_are_the_splits_and_hold_the_classes(tmp_path: Path, valid: str) -> None:
    put(tmp_path / "train" / "cats" / "a.png", 1)
    put(tmp_path / "train" / "dogs" / "b.png", 2)
    put(tmp_path / valid / "dogs" / "c.png", 3)
    assert values(tmp_path, "train") == [1, 2]
    assert values(tmp_path, "valid") == [3]
    assert load_data(tmp_path, "valid").class_names == ("cats", "dogs")
    assert load_data(tmp_path, "valid").labels.tolist() == [1]
    with pytest.raises(DataError, match="no split 'test': its sub-folders hold train and valid"):
        load_data(tmp_path, "test")


def test_hidden_files_and_files_that_are_no_pictures_are_passed_over(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"{number}.png", number)
    put(tmp_path / ".hidden.png", 9)
    put(tmp_path / ".thumbnails" / "a.png", 9)
    put(tmp_path / "__MACOSX" / "a.png", 9)
    for name in ("notes.txt", "labels.csv", "paper.pdf", "drawing.eps", "png"):
        (tmp_path / name).write_text("no picture")
    assert sorted(itertools.chain(*(values(tmp_path, split) for split in ("train", "valid", "test")))) == [0, 1, 2]


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "cats" / f"{number}.png", number)
    (tmp_path / "cats" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert sum(len(load_data(tmp_path, split)) for split in ("train", "valid", "test")) == 3


def test_a_linked_class_folder_is_read(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / "elsewhere" / f"{number}.png", number)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cats").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert load_data(tmp_path / "data", "train").class_names == ("cats",)


@pytest.mark.parametrize("ending", ["png", "PNG", "bmp", "gif", "tiff", "webp", "ppm", "jpg"])
def test_every_format_is_read(tmp_path: Path, ending: str) -> None:
    for number in range(3):
        put(tmp_path / f"{number}.{ending}", 77)
    images = load_data(tmp_path, "train", channels=1).images
    assert images.shape == (1, 1, 4, 6)
    assert abs(int(images.max()) - 77) <= (1 if ending in ("jpg", "webp") else 0)


def test_gray_pictures_have_one_channel_and_one_coloured_picture_makes_three(tmp_path: Path) -> None:
    for number in range(9):
        put(tmp_path / f"{number}.png", number)
    assert load_data(tmp_path, "train").channels == 1
    put(tmp_path / "colour.png", (10, 20, 30))
    for split in ("train", "valid", "test"):
        assert load_data(tmp_path, split).channels == 3
    assert load_data(tmp_path, "train", channels=1).channels == 1
    assert load_data(tmp_path, "train", channels=3).values == 256


def test_pictures_of_different_sizes_need_a_size(tmp_path: Path) -> None:
    put(tmp_path / "a.png", 1)
    put(tmp_path / "b.png", 1)
    put(tmp_path / "c.png", 1, (8, 5))
    with pytest.raises(ImageError, match=r"a\.png is 4 x 6 .*c\.png is 8 x 5\. Give one size for all: --size HxW"):
        load_data(tmp_path, "train")
    for split in ("train", "valid", "test"):
        assert load_data(tmp_path, split, size=(3, 2)).images.shape == (1, 1, 3, 2)


@pytest.mark.parametrize("content", [b"", b"no picture at all", "cut"])
def test_an_unreadable_picture_is_named(tmp_path: Path, content: bytes) -> None:
    for number in range(3):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 40), dtype=np.uint8)).save(
            tmp_path / f"{number}.png"
        )
    for name in ("0.png", "1.png", "2.png"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:800] if isinstance(content, str) else content)
    with pytest.raises(DataError, match=r"[012]\.png cannot be read as a picture \(.+\)"):
        load_data(tmp_path, "train")


def test_a_picture_over_the_pixel_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        put(tmp_path / f"{number}.png", 1, (20, 30))
    monkeypatch.setenv("PIXELRNN_PIXEL_LIMIT", "599")
    with pytest.raises(DataError, match=r"20 x 30 = 600 pixels, but at most 599 are read"):
        load_data(tmp_path, "train")
    assert len(load_folder(tmp_path, "train", pixel_limit=600)) == 1
    with pytest.raises(DataError, match="at most 500"):
        load_folder(tmp_path, "train", pixel_limit=500, size=(2, 2), channels=1)


def test_too_many_pictures_for_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        put(tmp_path / f"{number}.png", 1)
    monkeypatch.setattr(npz, "SIZE_LIMIT", 71)
    with pytest.raises(DataError, match="3 pictures of 4 x 6 would take"):
        load_data(tmp_path, "train")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no picture"):
        load_data(tmp_path, "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        load_data(tmp_path, "train")


def test_too_few_pictures_to_split_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.png", 1)
    put(tmp_path / "b.png", 2)
    assert values(tmp_path, "train") == [1, 2]
    with pytest.raises(DataError, match=r"2 image\(s\), so the split 'test' would be empty"):
        load_data(tmp_path, "test")


def test_a_folder_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    with pytest.raises(DataError, match="cannot be read as a folder"):
        load_folder(tmp_path / "a.png", "train")


def test_a_wrong_split_size_or_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'train'"):
        load_folder(tmp_path, "trains")
    with pytest.raises(ConfigError, match="rows and columns"):
        load_folder(tmp_path, "train", size=(4, 0))
    with pytest.raises(ConfigError, match="but got 4"):
        load_folder(tmp_path, "train", channels=4)


def test_the_name_and_the_images_are_fit_for_use(tmp_path: Path) -> None:
    put(tmp_path / "faces" / "a.png", 5)
    data = load_data(tmp_path / "faces", "train")
    assert (data.name, data.split, data.size, len(data)) == ("faces", "train", (4, 6), 1)
    assert not data.images.flags.writeable


def test_pictures_that_cannot_be_read_are_left_out_if_that_is_asked_for_and_the_splits_stay(tmp_path: Path) -> None:
    for number in range(30):
        Image.new("L", (4, 4), number).save(tmp_path / f"{number:02}.png")
    splits = ("train", "valid", "test")
    before = {split: load_data(tmp_path, split).images[:, 0, 0, 0].tolist() for split in splits}
    broken = [before["train"][3], before["test"][0], before["valid"][1]]
    for number in broken:
        (tmp_path / f"{number:02}.png").write_bytes(b"no picture")
    for split in splits:
        with pytest.raises(DataError, match=r"3 pictures of .* cannot be read: \d\d\.png, \d\d\.png, \d\d\.png\. "):
            load_data(tmp_path, split)
        data = load_data(tmp_path, split, skip_broken=True)
        assert data.images[:, 0, 0, 0].tolist() == [each for each in before[split] if each not in broken]
        assert data.skipped == 3
    for number in before["test"]:
        (tmp_path / f"{number:02}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"None of the pictures in the split 'test' .* can be read.*--split all"):
        load_data(tmp_path, "test", skip_broken=True)
