"""Compress, decompress and quantise from the command line, with pictures of all kinds and files of any damage."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from command import Cli
from PIL import Image

import pixelrnn
from pixelrnn.codec import Reader
from pixelrnn.codec.archive import check_size
from pixelrnn.codec.files import safe_name
from pixelrnn.data import load_data
from pixelrnn.errors import CodecError
from pixelrnn.measure.evaluation import levels_for

DONE, FAILED, WRONG = 0, 1, 2


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exact model of colour pictures, of random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "mine"
    shape = {"size": (8, 8), "channels": 3, "levels": 256, "layers": 1, "width": 6, "kernel": 3, "components": 2}
    model = pixelrnn.build("local-pixelcnn", **shape, masked=True, linear=True)
    model.quantised(torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)).save(folder)
    return folder


@pytest.fixture(scope="module")
def gray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exact model of gray pictures, of random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "gray"
    model = pixelrnn.build("local-pixelcnn", size=(8, 8), levels=256, layers=1, width=6, kernel=3, components=2)
    model.quantised(torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)).save(folder)
    return folder


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the digits by class, of random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "classes"
    model = pixelrnn.build("gated-pixelcnn", size=(8, 8), levels=16, layers=1, width=6, classes=10)
    model.about = {"class_names": [str(number) for number in range(10)]}
    model.save(folder)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(path: Path, size: tuple[int, int] = (12, 9), mode: str = "RGB", **options: object) -> np.ndarray:
    rows, columns = size
    smooth = np.add.outer(np.arange(rows), np.arange(columns))[:, :, None] * np.array([1, 2, 3]) % 256
    made = Image.fromarray(smooth.astype(np.uint8)).convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(path, **options)
    return np.asarray(made)


def test_a_folder_comes_back_picture_by_picture(cli: Cli, colour: Path, here: Path) -> None:
    pixels = {
        "a.png": picture(Path("all/a.png")),
        "deep/b.bmp": picture(Path("all/deep/b.bmp"), (5, 40)),
        "deep/c.png": picture(Path("all/deep/c.png")),
    }
    result = cli("compress", "all", "-o", "all.prnn", "--model", colour)
    assert result.status == DONE, result.err
    assert result.out.startswith("all.prnn  3 images   ")
    told = cli("inspect", "all.prnn")
    assert told.status == DONE, told.err
    assert "deep/b.bmp  5x40" in told.out
    assert "all.prnn  3 images, 3 channels, 256 levels" in told.out
    assert "model: mine (" in told.out
    back = cli("decompress", "all.prnn", "-o", "back", "--model", colour)
    assert back.status == DONE, back.err
    for name, expected in pixels.items():
        with Image.open(Path("back") / (name if name.endswith(".png") else name + ".png")) as found:
            assert np.array_equal(np.asarray(found), expected)
    one = cli("decompress", "all.prnn", "-o", "one", "--model", colour, "--only", "deep/c.png")
    assert one.out.startswith("one  1 image ")
    assert [str(path) for path in Path("one").rglob("*.*")] == ["one/deep/c.png"]
    again = cli("decompress", "all.prnn", "-o", "back", "--model", colour)
    assert (again.status, "is there already" in again.err) == (FAILED, True)
    file = cli("decompress", "all.prnn", "-o", "all/a.png", "--model", colour)
    assert (file.status, "all/a.png cannot be made: File exists" in file.err) == (FAILED, True)
    useless = cli("inspect", "all.prnn", "--pixel", "0,0")
    assert (useless.status, "is a compressed file, which takes no options" in useless.err) == (2, True)
    none = cli("decompress", "all.prnn", "-o", "x", "--model", colour, "--only", "d.png")
    assert (none.status, "has no image 'd.png'" in none.err) == (FAILED, True)


def test_a_palette_comes_back_as_its_colours_and_a_bit_as_gray(cli: Cli, colour: Path, gray: Path, here: Path) -> None:
    for mode, kind, model in (("P", "RGB", colour), ("1", "L", gray)):
        picture(Path("x.png"), mode=mode)
        assert cli("compress", "x.png", "-o", f"{mode}.prnn", "--model", model).status == DONE
        assert cli("decompress", f"{mode}.prnn", "-o", mode, "--model", model).status == DONE
        back = Image.open(Path(mode) / "x.png")
        assert back.mode == kind
        assert np.array_equal(np.asarray(back), np.asarray(Image.open("x.png").convert(kind)))


def test_the_model_for_photographs_is_that_of_their_kind(cli: Cli, here: Path) -> None:
    picture(Path("colour.png"))
    picture(Path("gray.png"), mode="L")
    for name, model in (("colour", "photo"), ("gray", "photo-gray")):
        assert cli("compress", f"{name}.png", "-o", f"{name}.prnn").status == DONE
        assert f"model: {model} " in cli("inspect", f"{name}.prnn").out
        assert cli("decompress", f"{name}.prnn", "-o", name).status == DONE
        assert np.array_equal(np.asarray(Image.open(f"{name}/{name}.png")), np.asarray(Image.open(f"{name}.png")))
    result = cli("compress", "gray.png", "colour.png", "-o", "both.prnn")
    assert (result.status, "gray.png is gray and colour.png is RGB" in result.err) == (WRONG, True)


def test_labels_are_kept_with_the_images(cli: Cli, classes: Path, here: Path) -> None:
    data = ("--data", "digits", "--split", "test")
    result = cli("quantise", classes, "--out", "exact", "--data", "digits", "--count", "20")
    assert result.status == DONE, result.err
    assert cli("compress", *data, "--count", "50", "--model", "exact", "-o", "digits.prnn").status == DONE
    assert "labels of 10 classes" in cli("inspect", "digits.prnn").out
    result = cli("decompress", "digits.prnn", "-o", "back", "--model", "exact")
    assert result.status == DONE, result.err
    labels = load_data("digits", "test").labels
    rows = [f"{index},{label}" for index, label in enumerate(labels[:50])]
    assert Path("back/labels.csv").read_text().splitlines() == ["image,label", *rows]
    again = cli("decompress", "digits.prnn", "-o", "back", "--model", "exact")
    assert (again.status, "is there already" in again.err) == (FAILED, True)


def test_several_images_are_taken_out_by_name_or_number(cli: Cli, colour: Path, classes: Path, here: Path) -> None:
    composed, decomposed = "caf\u00e9.png", "cafe\u0301.png"
    for name in ("a.png", composed, "b.png"):
        picture(Path("all") / name)
    assert cli("compress", "all", "-o", "all.prnn", "--model", colour).status == DONE
    assert "together with 2 others" in cli("inspect", "all.prnn").out
    some = cli("decompress", "all.prnn", "-o", "some", "--model", colour, "--only", decomposed, "--only", "b.png")
    assert some.out.startswith("some  2 images"), some.err
    assert {path.name for path in Path("some").iterdir()} == {composed, "b.png"}
    half = cli("decompress", "all.prnn", "-o", "half", "--model", colour, "--only", "a.png", "--only", "c.png")
    assert (half.status, "no image 'c.png'; pixelrnn inspect lists their names. Restored" in half.err) == (FAILED, True)
    assert [path.name for path in Path("half").iterdir()] == ["a.png"]

    assert cli("quantise", classes, "--out", "exact", "--data", "digits", "--count", "20").status == DONE
    data = ("--data", "digits", "--split", "test", "--count", "9")
    assert cli("compress", *data, "--model", "exact", "-o", "digits.prnn").out.startswith("digits.prnn  9 images")
    one = cli("decompress", "digits.prnn", "-o", "one", "--model", "exact", "--only", "7")
    assert one.status == DONE, one.err
    model, digits = pixelrnn.load(classes), load_data("digits", "test")
    assert np.array_equal(np.load("one/images.npy")[0], levels_for(model, digits).fixed(digits.images)[7])
    assert Path("one/labels.csv").read_text().splitlines()[1] == f"7,{digits.labels[7]}"


@pytest.mark.parametrize("where", ["content", "names", "head"])
def test_images_around_damage_are_restored(cli: Cli, colour: Path, here: Path, where: str) -> None:
    for number, rows in enumerate((5, 6, 7)):  # each a block of its own
        picture(Path(f"all/{number}.png"), (rows, 9))
    assert cli("compress", "all", "-o", "all.prnn", "--model", colour).status == DONE
    data = bytearray(Path("all.prnn").read_bytes())
    with Path("all.prnn").open("rb") as stream:
        sizes = [block.size for block in Reader(stream).blocks()]
    begin = len(data) - 6 - sum(sizes[1:])  # of the second block; the end of the file has six bytes
    data[begin + {"head": 2, "names": 14, "content": sizes[1] - 10}[where]] ^= 1
    Path("all.prnn").write_bytes(bytes(data))
    result, look = cli("decompress", "all.prnn", "-o", "back", "--model", colour), cli("inspect", "all.prnn")
    assert (result.status, look.status) == (FAILED, FAILED)
    assert sorted(path.name for path in Path("back").iterdir()) == (
        ["0.png"] if where == "head" else ["0.png", "2.png"]
    )
    if where == "head":
        assert "Restored before that, in back: 1 image." in result.err
        return
    lost = "1.png" if where == "content" else "image 1"
    assert f"1 image could not be restored ({lost}). Restored in back: 2 other images." in result.err
    assert "1 of its 3 images cannot be restored" in look.err
    assert "damaged" in look.out.splitlines()[1]
    assert cli("decompress", "all.prnn", "-o", "only", "--only", "2.png", "--model", colour).status == DONE
    wanted = cli("decompress", "all.prnn", "-o", "lost", "--only", "1.png", "--model", colour)
    assert (wanted.status, "damaged" in wanted.err) == (FAILED, True)


def test_a_compressed_file_is_replaced_on_request_only(cli: Cli, colour: Path, here: Path) -> None:
    picture(Path("a.png"), (5, 6))
    picture(Path("b.png"), (7, 6))
    assert cli("compress", "a.png", "-o", "all.prnn", "--model", colour).status == DONE
    before = Path("all.prnn").read_bytes()
    result = cli("compress", "b.png", "-o", "all.prnn", "--model", colour)
    assert (result.status, "all.prnn exists already" in result.err, "--overwrite" in result.err) == (WRONG, True, True)
    assert Path("all.prnn").read_bytes() == before
    assert cli("compress", "b.png", "-o", "all.prnn", "--model", colour, "--overwrite").status == DONE
    assert "b.png" in cli("inspect", "all.prnn").out


def test_broken_pictures_are_all_named_or_left_out(cli: Cli, colour: Path, here: Path) -> None:
    picture(Path("all/fine.png"), (5, 6))
    cut = Path("all/cut.png")
    Image.effect_noise((40, 40), 50).convert("RGB").save(cut)
    cut.write_bytes(cut.read_bytes()[:500])
    for name in ("words", "empty"):
        Path(f"all/{name}.png").write_text("no picture")
    result = cli("compress", "all", "-o", "all.prnn", "--model", colour)
    assert result.status == FAILED
    assert all(text in result.err for text in ("words.png", "empty.png", "--skip-broken"))
    assert not Path("all.prnn").exists()
    result = cli("compress", "all", "-o", "all.prnn", "--model", colour, "--skip-broken")
    assert (result.status, "all.prnn  1 image " in result.out) == (DONE, True)
    assert all(f"left out: {Path('all') / name}.png" in result.err for name in ("words", "empty", "cut"))


def test_classes_that_are_not_the_models_are_refused(cli: Cli, classes: Path, here: Path) -> None:
    assert cli("quantise", classes, "--out", "exact", "--data", "digits", "--count", "20").status == DONE
    strange = {"class_names": np.array(["cat", "dog"]), "test_labels": np.array([0, 1])}
    np.savez("strange.npz", test_images=np.full((2, 8, 8), 200, np.uint8), **strange)
    result = cli("compress", "--data", "strange.npz", "--model", "exact", "-o", "x.prnn")
    assert (result.status, "it does not know cat, dog. Name another model" in result.err) == (FAILED, True)


def test_a_trained_model_is_quantised_and_compresses_its_data(cli: Cli, here: Path) -> None:
    small = ["--set", "network=pixelcnn", "--set", "layers=1", "--set", "width=8", "--set", "levels=2", "--epochs", 1]
    assert cli("train", "digits", "--out", "run", *small).status == DONE
    made = cli("quantise", "run", "--out", "exact")
    assert made.status == DONE, made.err
    assert made.out.startswith("exact  ")
    for out, message in (("run", "exists and is not empty"), ("exact", "To replace it: --overwrite")):
        again = cli("quantise", "run", "--out", out)
        assert (again.status, message in again.err) == (WRONG, True), again.err
    assert "whole numbers already" in cli("quantise", "exact", "--out", "twice").err
    assert cli("quantise", "run", "--out", "exact", "--overwrite").status == DONE
    result = cli("compress", "--data", "digits", "--split", "test", "--model", "exact", "-o", "digits.prnn")
    assert result.status == DONE, result.err
    assert "so that is what is kept of 17" in result.err
    back = cli("decompress", "digits.prnn", "-o", "back", "--model", "exact")
    assert back.status == DONE, back.err
    images = np.load("back/images.npy")
    assert images.shape[1:] == (1, 8, 8)
    assert f"{len(images)} images" in back.out
    refused = cli("compress", "--data", "digits", "--model", "run", "-o", "x.prnn")
    assert (refused.status, "Only an exact model compresses" in refused.err) == (FAILED, True)
    assert not Path("x.prnn").exists()


@pytest.mark.parametrize(
    ("mode", "options", "message"),
    [
        ("RGBA", {}, "has transparency"),
        ("1", {}, "is gray with 256 levels, but the model is for 3 channels"),
        ("I;16", {}, "has the mode I;16"),
        ("L", {}, "is gray with 256 levels, but the model is for 3 channels"),
        ("RGB", {"icc_profile": b"a profile"}, "holds icc_profile, which would be lost"),
    ],
)
def test_pictures_that_would_not_come_back_are_refused(
    mode: str, options: dict, message: str, cli: Cli, colour: Path, here: Path
) -> None:
    picture(Path("x.png"), mode="L" if mode == "I;16" else mode, **options)
    if mode == "I;16":
        Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save("x.png")
    result = cli("compress", "x.png", "-o", "x.prnn", "--model", colour)
    assert result.status == FAILED
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not Path("x.prnn").exists()
    if options:
        assert cli("compress", "x.png", "-o", "x.prnn", "--model", colour, "--pixels-only").status == DONE


def deep_png(path: Path) -> None:
    """A PNG of 2 x 2 pixels in RGB with 16 bits per channel, which Pillow reads as 8."""
    rows = b"".join(b"\0" + bytes(range(12)) for _ in range(2))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_pictures_of_more_than_8_bits_are_refused_though_pillow_reads_them(cli: Cli, colour: Path, here: Path) -> None:
    deep_png(Path("deep.png"))
    with Image.open("deep.png") as read:
        assert read.mode == "RGB"
    Path("deep.ppm").write_bytes(b"P6\n2 2\n65535\n" + bytes(24))
    Path("plain.ppm").write_bytes(b"P3\n2 2\n1023\n" + b"1 2 3 " * 4)
    picture(Path("shallow.jp2"), irreversible=False)
    data = bytearray(Path("shallow.jp2").read_bytes())
    where = data.find(b"\xff\x4f\xff\x51") + 42
    data[where : where + 9 : 3] = bytes([15] * 3)
    Path("deep.jp2").write_bytes(data)
    for name in ("deep.png", "deep.ppm", "plain.ppm", "deep.jp2"):
        result = cli("compress", name, "-o", "x.prnn", "--model", colour)
        assert (result.status, "has more than 8 bits per channel" in result.err) == (FAILED, True), (name, result.err)
    Path("fine.ppm").write_bytes(b"P6\n2 2\n255\n" + bytes(12))
    for name in ("shallow.jp2", "fine.ppm"):
        result = cli("compress", name, "-o", f"{name}.prnn", "--model", colour)
        assert result.status == DONE, result.err


def test_a_picture_that_no_archive_takes_is_refused_before_any_work(cli: Cli, here: Path) -> None:
    Path("large.ppm").write_bytes(b"P6\n12000 8000\n255\n")  # only its header is read
    result = cli("compress", "large.ppm", "-o", "x.prnn")
    assert result.status == FAILED
    assert result.err.startswith(
        "error: large.ppm: An image of 8000 x 12000 with 3 channel(s) has more than 268,435,456"
    )
    with pytest.raises(CodecError, match="An image of 20000 x 20000"):
        check_size(1, 20_000, 20_000)


@pytest.mark.parametrize("name", ["12:30.png", "a\nb.png", "a\\b.png", os.fsdecode(b"\xe9.png")])
def test_a_name_that_would_not_come_back_is_refused(name: str, cli: Cli, colour: Path, here: Path) -> None:
    try:
        picture(Path(name))
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    result = cli("compress", name, "-o", "x.prnn", "--model", colour)
    assert (result.status, "Rename the file" in result.err) == (FAILED, True), result.err


def test_wrong_use_is_one_clear_sentence(cli: Cli, colour: Path, here: Path) -> None:
    picture(Path("a.png"))
    picture(Path("b/a.png"))
    Path("empty").mkdir()
    Path("text.prnn").write_text("not an archive")
    Path("empty.prnn").touch()
    assert cli("compress", "a.png", "-o", "a.prnn", "--model", colour).status == DONE
    for arguments, status, message in (
        (["compress", "-o", "x.prnn"], WRONG, "Give either pictures or --data"),
        (["compress", "a.png", "b/a.png", "-o", "x.prnn", "--model", colour], WRONG, "are both called a.png"),
        (["compress", "empty", "-o", "x.prnn", "--model", colour], FAILED, "empty holds no picture"),
        (["compress", "a.png", "-o", "a.png", "--model", colour], WRONG, "would overwrite an input"),
        (["compress", "a.png", "-o", "b/a.png", "--model", colour], WRONG, "b/a.png exists and is no compressed"),
        (["compress", "--data", "b", "-o", "x.prnn", "--model", colour], WRONG, "pixelrnn compress b -o FILE.prnn"),
        (["decompress", "empty.prnn", "-o", "x"], FAILED, "not a compressed file of pixelrnn"),
        (["compress", "a.png", "-o", "no/x.prnn", "--model", colour], FAILED, "There is no folder no"),
        (["decompress", "text.prnn", "-o", "x"], FAILED, "not a compressed file of pixelrnn"),
        (["decompress", "none.prnn", "-o", "x"], FAILED, "none.prnn cannot be read"),
        (["decompress", "a.prnn", "-o", "x"], WRONG, "which does not come with the package"),
        (["inspect", "text.prnn"], FAILED, "not a compressed file of pixelrnn"),
    ):
        result = cli(*arguments)
        assert result.status == status, (arguments, result.err)
        assert message in result.err
    data = bytearray(Path("a.prnn").read_bytes())
    data[-20] ^= 1
    Path("bad.prnn").write_bytes(data)
    for verb in (["inspect", "bad.prnn"], ["decompress", "bad.prnn", "-o", "x", "--model", colour]):
        result = cli(*verb)
        assert (result.status, "damaged" in result.err) == (FAILED, True)


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", "c:x.png", "a\\x.png", ""])
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    with pytest.raises(CodecError, match="no name of a file in a folder"):
        safe_name(name)


@pytest.mark.parametrize("before", [b"", b"\x93PRNN what was there before"])
def test_a_process_that_is_killed_as_it_writes_leaves_what_was_there(before: bytes, colour: Path, here: Path) -> None:
    for index in range(40):
        picture(Path(f"all/{index}.png"), (200, 150))
    if before:
        Path("all.prnn").write_bytes(before)
    command = [sys.executable, "-m", "pixelrnn", "compress", "all", "-o", "all.prnn", "--model", str(colour)]
    process = subprocess.Popen([*command, "--overwrite"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not any(each.stat().st_size for each in here.glob(".*")):  # the file that will be renamed
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (Path("all.prnn").read_bytes() if before else Path("all.prnn").exists()) == (before or False)
