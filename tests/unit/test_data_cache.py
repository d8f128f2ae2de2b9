"""Decoded arrays on disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pixelrnn.data.cache import cache_folder, cached_array
from pixelrnn.errors import DataError


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PIXELRNN_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "source.gz"
    path.write_bytes(b"content")
    return path


class Maker:
    """Counts how often an array is made."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> np.ndarray:
        self.calls += 1
        return np.arange(12, dtype=np.uint8).reshape(3, 4)


def test_an_array_is_made_once_and_memory_mapped(source: Path) -> None:
    make = Maker()
    for _ in range(3):
        array = cached_array(source, "key", make)
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
        assert np.array_equal(array, np.arange(12).reshape(3, 4))
    assert make.calls == 1


def test_another_key_or_a_changed_source_is_made_again(source: Path) -> None:
    make = Maker()
    cached_array(source, "key", make)
    cached_array(source, "other", make)
    assert make.calls == 2
    source.write_bytes(b"longer content")
    cached_array(source, "key", make)
    assert make.calls == 3
    os.utime(source, (1, 1))
    cached_array(source, "key", make)
    assert make.calls == 4


@pytest.mark.parametrize("damage", [b"", b"no array", b"cut"])
def test_a_damaged_cache_file_is_made_again(source: Path, damage: bytes) -> None:
    make = Maker()
    cached_array(source, "key", make)
    (file,) = (cache_folder() / "arrays").iterdir()
    file.write_bytes(file.read_bytes()[:-1] if damage == b"cut" else damage)
    assert np.array_equal(cached_array(source, "key", make), make())
    cached_array(source, "key", make)
    assert make.calls == 3


def test_an_archive_in_place_of_a_cached_array_is_made_again(source: Path) -> None:
    make = Maker()
    cached_array(source, "key", make)
    (file,) = (cache_folder() / "arrays").iterdir()
    with file.open("wb") as stream:
        np.savez(stream, array=make())
    assert isinstance(cached_array(source, "key", make), np.memmap)


def test_without_a_writable_cache_the_array_comes_back_in_memory(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("PIXELRNN_CACHE", str(tmp_path / "file"))
    assert np.array_equal(cached_array(source, "key", Maker()), np.arange(12).reshape(3, 4))


def test_an_error_while_writing_leaves_no_file_behind(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", fail)
    assert cached_array(source, "key", Maker()).shape == (3, 4)
    assert list((cache_folder() / "arrays").iterdir()) == []


def test_an_empty_array_can_be_cached(source: Path) -> None:
    assert cached_array(source, "key", lambda: np.empty((0, 3), np.uint8)).shape == (0, 3)


def test_an_absent_source_is_an_error(source: Path) -> None:
    source.unlink()
    with pytest.raises(DataError, match=r"source\.gz cannot be read"):
        cached_array(source, "key", Maker())


def test_the_cache_is_in_the_usual_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELRNN_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("PIXELRNN_CACHE")
    assert "pixelrnn" in str(cache_folder())
