"""pixelrnn pack: a folder that --data takes, one line of what is in it, and one sentence where it cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import Cli
from PIL import Image

from pixelrnn.data import load_data

DONE, FAILED, MISUSED = 0, 1, 2


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty pictures of two classes and of different sizes."""
    for number in range(20):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9 + number), (number, 0, 0)).save(path)
    return tmp_path / "photos"


def test_pictures_are_packed_checked_and_loaded(cli: Cli, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "packed"
    done = cli("pack", photos, "--out", out, "--size", "4x6", "--channels", 1)
    assert (done.status, done.err) == (DONE, "")
    assert done.out.startswith(f"{out}  train 16, valid 2, test 2 images 4x6, 1 channel   0.0 MB")
    assert done.out.count("\n") == 1
    before, after = load_data(photos, "test", size=(4, 6), channels=1), load_data(out, "test")
    assert np.array_equal(before.images, after.images)
    assert np.array_equal(before.labels, after.labels)
    checked = cli("pack", "--check", out)
    assert (checked.status, checked.err) == (DONE, "")
    assert checked.out.startswith(f"{out}  6 files intact")


def test_a_set_by_its_name_is_packed(cli: Cli, tmp_path: Path) -> None:
    assert "train 1297, valid 200, test 300 images 8x8" in cli("pack", "digits", "--out", tmp_path / "digits").out


def test_pictures_that_cannot_be_read_are_all_named_and_left_out_if_that_is_asked_for(
    cli: Cli, photos: Path, tmp_path: Path
) -> None:
    for number in range(13):
        (photos / "a" / f"broken-{number:02}.png").write_bytes(b"no picture" * number)
    out = tmp_path / "packed"
    refused = cli("pack", photos, "--out", out, "--size", "4x6")
    assert refused.status == FAILED
    assert "13 pictures of" in refused.err
    assert "a/broken-00.png, a/broken-01.png" in refused.err
    assert "a/broken-09.png and 3 more. Replace or remove them, or leave them out:  --skip-broken" in refused.err
    assert not out.exists()
    done = cli("pack", photos, "--out", out, "--size", "4x6", "--skip-broken")
    assert done.status == DONE, done
    assert "note: left out, because it could not be read: 13 pictures" in done.err
    assert sum(len(load_data(out, split)) for split in ("train", "valid", "test")) == 20


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["photos"], MISUSED, "SOURCE --out FOLDER"),
        (["--out", "new"], MISUSED, "SOURCE --out FOLDER"),
        ([], MISUSED, "--check FOLDER"),
        (["photos", "--out", "new", "--check", "photos"], MISUSED, "--check FOLDER"),
        (["photos", "--out", "new", "--size", "8"], MISUSED, "HEIGHTxWIDTH"),
        (["photos", "--out", "new", "--channels", "2"], MISUSED, "1 channel (gray) or 3"),
        (["digts", "--out", "new"], MISUSED, "Did you mean 'digits'?"),
        (["photos", "--out", "new"], FAILED, "--size HxW"),
        (["photos", "--out", "photos", "--size", "8x8"], FAILED, "photos already exists and is not overwritten"),
        (["digits", "--out", "new", "--size", "9x9"], FAILED, "9 x 9"),
        (["digits", "--out", "photos/a/0.png/new"], FAILED, "cannot be written"),
        (["--check", "photos"], FAILED, "Is photos a packed data set?"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_writes_nothing(
    cli: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, words: str
) -> None:
    monkeypatch.chdir(photos.parent)
    result = cli("pack", *arguments)
    assert result.status == status, result
    assert words in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert [path.name for path in photos.parent.iterdir()] == ["photos"]


def test_a_damaged_file_is_named(cli: Cli, tmp_path: Path) -> None:
    cli("pack", "digits", "--out", tmp_path / "packed")
    content = bytearray((tmp_path / "packed" / "valid.npy").read_bytes())
    content[-7] ^= 1
    (tmp_path / "packed" / "valid.npy").write_bytes(content)
    result = cli("pack", "--check", tmp_path / "packed")
    assert result.status == FAILED
    assert "valid.npy is damaged" in result.err
