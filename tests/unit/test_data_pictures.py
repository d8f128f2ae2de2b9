"""Single pictures in and out."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pixelrnn.data import grid, read_mask, read_picture, save_picture
from pixelrnn.errors import ConfigError, DataError, ImageError


def colours(rows: int = 6, columns: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def save(tmp_path: Path, picture: Image.Image, name: str = "a.png", **options: object) -> Path:
    picture.save(tmp_path / name, **options)
    return tmp_path / name


def promising_png(rows: int, columns: int) -> bytes:
    """A PNG whose header promises any size and that holds no pixels."""
    head = b"IHDR" + struct.pack(">2I5B", columns, rows, 8, 0, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"")
    parts = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (head, body)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_lossless_picture_comes_back_exactly(tmp_path: Path) -> None:
    array = colours()
    read = read_picture(save(tmp_path, Image.fromarray(array)), channels=None)
    assert (read.dtype, read.shape) == (np.uint8, (3, 6, 4))
    assert np.array_equal(read, array.transpose(2, 0, 1))


def test_gray_stays_gray_and_channels_convert(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(colours()[:, :, 0]))
    assert read_picture(path, channels=None).shape == (1, 6, 4)
    assert np.array_equal(read_picture(path, channels=3), np.repeat(colours()[None, :, :, 0], 3, axis=0))
    coloured = save(tmp_path, Image.fromarray(colours()), "b.png")
    expected = np.asarray(Image.fromarray(colours()).convert("L"))
    assert np.array_equal(read_picture(coloured, channels=1)[0], expected)


@pytest.mark.parametrize("gray", [True, False])
def test_a_palette_is_gray_if_its_colours_are(tmp_path: Path, gray: bool) -> None:
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 90, 90, 90, 200, 200, 200 if gray else 201])
    read = read_picture(save(tmp_path, picture), channels=None)
    assert read.shape[0] == (1 if gray else 3)
    assert read[0].tolist() == [[0, 90], [200, 90]]


def test_one_bit_pictures_are_black_and_white(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[True, False]])).convert("1")
    assert read_picture(save(tmp_path, picture), channels=None).tolist() == [[[255, 0]]]


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    array = np.array([[[0, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
    read = read_picture(save(tmp_path, Image.fromarray(array)), channels=1)
    assert read.tolist() == [[[0, 255, 127]]]
    gray = Image.fromarray(np.array([[[50, 255], [50, 0]]], np.uint8))
    assert read_picture(save(tmp_path, gray, "la.png"), channels=None).tolist() == [[[50, 255]]]


def test_16_bit_gray_is_scaled_to_8_bits(tmp_path: Path) -> None:
    array = np.array([[0, 257, 128 * 257, 65535, 128, 129]], np.uint16)
    assert read_picture(save(tmp_path, Image.fromarray(array)), channels=None).tolist() == [[[0, 1, 128, 255, 0, 1]]]
    path = save(tmp_path, Image.fromarray(array), "a.tiff")
    assert read_picture(path, channels=None).tolist() == [[[0, 1, 128, 255, 0, 1]]]


def test_values_that_cannot_be_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="floating point"):
        read_picture(save(tmp_path, Image.fromarray(np.zeros((2, 2), np.float32)), "f.tiff"), channels=None)
    with pytest.raises(ImageError, match=r"outside 0\.\.65535"):
        read_picture(save(tmp_path, Image.fromarray(np.full((2, 2), 70_000, np.int32)), "i.tiff"), channels=None)


def test_the_orientation_of_a_camera_is_respected(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter, so that rows become columns
    array = colours()
    path = save(tmp_path, Image.fromarray(array), exif=exif)
    expected = np.rot90(array, -1).transpose(2, 0, 1)
    assert np.array_equal(read_picture(path, channels=3), expected)
    from pixelrnn.data.decode import read_header

    assert read_header(path).size == (4, 6)


def test_a_picture_is_cropped_around_its_centre_and_averaged(tmp_path: Path) -> None:
    array = np.zeros((4, 10), np.uint8)
    array[:, 3:5], array[:, 5:7] = 100, 200
    array[:, :3], array[:, 7:] = 255, 255  # must be cropped away
    assert read_picture(save(tmp_path, Image.fromarray(array)), channels=1, size=(2, 2)).tolist() == [
        [[100, 200], [100, 200]]
    ]
    tall = save(tmp_path, Image.fromarray(array.T), "tall.png")
    assert read_picture(tall, channels=1, size=(2, 2)).tolist() == [[[100, 100], [200, 200]]]


@pytest.mark.parametrize("size", [(5, 3), (6, 4), (13, 17), (1, 1)])
def test_any_size_can_be_asked_for(tmp_path: Path, size: tuple[int, int]) -> None:
    assert read_picture(save(tmp_path, Image.fromarray(colours())), channels=3, size=size).shape == (3, *size)


def test_the_wanted_size_leaves_the_pixels_untouched(tmp_path: Path) -> None:
    read = read_picture(save(tmp_path, Image.fromarray(colours())), channels=3, size=(6, 4))
    assert np.array_equal(read, colours().transpose(2, 0, 1))


def test_a_missing_picture_or_a_folder_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        read_picture(tmp_path / "nowhere.png", channels=1)
    with pytest.raises(DataError, match="cannot be read"):
        read_picture(tmp_path, channels=1)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x89PNG\r\n\x1a\n", promising_png(4, 4), b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_a_damaged_picture_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png cannot be read as a picture \(.+\)\. Replace or remove it"):
        read_picture(tmp_path / "a.png", channels=1)


@pytest.mark.parametrize("side", [14_143, 100_000])
def test_too_many_pixels_are_refused_by_the_header_alone(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(promising_png(side, side))
    with pytest.raises(DataError, match=r"pixels, but at most 200,000,000 are read\. Make it smaller"):
        read_picture(tmp_path / "a.png", channels=1)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_a_photograph_of_many_megapixels_is_made_small(tmp_path: Path, name: str) -> None:
    """108 megapixels, more than Pillow allows by itself: a left half of one gray, a right half of another."""
    picture = Image.new("L", (12_000, 9_000), 40)
    picture.paste(200, (6_000, 0, 12_000, 9_000))
    picture.save(tmp_path / name, compress_level=1)
    before = Image.MAX_IMAGE_PIXELS
    small = read_picture(tmp_path / name, channels=1, size=(48, 64))[0].astype(int)
    assert before == Image.MAX_IMAGE_PIXELS, "the limit of the program is what it was"
    assert small.shape == (48, 64)
    assert abs(small[:, :31] - 40).max() <= 3
    assert abs(small[:, 33:] - 200).max() <= 3


def test_the_pixel_limit_can_be_set_by_argument_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path, Image.fromarray(colours()))
    monkeypatch.setenv("PIXELRNN_PIXEL_LIMIT", "23")
    with pytest.raises(DataError, match="6 x 4 = 24 pixels, but at most 23"):
        read_picture(path, channels=3)
    assert read_picture(path, channels=3, pixel_limit=24).shape == (3, 6, 4)
    for wrong in ("many", "0", "-5"):
        monkeypatch.setenv("PIXELRNN_PIXEL_LIMIT", wrong)
        with pytest.raises(ConfigError, match="whole number above 0"):
            read_picture(path, channels=3)


def test_a_wrong_size_or_channels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rows and columns"):
        read_picture(tmp_path / "a.png", channels=1, size=(0, 1))
    with pytest.raises(ConfigError, match="but got 2"):
        read_picture(tmp_path / "a.png", channels=2)


def test_a_mask_is_known_where_it_is_white(tmp_path: Path) -> None:
    gray = np.array([[0, 127, 128, 255]], np.uint8)
    mask = read_mask(save(tmp_path, Image.fromarray(gray)), (1, 4))
    assert mask.dtype == bool
    assert mask.tolist() == [[False, False, True, True]]
    coloured = save(tmp_path, Image.fromarray(gray).convert("RGB"), "b.png")
    assert np.array_equal(read_mask(coloured, (1, 4)), mask)


def test_a_mask_of_another_size_names_both(tmp_path: Path) -> None:
    path = save(tmp_path, Image.fromarray(np.zeros((3, 5), np.uint8)))
    with pytest.raises(ImageError, match=r"is 3 x 5 \(rows x columns\), but 5 x 3 was expected"):
        read_mask(path, (5, 3))


def test_a_mask_of_the_size_before_is_brought_to_size_as_its_picture_is(tmp_path: Path) -> None:
    gray = np.full((8, 10), 255, np.uint8)  # of 10 columns the middle 8 are kept, and 2 x 2 pixels become one
    gray[0, 1] = gray[5, 0] = gray[7, 8] = 0  # the second lies beside what is kept
    path = save(tmp_path, Image.fromarray(gray))
    mask = read_mask(path, (4, 4), before=(8, 10))
    assert np.argwhere(~mask).tolist() == [[0, 0], [3, 3]], "a pixel is known if all that it is made of is"
    with pytest.raises(ImageError, match="but 4 x 4, or 7 x 7 as before they are resized, was expected"):
        read_mask(path, (4, 4), before=(7, 7))


def test_a_missing_mask_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        read_mask(tmp_path / "nowhere.png", (3, 3))


def test_a_sheet_shows_every_image_between_gaps_of_mid_gray() -> None:
    images = np.array([0, 1, 2, 3, 1]).reshape(5, 1, 1, 1)
    sheet = np.asarray(grid(images, 4, columns=3, gap=1, scale=1))
    g = 128
    assert sheet.tolist() == [
        [g, g, g, g, g, g, g],
        [g, 0, g, 85, g, 170, g],
        [g, g, g, g, g, g, g],
        [g, 255, g, 85, g, g, g],
        [g, g, g, g, g, g, g],
    ]


def test_groups_begin_new_rows() -> None:
    images = np.array([1, 0, 1, 0, 1]).reshape(5, 1, 1, 1)
    assert np.asarray(grid(images, 2, gap=0, scale=1, rows_of=3)).tolist() == [[255, 0, 255], [0, 255, 128]]
    sheet = np.asarray(grid(images, 2, columns=2, gap=0, scale=1, rows_of=3))
    assert sheet.tolist() == [[255, 0], [255, 128], [0, 255]]
    assert np.asarray(grid(images[:3], 2, gap=0, scale=1, rows_of=1)).tolist() == [[255], [0], [255]]


def test_a_sheet_is_enlarged_without_new_values() -> None:
    images = np.array([[0, 1], [1, 0]]).reshape(1, 1, 2, 2)
    sheet = np.asarray(grid(images, 2, gap=0, scale=3))
    assert np.array_equal(sheet, np.kron([[0, 255], [255, 0]], np.ones((3, 3), int)))


@pytest.mark.parametrize(("count", "side"), [(1, 8), (16, 28), (64, 32), (100, 8), (4, 64)])
def test_a_sheet_is_some_500_to_900_pixels_wide(count: int, side: int) -> None:
    assert 500 <= grid(np.zeros((count, 1, side, side), int), 2).width <= 900


def test_a_large_sheet_is_not_reduced() -> None:
    assert grid(np.zeros((9, 1, 500, 500), np.uint8), 2).width == 1504


def test_three_channels_are_colour_and_others_are_planes_side_by_side() -> None:
    images = np.arange(3).reshape(1, 3, 1, 1) * 100
    picture = grid(images, 256, gap=0, scale=1)
    assert (picture.mode, picture.getpixel((0, 0))) == ("RGB", (0, 100, 200))
    planes = grid(np.arange(4).reshape(1, 2, 1, 2), 4, gap=0, scale=1)
    assert (planes.mode, np.asarray(planes).tolist()) == ("L", [[0, 85, 170, 255]])


def test_a_tensor_makes_the_same_sheet_as_an_array() -> None:
    images = torch.randint(0, 17, (5, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert np.array_equal(np.asarray(grid(images, 17)), np.asarray(grid(images.numpy(), 17)))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 3, 3), int), r"but got \(2, 3, 3\)"),
        (np.zeros((0, 1, 3, 3), int), "at least one image"),
        (np.zeros((1, 1, 3, 3)), "but got float64"),
        (np.full((1, 1, 3, 3), 4), r"0\.\.3, but got values from 4"),
        (np.full((1, 1, 3, 3), -1), "from -1"),
    ],
)
def test_images_that_make_no_sheet_are_refused(images: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        grid(images, 4)


@pytest.mark.parametrize("wrong", [{"columns": 0}, {"gap": -1}, {"scale": 0}, {"rows_of": 0}, {"levels": 1}])
def test_numbers_that_make_no_sheet_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} of a sheet must be at least"):
        grid(np.zeros((1, 1, 2, 2), int), **({"levels": 2} | wrong))


def test_a_saved_picture_is_read_back_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    picture = Image.fromarray(colours())
    save_picture(picture, tmp_path / "a.png")
    save_picture(picture, str(tmp_path / "a.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert np.array_equal(read_picture(tmp_path / "a.png", channels=3), colours().transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["a", "a.txt", "a.unknown"])
def test_an_unknown_extension_is_a_data_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"no extension of a picture format.*Use \.png"):
        save_picture(Image.new("L", (2, 2)), tmp_path / name)


def test_an_output_that_cannot_be_written_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for path, word in (
        (tmp_path / "nowhere" / "a.png", "no folder .*nowhere"),
        (tmp_path / "folder.png", "is a folder"),
    ):
        with pytest.raises(DataError, match=word):
            save_picture(Image.new("L", (2, 2)), path)
    with pytest.raises(DataError, match="cannot be written"):
        save_picture(Image.new("L", (2, 2)), tmp_path / f"{'a' * 300}.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_format_that_cannot_hold_the_picture_is_a_data_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"old")
    with pytest.raises(DataError, match=r"a\.jpg cannot"):
        save_picture(Image.new("RGBA", (2, 2)), tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == b"old"
