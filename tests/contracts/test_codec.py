"""Contract 11: what is compressed is decompressed, to the last bit, by every way; and a damaged file is an error."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_exact import every_model, exact_model, images_of, labels_of, models_in_turn
from torch import Tensor

import pixelrnn
from pixelrnn.codec import Reader, Writer, blocks, rans
from pixelrnn.codec import archive as archive_file
from pixelrnn.codec.labels import labels_size, packed_labels, unpacked_labels
from pixelrnn.codec.schedule import BAND, Schedule
from pixelrnn.errors import CodecError, MemoryLimitError
from pixelrnn.exact.tables import TOTAL
from pixelrnn.model import PixelModel

WORKERS = [(1, 2), (torch.float32, torch.float64)]
SIZES = [(9, 7), (1, 1), (1, 6), (6, 1), (2 * BAND + 3, 11)]


def nothing(pixels: int) -> None:
    pass


def some_labels(model: PixelModel, n: int) -> list[int] | None:
    """Of so many images, the first without one, if the model takes labels."""
    label = labels_of(model, n)
    return None if label is None else [blocks.NO_LABEL, *label.tolist()][:n]


def streams_of(model: PixelModel, images: Tensor) -> list[bytes]:
    return blocks.encode(model, images, some_labels(model, len(images)), nothing)


def decoded(model: PixelModel, streams: list[bytes], count: int, size: tuple[int, int]) -> np.ndarray:
    return blocks.decode(model, streams, count, size, some_labels(model, count), nothing)


def bits_of(model: PixelModel, images: Tensor) -> float:
    """What `log_prob` says of them."""
    labels = some_labels(model, len(images)) or [blocks.NO_LABEL] * len(images)
    each = (
        model.log_prob(image[None], label=None if label == blocks.NO_LABEL else label)
        for image, label in zip(images, labels, strict=True)
    )
    return -sum(nats.double().sum().item() for nats in each) / math.log(2)


@pytest.fixture
def on_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_coder", lambda *_: None)


# ---- round trips


@models_in_turn("name, size", [(size,) for size in SIZES], each=2)
def test_what_is_encoded_is_decoded(name: str, size: tuple[int, int], on_pytorch: None) -> None:
    _, exact = exact_model(name)
    images = images_of(exact, 2, size)
    streams = streams_of(exact, images)
    assert np.array_equal(decoded(exact, streams, 2, size), images.numpy())
    assert 0 <= 8 * sum(map(len, streams)) - bits_of(exact, images) <= 96 * len(streams)


@models_in_turn("name, size, threads, dtype", list(itertools.product(SIZES, *WORKERS)), each=2)
def test_compiled_code_leaves_the_same_bytes(
    name: str, size: tuple[int, int], threads: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, exact = exact_model(name)
    exact = exact.to(dtype)
    torch.set_num_threads(threads)
    images = images_of(exact, 2, size)
    compiled = streams_of(exact, images)
    s = blocks._condition_map(exact, some_labels(exact, 2))
    assert blocks._coder(exact, blocks.schedule_of(exact.network, *size), images.numpy(), s) is not None
    assert np.array_equal(decoded(exact, compiled, 2, size), images.numpy())
    monkeypatch.setattr(blocks, "_coder", lambda *_: None)
    assert streams_of(exact, images) == compiled


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    network=st.sampled_from(["pixelcnn", "local-pixelcnn", "gated-pixelcnn", "row-lstm", "diagonal-bilstm"]),
    classes=st.sampled_from([0, 0, 2, 300]),
    channels=st.integers(1, 4),
    levels=st.integers(2, 256),
    size=st.tuples(st.integers(1, 40), st.integers(1, 12)),
    count=st.integers(1, 3),
)
def test_random_models_and_images_survive(
    seed: int, network: str, classes: int, channels: int, levels: int, size: tuple[int, int], count: int
) -> None:
    torch.manual_seed(seed)
    options = {"components": 2, "masked": seed % 2 == 0} if network == "local-pixelcnn" else {}
    options = {**options, "classes": classes, "layers": 1, "width": 4}
    model = pixelrnn.build(network, size=(8, 8), channels=channels, levels=levels, **options).float()
    exact = model.quantised(images_of(model, 2), label=labels_of(model, 2))
    images, label = images_of(exact, count, size), labels_of(model, count)
    found, labels = exact.decompress(exact.compress(images, label=label), labels=True)
    assert torch.equal(found, images)
    assert labels.tolist() == ([blocks.NO_LABEL] * count if label is None else label.tolist())


def test_without_a_label_an_image_gets_the_one_that_takes_the_fewest_bits() -> None:
    _, exact = exact_model("gated, labels")
    images = exact.float().sample(4, label=[0, 1, 2, 0], seed=0, size=(30, 20))
    found, labels = exact.decompress(exact.compress(images), labels=True)
    assert torch.equal(found, images)
    bits = [-exact.log_prob(images).double()] + [-exact.log_prob(images, label=each).double() for each in range(3)]
    assert labels.tolist() == (torch.stack(bits).argmin(0) - 1).tolist()


@pytest.mark.parametrize("classes", [1, 2, 10, 300])
@pytest.mark.parametrize("count", [1, 63, 64, 65, 300])
def test_labels_take_as_many_bits_as_there_are_labels_for(classes: int, count: int) -> None:
    chance = random.Random(0)
    labels = [chance.randrange(blocks.NO_LABEL, classes) for _ in range(count)]
    data = packed_labels(labels, classes)
    assert len(data) == labels_size(count, classes)
    assert unpacked_labels(data, count, classes) == labels
    assert 8 * len(data) <= count * math.log2(classes + 1) * 1.002 + 8 * (count // 64 + 1)
    if (classes + 1) ** count != 256 ** len(data):  # else every number is one of labels
        with pytest.raises(CodecError, match="no such labels"):
            unpacked_labels(b"\xff" * len(data), count, classes)


def test_an_order_of_colours_is_undone() -> None:
    options = {"size": (6, 5), "channels": 3, "levels": 16, "layers": 1, "width": 6, "masked": True, "components": 2}
    model = pixelrnn.build("local-pixelcnn", colour_order=[2, 0, 1], **options).float()
    images = images_of(model, 3)
    exact = model.quantised(images)
    assert torch.equal(exact.decompress(exact.compress(images)), images)


# ---- the coder


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, TOTAL - 1), st.integers(1, TOTAL)), max_size=50))
def test_a_coder_gives_back_its_intervals(drawn: list[tuple[int, int]]) -> None:
    intervals = [(start, min(size, TOTAL - start)) for start, size in drawn]
    stream = rans.Stream(rans.encode(*zip(*intervals, strict=True)) if intervals else rans.encode([], []))
    for start, size in intervals:
        assert start <= stream.slot() < start + size
        stream.take(start, size)
    stream.check_end()


def test_the_coder_agrees_with_the_entropy() -> None:
    sizes = np.random.default_rng(0).integers(1, TOTAL, 20_000)
    data = rans.encode([0] * len(sizes), sizes.tolist())
    bits = float(np.log2(TOTAL / sizes).sum())
    assert 8 * len(data) == pytest.approx(bits + 31, rel=1e-3)


@pytest.mark.parametrize("schedule", [Schedule(3, 4, 2, True), Schedule(70, 9, 4, True), Schedule(5, 3, 3, False)])
def test_a_schedule_decodes_every_symbol_once_and_after_what_it_depends_on(schedule: Schedule) -> None:
    front_of = {}
    for index in range(schedule.fronts):
        for row, column in zip(*schedule.front(index), strict=True):
            front_of[int(row), int(column)] = index
    assert len(front_of) == schedule.height * schedule.width
    for (row, column), index in front_of.items():
        for dx in range(-schedule.lag + 1, schedule.lag):
            assert front_of.get((row - 1, column + dx), -1) < index
        assert front_of.get((row, column - 1), -1) < index
    orders = list(schedule.orders(2, 3))
    assert len(orders) == schedule.streams
    assert sorted(np.concatenate(orders).tolist()) == list(range(6 * schedule.height * schedule.width))


# ---- files


def archive(exact: PixelModel, some: list[Tensor], names: list[list[str]] | None = None) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, exact, "a model")
    for index, images in enumerate(some):
        writer.add(images.numpy(), names[index] if names else [], nothing)
    writer.close()
    assert writer.size == len(file.getvalue())
    return file.getvalue()


def test_an_archive_holds_images_of_several_sizes_with_names() -> None:
    _, exact = exact_model("local, softmax")
    some = [images_of(exact, 2, (5, 4)), images_of(exact, 1, (3, 9))]
    reader = Reader(io.BytesIO(archive(exact, some, [["a", "b/c"], ["ä"]])))
    reader.check_model(exact)
    found = list(reader.blocks())
    assert (reader.header.model, reader.header.channels, reader.header.levels) == ("a model", 1, 9)
    assert [block.names for block in found] == [["a", "b/c"], ["ä"]]
    for block, images in zip(found, some, strict=True):
        assert np.array_equal(reader.decode(exact, block, nothing), images.numpy())


@every_model
def test_a_file_is_never_much_larger_than_its_pixels(name: str) -> None:
    """Images for which the model is of no use: they are stored."""
    _, exact = exact_model(name)
    for size in ((1, 1), (9, 7), (30, 20)):
        images = images_of(exact, 1, size)
        assert len(exact.compress(images)) <= images.numel() + 64 + 5 * (images.numel() // 65535)


def test_what_cannot_be_compressed_says_why() -> None:
    model, exact = exact_model("local, softmax")
    with pytest.raises(CodecError, match=r"Only an exact model compresses: make one with .*model\.quantised"):
        model.compress(images_of(model, 1))
    blob = exact.compress(images_of(exact, 1))
    _, other = exact_model("local, softmax")
    next(other.network.parameters()).data.flatten()[0] += 1
    with pytest.raises(CodecError, match="compressed with another model"):
        other.decompress(blob)
    with pytest.raises(CodecError, match="not a compressed file"):
        exact.decompress(b"\x89PNG" + blob)
    with pytest.raises(CodecError, match="version 3, but this package reads 1 and 2"):
        exact.decompress(blob[:5] + b"\x03" + blob[6:])
    with pytest.raises(CodecError, match="several sizes"):
        exact.decompress(archive(exact, [images_of(exact, 1, (2, 2)), images_of(exact, 1, (3, 3))]))
    assert exact.decompress(archive(exact, [])).shape == (0, 1, 1, 1)


def damaged(chance: random.Random, files: list[bytes]) -> bytes:
    """One of the files, cut, extended, with a flipped bit or another byte, or with bytes left out."""
    data = bytearray(chance.choice(files))
    kind, at = chance.randrange(5), chance.randrange(len(data))
    if kind == 0:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data += bytes(chance.randrange(1, 9))
    elif kind == 3:
        data[at] = (data[at] + chance.randrange(1, 256)) % 256
    else:
        del data[at : at + chance.randrange(1, 9)]
    return bytes(data)


@pytest.mark.parametrize("name", ["local, masked", "gated, labels"])
@pytest.mark.parametrize("checksums", [True, False])
def test_a_damaged_file_is_an_error_and_never_another_picture(
    name: str, checksums: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many files (PIXELRNN_FUZZ says how many); also without the checksums of heads and contents, as if a hand had
    corrected them. What is read before an error is never a picture that was not there."""
    chance = random.Random(0)
    _, exact = exact_model(name)
    exact = exact.float()
    some = [images_of(exact, 2, (6, 5)), images_of(exact, 1, (2, 2)), exact.sample(2, size=(12, 9), seed=0)]
    files, true = [exact.compress(images) for images in some], {images.numpy().tobytes() for images in some}
    monkeypatch.setenv("PIXELRNN_MEMORY_LIMIT", str(1 << 31))
    if not checksums:
        monkeypatch.setattr(Reader, "_check", lambda self, data, what: self.file.read(4))
    outcomes = {"error": 0, "intact": 0}
    for _ in range(int(os.environ.get("PIXELRNN_FUZZ", 1000))):
        try:
            found = exact.decompress(damaged(chance, files))
        except CodecError:
            outcomes["error"] += 1
            continue
        assert not checksums, "a damaged file passes"
        assert len(found) == 0 or found.numpy().tobytes() in true
        outcomes["intact"] += 1
    assert outcomes["error"] > 0.8 * sum(outcomes.values())


def test_streams_that_are_damaged_behind_the_checksums_are_errors_too() -> None:
    """A file that was damaged on purpose, with the right checksums."""
    chance = random.Random(0)
    _, exact = exact_model("local, masked")
    for model in (exact.float(), exact.double()):
        images = images_of(model, 2, (6, 5))
        streams = streams_of(model, images)
        for _ in range(100):
            data = bytearray(streams[0])
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            try:
                found = decoded(model, [bytes(data)], 2, (6, 5))
            except CodecError:
                continue
            assert not np.array_equal(found, images.numpy())
        for data in (streams[0][:-4], streams[0] + bytes(4), b"", bytes(8), streams[0][:-1]):
            with pytest.raises(CodecError):
                decoded(model, [data], 2, (6, 5))
        with pytest.raises(CodecError, match="1 streams, but there are 2"):
            decoded(model, streams * 2, 2, (6, 5))


def test_a_block_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    _, exact = exact_model("pixelcnn, binary")
    images = exact.sample(40, seed=0, method="cached")
    monkeypatch.setattr(archive_file, "decode", lambda *_: np.ones((40, 1, 9, 7), np.uint8))
    with pytest.raises(CodecError, match="the arithmetic of this machine is not exact"):
        exact.compress(images)
    assert exact.compress(images, verify=False)


# ---- files of earlier versions

GOLDEN = sorted((Path(__file__).parents[1] / "golden").iterdir())


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: folder.name)
def test_files_of_earlier_versions_are_decoded_for_ever(folder: Path) -> None:
    exact, data = pixelrnn.load(folder), (folder / "images.prnn").read_bytes()
    for model in (exact, exact.double()):
        images, labels = model.decompress(data, labels=True)
        assert hashlib.sha256(images.numpy().tobytes()).hexdigest() == (folder / "images.sha256").read_text().strip()
        assert model.compress(images, label=labels if model.takes_labels else None) == data


def test_a_block_that_does_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _, exact = exact_model("local, masked")
    images = exact.float().sample(1, size=(40, 20), seed=0)
    blob = exact.compress(images, verify=False)
    monkeypatch.setenv("PIXELRNN_MEMORY_LIMIT", "10000")
    for work in (lambda: exact.compress(images), lambda: exact.decompress(blob)):
        with pytest.raises(MemoryLimitError, match="A block of 2,400 values"):
            work()
