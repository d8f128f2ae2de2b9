"""The IDX format: what is damaged is refused, whole files are read in test_data_builtin."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from pixelrnn.data.idx import read_idx
from pixelrnn.errors import DataError

GOOD = bytes((0, 0, 8, 2)) + struct.pack(">2I", 2, 3) + bytes(range(6))


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(GOOD)
    assert np.array_equal(read_idx(tmp_path / "file", (2, 3)), [[0, 1, 2], [3, 4, 5]])


def test_an_absent_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "file", (2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x0d\x02" + GOOD[4:], "begins with 00000d02, not 00000802"),
        (GOOD[:9], "truncated in its header"),
        (GOOD[:4] + struct.pack(">2I", 2**31, 2**31) + GOOD[12:], r"\(2147483648, 2147483648\), but \(2, 3\)"),
        (GOOD[:-1], "is truncated: 6 bytes"),
        (GOOD + b"\x00", "longer than its header says"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_damaged_idx_file_is_refused(tmp_path: Path, content: bytes, message: str, ending: str) -> None:
    path = tmp_path / f"file{ending}"
    path.write_bytes(gzip.compress(content) if ending else content)
    with pytest.raises(DataError, match=message):
        read_idx(path, (2, 3))


def test_an_idx_file_that_is_no_gzip_or_cut_off_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(GOOD)
    for content in (GOOD, packed[:-10], packed[:12] + b"\xff\xff\xff" + packed[15:]):
        (tmp_path / "file.gz").write_bytes(content)
        with pytest.raises(DataError, match="damaged or cannot be read"):
            read_idx(tmp_path / "file.gz", (2, 3))
