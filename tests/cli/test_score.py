"""pixelrnn score: tables, maps and comparisons, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from command import Cli
from PIL import Image

import pixelrnn
from pixelrnn.cli.score import KINDS as KINDS_OF_THE_COMMAND
from pixelrnn.data import load_data
from pixelrnn.measure.evaluation import levels_for
from pixelrnn.measure.scores import KINDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 8 x 8 digits, of random weights, that says what usual images take."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "digits"
    model = pixelrnn.build("pixelcnn", size=(8, 8), levels=16, layers=1, width=4)
    model.about = {"progress": {"bits_per_dim": 4.0}}
    model.save(folder)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_kinds_of_the_command_are_those_of_the_library() -> None:
    assert KINDS_OF_THE_COMMAND == KINDS


def test_a_table_has_every_image_the_strangest_first(cli: Cli, folder: Path, tmp_path: Path) -> None:
    out, maps = tmp_path / "scores.csv", tmp_path / "maps.png"
    result = cli("score", folder, "--data", "digits", "--count", 30, "-o", out, "--maps", maps, "--against", folder)
    assert result.status == 0, result.err
    assert f"{out}  {maps}  16 of 30 images, the strangest first by bits" in result.out
    data = load_data("digits", "test")
    model = pixelrnn.load(folder)
    bits = pixelrnn.scores(model, torch.from_numpy(levels_for(model, data).fixed(data.images)[:30])).images
    rows = rows_of(out)
    assert list(rows[0]) == ["image", "bits", "typicality", "ratio", "complexity"]
    assert [row["image"] for row in rows] == [f"digits test {index}" for index in bits.argsort(descending=True)]
    assert [float(row["bits"]) for row in rows] == pytest.approx(bits.sort(descending=True).values.tolist(), abs=1e-5)
    assert {float(row["ratio"]) for row in rows} == {0.0}
    with Image.open(maps) as drawn:
        assert drawn.width > 500
    assert len(result.out.splitlines()) == 17
    assert "16 of 30 images" in result.out


def test_maps_are_averaged(cli: Cli, folder: Path, tmp_path: Path) -> None:
    drawn = []
    for side in (1, 3, 5):
        maps = tmp_path / f"maps-{side}.png"
        assert cli("score", folder, "--data", "digits", "--count", 3, "--maps", maps, "--smooth", side).status == 0
        drawn.append(maps.read_bytes())
    assert len(set(drawn)) == 3


def test_pictures_of_any_size_are_scored_by_another_kind(cli: Cli, folder: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, size in enumerate([(8, 8), (12, 9), (8, 8)]):
        noise = np.random.default_rng(number).integers(0, 256, size).astype(np.uint8)
        Image.fromarray(noise).save(pictures / f"{number}.png")
    result = cli("score", folder, pictures, pictures / "0.png", "--kind", "typicality", "-o", tmp_path / "a.csv")
    assert result.status == 0, result.err
    assert "1.png is scored at 12x9; to resize pictures:  --size 8x8" in result.err
    rows = rows_of(tmp_path / "a.csv")
    assert sorted(row["image"][-5:] for row in rows) == ["0.png", "0.png", "1.png", "2.png"]
    found = [float(row["typicality"]) for row in rows]
    assert found == sorted(found, reverse=True)
    assert all(abs(abs(float(row["bits"]) - 4.0) - float(row["typicality"])) < 1e-5 for row in rows)
    assert "trained on" not in cli("score", folder, pictures, "--size", "8x8").err


def test_sets_are_compared_by_every_kind(cli: Cli, folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "black.npz", test_images=np.zeros((9, 8, 8), np.uint8), values=256)
    odd = tmp_path / "black.npz"
    result = cli("score", folder, "--normal", "digits", "--odd", odd, "--count", 9, "--values", 17)
    assert result.status == 0, result.err
    first, *kinds = result.out.splitlines()
    assert first == f"{odd} (9) against digits (9)"
    np.save(tmp_path / "unsplit.npy", np.zeros((20, 8, 8), np.uint8) + 16)
    whole = cli("score", folder, "--normal", "digits", "--odd", tmp_path / "unsplit.npy", "--values", 17)
    assert "unsplit.npy (20) against digits (300)" in whole.out, whole.err
    assert [line.split()[0] for line in kinds] == ["bits", "typicality", "complexity"]
    assert all("AUROC 0." in line or "AUROC 1." in line for line in kinds)


def test_sets_are_compared_given_a_class(cli: Cli, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = pixelrnn.build("pixelcnn", size=(8, 8), levels=17, layers=1, width=4, classes=10)
    with torch.no_grad():
        model.condition.label.weight.mul_(10)
    model.save(tmp_path / "model")
    np.save(tmp_path / "odd.npy", np.random.default_rng(0).integers(0, 17, (20, 8, 8), dtype=np.uint8))
    found = {
        cli(
            "score", tmp_path / "model", "--normal", "digits", "--odd", tmp_path / "odd.npy", "--values", 17, *flags
        ).out
        for flags in ((), ("--label", 3), ("--label", 4))
    }
    assert len(found) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "odd"], "kind of score 'odd'"),
        (["--kind", "ratio"], "--kind ratio needs another model"),
        (["--kind", "complexity", "--maps", "a.png"], "is of whole images and has no map"),
        (["--normal", "digits"], "--normal SET and --odd SET"),
        (["--normal", "digits", "--odd", "digits"], "must be different data sets"),
        (["--normal", "digits", "--odd", "mnist", "--size", "8x8"], "--size is for pictures"),
        (["a.npy"], "a.npy is an array and no picture. Give it as a data set:  --data a.npy"),
        ([], "Give either pictures or --data"),
        (["--data", "digits", "-o", "a.txt"], "must end in .csv"),
        (["--data", "digits", "--maps", "a.png", "--smooth", "4"], "an odd number of pixels, such as 3, not 4"),
        (["--data", "digits", "--smooth", "3"], "give --maps as well"),
        (["--data", "digits", "--against", "cifar10-tiny"], "must be of the same pixels"),
    ],
)
def test_wrong_use_is_one_clear_sentence(cli: Cli, folder: Path, arguments: list[str], message: str) -> None:
    result = cli("score", folder, *arguments)
    assert result.status in (1, 2)
    assert message in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("channels", [2, 4, 8])
def test_maps_of_any_number_of_channels_are_drawn(channels: int, cli: Cli, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pixelrnn.build("pixelcnn", size=(8, 8), channels=channels, levels=4, layers=1, width=8).save(tmp_path / "model")
    np.save(tmp_path / "many.npy", np.random.default_rng(0).integers(0, 4, (20, channels, 8, 8), dtype=np.uint8))
    flags = ("--values", 4, "--split", "all", "--maps", tmp_path / "maps.png")
    result = cli("score", tmp_path / "model", "--data", tmp_path / "many.npy", *flags)
    assert result.status == 0, result.err
    assert (tmp_path / "maps.png").stat().st_size


def test_broken_pictures_of_a_set_are_an_error_and_not_a_smaller_set(cli: Cli, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    for number in range(20):
        Image.new("L", (8, 8), number % 17).save(tmp_path / "odd" / f"{number:02}.png")
    good = cli("score", folder, "--normal", "digits", "--odd", tmp_path / "odd", "--values", 17)
    assert "odd (20) against digits (300)" in good.out, good.err
    (tmp_path / "odd" / "00.png").write_bytes(b"no picture")
    broken = cli("score", folder, "--normal", "digits", "--odd", tmp_path / "odd", "--values", 17)
    assert (broken.status, "00.png cannot be read" in broken.err) == (1, True), broken.out


def test_an_input_is_not_overwritten(cli: Cli, folder: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    result = cli("score", folder, tmp_path / "a.png", "--maps", tmp_path / "a.png")
    assert (result.status, "would overwrite an input" in result.err) == (2, True)


def test_maps_of_large_pictures_are_large(cli: Cli, folder: Path, tmp_path: Path) -> None:
    widths = []
    for name, size in (("small", (20, 10)), ("large", (400, 200))):
        Image.effect_noise(size, 50).save(tmp_path / f"{name}.png")
        maps = tmp_path / f"{name}-maps.png"
        assert cli("score", folder, tmp_path / f"{name}.png", "--maps", maps).status == 0
        with Image.open(maps) as picture:
            widths.append(picture.width)
    assert widths[1] > 2 * 400 > widths[0]


def test_broken_pictures_are_left_out_on_request(cli: Cli, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("no picture")
    Image.effect_noise((40, 40), 50).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:500])  # its header is whole
    only_broken = cli("score", folder, tmp_path, "--skip-broken")
    assert only_broken.status == 1
    Image.new("L", (8, 8)).save(tmp_path / "fine.png")
    result = cli("score", folder, tmp_path, "--skip-broken")
    assert result.status == 0
    assert result.out.startswith(f"{tmp_path / 'fine.png'}   bits")
    assert "1 image, the strangest first" in result.out
    assert all(f"left out: {tmp_path / name}" in result.err for name in ("words.png", "cut.png"))
    assert "--skip-broken" in cli("score", folder, tmp_path).err


def test_all_broken_pictures_are_named_before_anything_is_scored(cli: Cli, folder: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    for name in ("b.png", "c.png"):
        (tmp_path / name).write_text("no picture")
    result = cli("score", folder, tmp_path)
    assert result.status == 1
    assert all(name in result.err for name in ("b.png", "c.png"))
