"""The commands on conditional models: conditioned on a class, a code, or a degraded picture."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command import Cli, Result
from PIL import Image

import pixelrnn
from pixelrnn.data import load_data
from pixelrnn.errors import ConfigError, DataError
from pixelrnn.measure.evaluation import accuracy, evaluate, levels_for
from pixelrnn.model.conditions import degraded, enlarged
from pixelrnn.report.sheets import interpolations, map_in_bytes

FAILED, MISUSED = 1, 2


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def tiles_of(path: Path, rows: int, columns: int, size: int = 8) -> np.ndarray:
    """The images of a sheet, (rows, columns, size, size) bytes; it must be a sheet of that many."""
    sheet = pixels_of(path)
    pixel = sheet.shape[1] // (columns * (size + 1) + 1)
    small = sheet[::pixel, ::pixel]
    assert sheet.shape == (pixel * (rows * (size + 1) + 1), pixel * (columns * (size + 1) + 1))
    tiles = small[1:, 1:].reshape(rows, size + 1, columns, size + 1)[:, :size, :, :size]
    return tiles.swapaxes(1, 2)


def digit(path: Path, index: int = 0, enlargement: int = 1) -> Path:
    """A digit of the test split as a picture that is read back as the same levels."""
    image = load_data("digits", "test").images[index, 0]
    smallest = np.ceil(image * 256.0 / 17).astype(np.uint8)  # of the bytes of a level
    Image.fromarray(smallest).resize((8 * enlargement,) * 2, Image.Resampling.NEAREST).save(path)
    return path


def in_bytes(levels: np.ndarray) -> np.ndarray:
    return np.round(levels * (255 / 16)).astype(int)


def assert_done(result: Result, note: str = "") -> None:
    assert result.status == 0, result.err
    assert (note in result.err) if note else (result.err == ""), result.err


def assert_refused(result: Result, status: int, *words: str) -> None:
    assert result.status == status, (result.out, result.err)
    assert result.err.startswith("error: ")
    for word in words:
        assert word in result.err, result.err


def drawn(cli: Cli, tmp_path: Path, folder: Path, *arguments: object, note: str = "") -> np.ndarray:
    array = tmp_path / "drawn.npy"
    assert_done(cli("sample", folder, "-o", tmp_path / "x.png", "--array", array, "--seed", 1, *arguments), note)
    return np.load(array)


def test_a_label_is_a_number_or_a_name_and_the_seed_decides(cli: Cli, class_run: Path, tmp_path: Path) -> None:
    threes = drawn(cli, tmp_path, class_run, "--label", 3, "-n", 4)
    assert (threes == pixelrnn.load(class_run).sample(4, label=3, seed=1).numpy()).all()
    named = tmp_path / "named"
    shutil.copytree(class_run, named)
    config = json.loads((named / "config.json").read_text())
    config["about"]["class_names"] = ["nil", "one", "two", "three", *"987654"]
    (named / "config.json").write_text(json.dumps(config))
    for label in ("three", 3):
        assert (drawn(cli, tmp_path, named, "--label", label, "-n", 4) == threes).all()
    assert (threes != drawn(cli, tmp_path, class_run, "--label", 4, "-n", 4)).any()
    sixes = drawn(cli, tmp_path, named, "--label", 7, "-n", 4)  # a name wins over a number
    assert (sixes == pixelrnn.load(class_run).sample(4, label=6, seed=1).numpy()).all()
    assert_refused(cli("sample", named, "--label", "tree"), MISUSED, "no class 'tree'", "Did you mean 'three'?")
    assert_refused(cli("sample", named, "--label", "10"), MISUSED, "no class number 10", "0..9")


def test_all_labels_are_a_row_each(cli: Cli, class_run: Path, tmp_path: Path) -> None:
    images = drawn(cli, tmp_path, class_run, "--label", "all", "-n", 3)
    labels = torch.arange(10).repeat_interleave(3)
    assert (images == pixelrnn.load(class_run).sample(30, label=labels, seed=1).numpy()).all()
    assert (tiles_of(tmp_path / "x.png", 10, 3) == in_bytes(images).reshape(10, 3, 8, 8)).all()


def test_guidance_is_passed_on_and_needs_a_condition(cli: Cli, class_run: Path, run: Path, tmp_path: Path) -> None:
    images = drawn(cli, tmp_path, class_run, "--label", 3, "--guidance", 3, "-n", 4)
    assert (images == pixelrnn.load(class_run).sample(4, label=3, guidance=3, seed=1).numpy()).all()
    assert (images != drawn(cli, tmp_path, class_run, "--label", 3, "-n", 4)).any()
    picture = digit(tmp_path / "a.png")
    for folder, one, other in (
        (run, "takes no --guidance", "takes no --guidance"),
        (class_run, "--label or --like", "use it with --label"),
    ):
        assert_refused(cli("sample", folder, "--guidance", 2), MISUSED, one)
        assert_refused(cli("complete", folder, picture, "--keep", "top", "--guidance", 2), MISUSED, other)


def test_a_missing_condition_is_noted_and_the_model_is_used_without(
    cli: Cli, class_run: Path, code_run: Path, half_run: Path, run: Path, tmp_path: Path
) -> None:
    for folder, note in ((class_run, "--label"), (code_run, "--like"), (half_run, "pixelrnn restore"), (run, "")):
        images = drawn(cli, tmp_path, folder, "-n", 2, note=note)
        assert (images == pixelrnn.load(folder).sample(2, seed=1).numpy()).all()


def test_like_conditions_on_the_code_of_a_picture_of_any_size(cli: Cli, code_run: Path, tmp_path: Path) -> None:
    model = pixelrnn.load(code_run)
    image = torch.from_numpy(load_data("digits", "test").images[:1].copy())
    expected = model.sample(3, vector=model.encode(image).detach()[0], seed=1).numpy()
    for enlargement in (1, 4):
        picture = digit(tmp_path / "a.png", enlargement=enlargement)
        assert (drawn(cli, tmp_path, code_run, "--like", picture, "-n", 3) == expected).all()
    assert (drawn(cli, tmp_path, code_run, "--like", digit(tmp_path / "b.png", 1), "-n", 3) != expected).any()
    Image.open(picture).convert("RGB").crop((0, 0, 40, 32)).save(tmp_path / "wide.png")
    assert drawn(cli, tmp_path, code_run, "--like", tmp_path / "wide.png", "-n", 3).shape == expected.shape


def test_complete_takes_a_label_and_guidance(cli: Cli, class_run: Path, tmp_path: Path) -> None:
    picture, out = digit(tmp_path / "a.png"), tmp_path / "out.png"
    base = ["complete", class_run, picture, "--keep", "top", "-n", 2, "--seed", 1, "-o", out]
    assert_done(cli(*base), "--label sets one")
    assert_done(cli(*base, "--label", 4, "--guidance", 2))
    image = torch.from_numpy(load_data("digits", "test").images[:1].copy()).repeat(2, 1, 1, 1)
    known = torch.arange(8)[:, None].expand(8, 8) < 4
    expected = pixelrnn.load(class_run).complete(image, known, label=4, guidance=2, seed=1).numpy()
    assert (tiles_of(out, 1, 4)[0, 2:] == in_bytes(expected)[:, 0]).all()


def test_interpolation_ends_at_the_two_codes_with_one_row_of_random_numbers(
    cli: Cli, code_run: Path, tmp_path: Path
) -> None:
    a, b, out = digit(tmp_path / "a.png"), digit(tmp_path / "b.png", 1, enlargement=3), tmp_path / "strip.png"
    arguments = ["interpolate", code_run, a, b, "--steps", 5, "--rows", 3, "-o", out]
    assert_done(cli(*arguments, "--seed", 2))
    tiles = tiles_of(out, 3, 7)
    model = pixelrnn.load(code_run)
    ends = torch.from_numpy(load_data("digits", "test").images[:2].copy())
    codes = model.encode(ends).detach()
    for column, end in ((0, 0), (6, 1)):
        assert (tiles[:, column] == in_bytes(ends[end].numpy())).all()
    for column, code in ((1, codes[0]), (3, torch.nn.functional.normalize(codes.mean(0), dim=0)), (5, codes[1])):
        assert (tiles[:, column] == in_bytes(model.sample(3, vector=code, seed=2).numpy())[:, 0]).all()
    assert (tiles[:, 1] != tiles[:, 5]).any()
    before = out.read_bytes()
    assert_done(cli(*arguments, "--seed", 2))
    assert out.read_bytes() == before
    assert_done(cli(*arguments, "--seed", 3))
    assert out.read_bytes() != before


def test_between_two_equal_images_every_step_is_the_same(code_run: Path) -> None:
    image = torch.from_numpy(load_data("digits", "test").images[:1].copy())
    images = interpolations(pixelrnn.load(code_run), image.repeat(2, 1, 1, 1), 4, 2)
    assert images.shape == (2, 4, 1, 8, 8)
    assert (images == images[:, :1]).all()
    assert (images[0] != images[1]).any()


def test_reconstruct_shows_pictures_or_data_and_prints_nats(cli: Cli, code_run: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "out.png", pixelrnn.load(code_run)
    images = torch.from_numpy(load_data("digits", "test").images[:2].copy())
    codes = model.encode(images).detach()
    nats = -model.log_prob(images, vector=codes).mean().item()
    samples = model.sample(6, vector=codes.repeat_interleave(3, 0), seed=1).numpy()
    pictures = [digit(tmp_path / "a.png"), digit(tmp_path / "b.png", 1)]
    for source in (pictures, ["--data", "digits", "--count", 2]):
        result = cli("reconstruct", code_run, *source, "-n", 3, "--seed", 1, "-o", out)
        assert_done(result)
        assert result.out.startswith(f"{out}  {nats:.2f} nats/image given the code   2 images, 3 reconstructions")
        tiles = tiles_of(out, 2, 4)
        assert (tiles[:, 0] == in_bytes(images.numpy())[:, 0]).all()
        assert (tiles[:, 1:] == in_bytes(samples).reshape(2, 3, 8, 8)).all()


def test_arrays_of_levels_must_be_called_so(cli: Cli, code_run: Path, half_run: Path, tmp_path: Path) -> None:
    drawn, out = tmp_path / "drawn.npz", ["-o", tmp_path / "out.png"]
    images = load_data("digits", "test").images[:3]
    np.savez(drawn, test_images=images)
    for verb, *rest in (("evaluate", code_run), ("reconstruct", code_run, *out), ("restore", half_run, *out)):
        assert_refused(cli(verb, *rest, "--data", drawn), MISUSED, "above 16", "--values 17", "--values 256")
        assert_done(cli(verb, *rest, "--data", drawn, "--values", 17))
        assert_done(cli(verb, *rest, "--data", drawn, "--values", 256))
    model = pixelrnn.load(code_run)
    codes = model.encode(torch.from_numpy(images)).detach()
    nats = -model.log_prob(torch.from_numpy(images), vector=codes).mean().item()
    assert cli("evaluate", code_run, "--data", drawn, "--values", 17).out.startswith(f"{nats:.2f} nats/image")


@pytest.mark.parametrize("kind", ["half", "blur"])
def test_restore_shows_and_prints_the_most_probable_first(
    cli: Cli, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    folder, out = request.getfixturevalue(f"{kind}_run"), tmp_path / "out.png"
    images = torch.from_numpy(load_data("digits", "test").images[:2].copy())
    maps = degraded(images, 17, kind)
    pictures = [digit(tmp_path / "a.png"), digit(tmp_path / "b.png", 1)]
    for source in (pictures, ["--data", "digits", "--count", 2]):
        result = cli("restore", folder, *source, "-n", 3, "--seed", 1, "-o", out)
        assert_done(result)
        tiles = tiles_of(out, 2, 5)
        assert (tiles[:, 0] == in_bytes(images.numpy())[:, 0]).all()
        assert (tiles[:, 1] == map_in_bytes(maps).numpy()[:, 0]).all()
        levels = torch.from_numpy(np.round(tiles[:, 2:] * (16 / 255)).astype(np.uint8))
        condition = maps.repeat_interleave(3, 0)
        nats = -pixelrnn.load(folder).log_prob(levels.reshape(6, 1, 8, 8), condition_map=condition).reshape(2, 3)
        assert (nats.diff(dim=1) >= 0).all()
        for line, mine in zip(result.out.splitlines(), nats.tolist(), strict=False):
            printed = [float(each) for each in re.findall(r"(?<=   )[\d.]+", line)]
            assert printed == pytest.approx(mine, abs=0.01)
            assert line.count("(best)") == 1


def test_a_picture_of_half_the_size_is_restored_as_it_is(cli: Cli, half_run: Path, tmp_path: Path) -> None:
    small = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17
    Image.fromarray(small).save(tmp_path / "small.png")
    out = tmp_path / "out.png"
    arguments = ["restore", half_run, tmp_path / "small.png", "-n", 2, "--seed", 1, "-o", out]
    assert_done(cli(*arguments))
    tiles = tiles_of(out, 1, 3)
    assert (tiles[0, 0] == np.kron(small, np.ones((2, 2)))).all()
    map_ = enlarged(torch.from_numpy(small)[None, None] / 127.5 - 1, (8, 8))[0]
    expected = in_bytes(pixelrnn.load(half_run).sample(2, condition_map=map_, seed=1).numpy())[:, 0]
    assert sorted(tiles[0, 1:].tolist()) == sorted(expected.tolist())
    assert_done(cli(*arguments, digit(tmp_path / "whole.png")))
    both = tiles_of(out, 2, 4)
    assert (both[0, 0] == 128).all()  # there is no whole picture
    assert (both[1, 0] == in_bytes(load_data("digits", "test").images[0, 0])).all()
    large = digit(tmp_path / "large.png", enlargement=2)
    assert_done(cli("restore", half_run, large, "-o", out), "16x16: resized to 8x8, then degraded")


def test_evaluate_classifies_by_bayes_rule(cli: Cli, class_run: Path) -> None:
    arguments = ["evaluate", class_run, "--classify", "--count", 40]
    line, as_json = cli(*arguments), json.loads(cli(*arguments, "--json", "--batch-size", 7).out)
    assert_done(line)
    share, error = as_json["accuracy"], as_json["accuracy_standard_error"]
    assert f"\naccuracy {100 * share:.1f} % +- {100 * error:.1f} (40 images, Bayes' rule)\n" in line.out
    data, model = load_data("digits", "test"), pixelrnn.load(class_run)
    assert data.labels is not None
    right = model.classify(torch.from_numpy(data.images[:40].copy())).numpy() == data.labels[:40]
    assert share == pytest.approx(right.mean())
    beta = np.random.default_rng(0).beta(1 + right.sum(), 1 + (~right).sum(), 200_000)
    assert error == pytest.approx(beta.std(), rel=0.02)
    assert as_json["images"] == 40


def test_evaluate_compares_codes(cli: Cli, code_run: Path) -> None:
    arguments = ["evaluate", code_run, "--verify", "--count", 40]
    line, found = cli(*arguments), json.loads(cli(*arguments, "--json").out)["verification"]
    assert_done(line)
    data, model = load_data("digits", "test"), pixelrnn.load(code_run)
    codes, labels = model.encode(torch.from_numpy(data.images[:40].copy())), torch.from_numpy(data.labels[:40])
    between = torch.pdist(codes).double()
    same = torch.tensor([bool(one == two) for one, two in itertools.combinations(labels, 2)])
    ordered = (between[same][:, None] < between[~same][None]).double().mean()
    assert found["auc"] == pytest.approx(float(ordered), abs=1e-3)
    assert (found["images"], found["same_pairs"]) == (40, int(same.sum()))
    assert f"verification: AUC {found['auc']:.3f}, equal error rate {found['equal_error_rate']:.3f}" in line.out


def test_evaluate_counts_and_leaves_the_condition_out(cli: Cli, class_run: Path) -> None:
    model, images = pixelrnn.load(class_run), torch.from_numpy(load_data("digits", "test").images[:30].copy())
    found = json.loads(cli("evaluate", class_run, "--count", 30, "--no-condition", "--json").out)
    assert found["nats"] == pytest.approx(-model.log_prob(images).mean().item(), rel=1e-5)
    assert "given" not in found["protocol"]
    condition = json.loads(cli("evaluate", class_run, "--count", 30, "--json").out)
    assert condition["nats"] != found["nats"]
    assert condition["protocol"].endswith("given the class of the image")


def test_the_first_images_are_binarised_as_in_the_whole_split() -> None:
    data = load_data("digits", "test")
    model = pixelrnn.build("pixelcnn", size=(8, 8), levels=2, layers=1, width=2)
    whole = torch.from_numpy(levels_for(model, data).fixed(data.images)[:20])
    seen: list[tuple[int, int]] = []
    result = evaluate(model, data, count=20, on_batch=lambda *each: seen.append(each), batch_size=15)
    assert result.nats == pytest.approx(-model.log_prob(whole).mean().item())
    assert seen == [(15, 20), (20, 20)]
    with pytest.raises(ConfigError, match="1 or more"):
        evaluate(model, data, count=0)


def test_other_classes_than_the_models_are_refused(class_run: Path) -> None:
    import dataclasses

    model, data = pixelrnn.load(class_run), load_data("digits", "test")
    other = dataclasses.replace(data, class_names=("cat", *data.class_names[1:]))
    for measure in (accuracy, evaluate):
        with pytest.raises(DataError, match="cat, 1, 2"):
            measure(model, other, count=2)
    assert evaluate(model, other, count=2, use_condition=False).images == 2
    with pytest.raises(DataError, match="no classes"):
        accuracy(model, dataclasses.replace(data, labels=None, class_names=()), count=2)


def test_what_does_not_fit_the_model_is_one_sentence(
    cli: Cli, run: Path, code_run: Path, half_run: Path, tmp_path: Path
) -> None:
    a, b, out = digit(tmp_path / "a.png"), digit(tmp_path / "b.png", 1), tmp_path / "none.png"
    for verb in (["sample", run], ["complete", code_run, a, "--keep", "top"]):
        assert_refused(
            cli(*verb, "--label", 3, "-o", out),
            MISUSED,
            "not conditioned on classes",
            "pixelrnn train mnist-gated-class",
        )
    assert_refused(cli("sample", run, "--label", "all", "-o", out), MISUSED, "not conditioned on classes")
    for verb in (["sample", run, "--like", a], ["interpolate", run, a, b], ["reconstruct", run, a]):
        words = ("no encoder", "pixelrnn train mnist-autoencoder", "pixelrnn train faces")
        assert_refused(cli(*verb, "-o", out), MISUSED, *words)
    for folder in (run, code_run):
        assert_refused(cli("restore", folder, a, "-o", out), MISUSED, "pixelrnn train mnist-restore")
    for pictures in ([a], [a, b, a]):
        assert_refused(cli("interpolate", code_run, *pictures, "-o", out), MISUSED, "two pictures")
    for name, folder in (("reconstruct", code_run), ("restore", half_run)):
        assert_refused(cli(name, folder, "-o", out), MISUSED, "Give either")
        assert_refused(cli(name, folder, a, "--data", "digits", "-o", out), MISUSED, "Give either")
        assert_refused(cli(name, folder, "--data", "minst", "-o", out), MISUSED, "Did you mean 'mnist'?")
        assert_refused(cli(name, folder, tmp_path / "nothing.png", "-o", out), FAILED, "no file", "nothing.png")
    assert_refused(cli("evaluate", run, "--classify", "--count", 3), MISUSED, "not conditioned on labels")
    assert_refused(cli("evaluate", run, "--verify", "--count", 3), MISUSED, "no encoder")
    assert not out.exists()
