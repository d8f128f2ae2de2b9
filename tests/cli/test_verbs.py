"""Every verb does its work, prints one result on standard output, and ends with 0."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from command import Cli
from PIL import Image
from typer.main import get_command

import pixelrnn
from pixelrnn.cli import app
from pixelrnn.data import load_data
from pixelrnn.measure.evaluation import levels_for
from pixelrnn.model.options import ConditionOptions
from pixelrnn.report.sheets import completion_sheet
from pixelrnn.training.presets import DataSettings, TrainingSettings


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


VERBS = list(get_command(app).commands)


def test_importing_and_help_load_no_heavy_library() -> None:
    code = (
        "import sys, pixelrnn, pixelrnn.cli; sys.argv = ['pixelrnn', '--help']\n"
        "try: pixelrnn.cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'lightning', 'numpy', 'sklearn', 'PIL', 'matplotlib', 'rich', 'fastapi'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example_in_its_help(cli: Cli, verb: str) -> None:
    result = cli(verb, "--help")
    assert result.status == 0
    assert f"pixelrnn {verb}" in re.sub(r"\s+", " ", result.out)
    assert re.search(r"Examples?:", result.out)


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"pixelrnn {pixelrnn.__version__}\n"


def test_list_names_presets_networks_and_data(cli: Cli) -> None:
    names = {"presets": "digits", "networks": "gated-pixelcnn", "data": "cifar10", "settings": "training.ema"}
    for what, name in names.items():
        alone, everything = cli("list", what), cli("list")
        assert alone.status == everything.status == 0
        assert re.search(rf"^{name} ", alone.out, re.M)
        assert re.search(rf"^  {name} ", everything.out, re.M)


def test_list_settings_says_what_every_key_means(cli: Cli) -> None:
    rows = re.findall(r"^(\w+)\.(\w+) +\S.*\(default .+\)$", cli("list", "settings").out, re.M)
    for section, kind in (("data", DataSettings), ("training", TrainingSettings), ("model", ConditionOptions)):
        assert {(section, key) for key in kind.model_fields} <= set(rows)


def test_train_makes_a_run_and_prints_its_figures(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    small = ["--set", "layers=2", "--set", "width=4", "--set", "batch_size=300"]
    result = cli("train", "digits", "--out", out, "--epochs", 1, "--seed", 3, *small)
    assert result.status == 0, result.err
    assert re.fullmatch(rf"{out}  [\d.]+ nats/image   [\d.]+ bits/dim   validation, .*\n", result.out)
    assert "epoch   1" in result.err
    config = json.loads((out / "config.json").read_text())
    assert config["options"]["width"] == 4
    assert config["about"]["preset"]["training"]["seed"] == 3
    assert "pixelrnn train digits --out" in (out / "README.md").read_text()
    more = cli("train", "digits", "--out", out, "--epochs", 2, "--seed", 3, *small, "--resume")
    assert more.status == 0, more.err
    assert "epoch   2" in more.err
    assert "epoch   1" not in more.err
    assert "come to its end" not in more.err
    again = cli("train", "digits", "--out", out, "--epochs", 2, "--seed", 3, *small, "--resume")
    assert again.out == more.out
    assert "already finished" in again.err


def test_train_on_a_folder_of_pictures(cli: Cli, tmp_path: Path) -> None:
    for index in range(20):
        pixels = np.random.default_rng(index).integers(0, 256, (12, 10, 3), dtype=np.uint8)
        (tmp_path / "photos" / str(index % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / str(index % 2) / f"{index}.png")
    result = cli(
        "train",
        "digits",
        "--out",
        tmp_path / "run",
        "--data",
        tmp_path / "photos",
        "--epochs",
        1,
        "--size",
        "6x5",
        "--set",
        "levels=4",
        "--set",
        "layers=2",
        "--set",
        "width=6",
    )
    assert result.status == 0, result.err
    scored = cli("evaluate", tmp_path / "run", "--json")
    assert scored.status == 0, scored.err
    assert json.loads(scored.out)["images"] == 2
    assert cli("sample", tmp_path / "run", "-n", 2, "-o", tmp_path / "new.png").status == 0
    assert pixels_of(tmp_path / "new.png").ndim == 3


def test_evaluate_prints_a_line_or_json(cli: Cli, run: Path) -> None:
    line, as_json = cli("evaluate", run), cli("evaluate", run, "--json", "--batch-size", 7)
    assert re.match(r"[\d.]+ nats/image   [\d.]+ bits/dim   \+- [\d.]+ nats   300 images   digits test, ", line.out)
    found = json.loads(as_json.out)
    assert found["images"] == 300
    assert found["protocol"] == "17 levels as they are"
    assert line.out.startswith(f"{found['nats']:.2f} nats/image   {found['bits_per_dim']:.4f} bits/dim")
    assert found["bits_per_dim"] == pytest.approx(found["nats"] / (64 * np.log(2)))


def test_sample_writes_a_picture_and_the_same_seed_gives_the_same_integers(cli: Cli, run: Path, tmp_path: Path) -> None:
    arrays = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        picture, array = tmp_path / f"{name}.png", tmp_path / f"{name}.npy"
        result = cli("sample", run, "-n", 5, "--seed", seed, "-o", picture, "--array", array)
        assert result.status == 0, result.err
        assert result.out.startswith(f"{picture}  5 images 8x8   ")
        assert pixels_of(picture).shape[1] > 8
        arrays.append(np.load(array))
    assert arrays[0].shape == (5, 1, 8, 8)
    assert arrays[0].dtype == np.uint8
    assert (arrays[0] == arrays[1]).all()
    assert (arrays[0] != arrays[2]).any()


def test_sample_takes_another_size_and_a_temperature(cli: Cli, run: Path, tmp_path: Path) -> None:
    array = tmp_path / "x.npy"
    result = cli(
        "sample", run, "-n", 2, "--size", "5x20", "--temperature", 0, "-o", tmp_path / "x.png", "--array", array
    )
    assert result.status == 0, result.err
    images = np.load(array)
    assert images.shape == (2, 1, 5, 20)
    assert (images[0] == images[1]).all()  # nothing is random at temperature 0


def digit(path: Path) -> Path:
    from sklearn.datasets import load_digits

    Image.fromarray((load_digits().images[1500] * 15.9375).astype(np.uint8)).save(path)
    return path


KNOWN = [*(("--keep", half) for half in ("top", "left", "bottom", "right")), ("--mask", "mask.png")]


@pytest.mark.parametrize("known", KNOWN)
def test_complete_keeps_what_is_known(cli: Cli, run: Path, tmp_path: Path, known: tuple[str, str]) -> None:
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[:5, :3] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    flag, value = known
    out = tmp_path / "out.png"
    value = tmp_path / value if flag == "--mask" else value
    result = cli("complete", run, digit(tmp_path / "one.png"), "-o", out, flag, value, "-n", 3, "--seed", 1)
    assert result.status == 0, result.err
    assert result.out.startswith(f"{out}  3 completions of 1 picture 8x8")
    kept = torch.zeros(8, 8, dtype=torch.bool)
    halves = {"top": kept[:4], "left": kept[:, :4], "bottom": kept[4:], "right": kept[:, 4:]}
    halves.get(str(value), kept)[:] = True
    if flag == "--mask":
        kept = torch.from_numpy(mask > 0)
    image = torch.from_numpy(pixels_of(tmp_path / "one.png") // 15.1).to(torch.uint8)[None, None]
    expected = completion_sheet(pixelrnn.load(run), image, kept, 3, seed=1)
    assert (pixels_of(out) == np.asarray(expected)).all()


def test_inspect_proves_a_network_of_any_order_in_several(cli: Cli) -> None:
    small = ("--set", "layers=1", "--set", "width=8", "--size", "6x6")
    result = cli("inspect", "pixel-transformer", *small, "--order", "s-curve-3")
    assert "causal: verified in 6 orders" in result.out
    assert "verified in 5 orders" in cli("inspect", "pixel-transformer", *small, "--order", "random-4").out
    assert re.search(r"sees (\d+) of \1 earlier pixels", result.out)
    assert "causal: verified. In" in cli("inspect", "pixelcnn", *small, "--order", "raster").out
    both = cli("inspect", "pixelcnn", "pixel-transformer", *small, "--order", "s-curve-3")
    assert (both.status, both.out.count("causal: verified"), "verified in 6 orders" in both.out) == (0, 2, True)
    wrong = cli("inspect", "pixelcnn", *small, "--order", "s-curve-3")
    assert (wrong.status, "in raster order only" in wrong.err) == (2, True)
    unknown = cli("inspect", "pixel-transformer", *small, "--order", "s-curve-8")
    assert (unknown.status, "There is no order 's-curve-8'. Orders: raster," in unknown.err) == (2, True)


def test_sample_and_evaluate_go_in_the_order_that_is_asked_for(cli: Cli, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = pixelrnn.build("pixel-transformer", size=(8, 8), levels=17, layers=1, width=8)
    model.about = {"preset": {"training": {"orders": ""}}}
    model.save(tmp_path / "model")
    array, out = tmp_path / "samples.npy", tmp_path / "samples.png"
    result = cli(
        "sample", tmp_path / "model", "-n", 2, "--seed", 3, "--order", "s-curve-3", "--array", array, "-o", out
    )
    assert result.status == 0, result.err
    assert "trained in raster order; in the order s-curve-3, images are likely far worse" in result.err
    drawn = pixelrnn.load(tmp_path / "model").sample(2, seed=3, order="s-curve-3")
    assert (np.load(array) == drawn.numpy()).all()
    model.about = {"preset": {"training": {"orders": "s-curves"}}}
    model.save(tmp_path / "curves")
    curves = cli("evaluate", tmp_path / "curves", "--data", "digits", "--count", 2, "--order", "s-curves", "--json")
    assert (curves.status, "worse" in curves.err) == (0, False)
    assert json.loads(curves.out)["protocol"].endswith(", s-curves order")
    orders = ["raster", "random-1"]
    flags = [part for order in orders for part in ("--order", order)]
    result = cli("evaluate", tmp_path / "model", "--data", "digits", "--count", 5, "--json", *flags)
    assert result.status == 0, result.err
    found = json.loads(result.out)
    data = load_data("digits", "test")
    images = torch.from_numpy(levels_for(model, data).fixed(data.images[:5]))
    expected = -pixelrnn.load(tmp_path / "model").log_prob(images, order=orders).detach().double().mean()
    assert found["nats"] == pytest.approx(float(expected), rel=1e-6)
    assert found["protocol"].endswith(", raster + random-1 order")
    assert "trained in raster order; in the order random-1, its likelihood is likely far worse" in result.err
    model.about = {"preset": {"training": {"orders": "random"}}}
    model.save(tmp_path / "random")
    result = cli("evaluate", tmp_path / "random", "--data", "digits", "--count", 2, "--order", "random-1")
    assert (result.status, "trained on" in result.err) == (0, False)
    result = cli("evaluate", tmp_path / "random", "--data", "digits", "--count", 2)
    assert (result.status, "trained on" in result.err) == (0, False), "it chose its best epoch in its own order"
    model = pixelrnn.build("pixel-transformer", size=(8, 8), levels=17, layers=1, width=8, order="s-curve-0")
    model.about = {"preset": {"training": {"orders": "completion"}}}
    model.save(tmp_path / "completion")
    for flags, worse in (([], False), (["--order", "raster"], True)):
        result = cli("evaluate", tmp_path / "completion", "--data", "digits", "--count", 2, *flags)
        assert (result.status, "in the order raster, its likelihood is likely far worse" in result.err) == (0, worse)
    both = cli("evaluate", "mnist", "--classify", "--order", "raster")
    assert (both.status, "leave --order out" in both.err) == (2, True)
    for command in ("sample", "evaluate"):
        wrong = cli(command, "mnist", "--order", "s-curve-0")
        assert (wrong.status, "in raster order only" in wrong.err, "worse" in wrong.err) == (2, True, False)


def test_a_mask_may_have_the_size_of_the_picture_before_it_is_resized(cli: Cli, run: Path, tmp_path: Path) -> None:
    large, mask = tmp_path / "large.png", tmp_path / "mask.png"
    Image.fromarray(np.kron(pixels_of(digit(tmp_path / "one.png")), np.ones((2, 2), np.uint8))).save(large)
    Image.fromarray(np.kron(np.triu(np.full((8, 8), 255, np.uint8)), np.ones((2, 2), np.uint8))).save(mask)
    drawn = []
    for name, resized in (("a.png", mask), ("b.png", tmp_path / "small.png")):
        Image.open(mask).resize((8, 8)).save(tmp_path / "small.png")
        result = cli("complete", run, large, "-o", tmp_path / name, "--size", "8x8", "--mask", resized, "--seed", 1)
        assert result.status == 0, result.err
        drawn.append(pixels_of(tmp_path / name))
    assert (drawn[0] == drawn[1]).all()


def test_inspect_refuses_options_and_files_that_say_nothing(cli: Cli, run: Path) -> None:
    result = cli("inspect", run, "--set", "layers=3")
    assert (result.status, "is a trained model: leave --set out" in result.err) == (2, True)
    result = cli("inspect", run, run / "config.json")
    assert (result.status, "Compressed files are inspected one at a time" in result.err) == (2, True)


def test_a_picture_that_would_take_forever_is_refused_unless_its_size_is_given(cli: Cli, tmp_path: Path) -> None:
    picture, out = tmp_path / "a.png", tmp_path / "out.png"
    Image.new("L", (24, 16), 255).save(picture)
    for network in ("pixelcnn", "pixel-transformer"):
        pixelrnn.build(network, size=(8, 8), levels=2, layers=1, width=8).save(tmp_path / network)
    run = (picture, "--keep", "top", "-n", 1, "-o", out)
    result = cli("complete", tmp_path / "pixel-transformer", *run)
    assert (result.status, "--size 8x8" in result.err, "--size 16x24" in result.err) == (2, True, True)
    assert not out.exists()
    assert cli("complete", tmp_path / "pixel-transformer", *run, "--size", "16x24").status == 0
    assert cli("complete", tmp_path / "pixelcnn", *run).status == 0


def test_complete_says_which_known_pixels_are_not_seen(cli: Cli, tmp_path: Path) -> None:
    picture, out = tmp_path / "a.png", tmp_path / "out.png"
    Image.new("L", (8, 8), 255).save(picture)
    for network, orders, notes in (
        ("pixelcnn", "", True),
        ("pixel-transformer", "completion", False),
        ("pixel-transformer", "raster", True),
        ("lmconv", "s-curves", False),
    ):
        model = pixelrnn.build(network, size=(8, 8), levels=2, layers=1, width=8)
        model.about = {"preset": {"training": {"orders": orders}}}
        model.save(tmp_path / network)
        run = ("complete", tmp_path / network, picture, "-n", 1, "-o", out)
        result = cli(*run, "--keep", "left")
        assert result.status == 0, result.err
        assert ("28 known pixels come later in generation order" in result.err) == notes
        assert "generation order" not in cli(*run, "--keep", "top").err


def test_inspect_proves_a_network_and_a_run(cli: Cli, run: Path, tmp_path: Path) -> None:
    plot = tmp_path / "field.png"
    result = cli("inspect", "pixelcnn", "--set", "layers=3", "--set", "width=4", "--size", "9x9", "--plot", plot)
    assert result.status == 0, result.err
    assert re.search(r"causal: verified\. .*\(\d+ checks\)", result.out)
    assert "sees 39 of 40 earlier pixels, 1 not seen" in result.out
    assert pixels_of(plot).shape[1] > 300
    colour = cli("inspect", "pixelcnn", "--set", "layers=3", "--set", "width=6", "--set", "channels=3", "--size", "9x9")
    assert "sees 39 of 40 earlier pixels, 1 not seen" in colour.out  # its own earlier colours do not count
    own = cli("inspect", run)
    assert own.status == 0
    assert "gated-pixelcnn" in own.out


def test_demo_does_the_main_job_and_is_quick_the_second_time(cli: Cli, tmp_path: Path) -> None:
    preset = tmp_path / "small.toml"
    preset.write_text(
        '[data]\nname = "digits"\nlevels = 17\n[model]\nnetwork = "gated-pixelcnn"\nlayers = 2\nwidth = 4\n'
        "[training]\nepochs = 2\nbatch_size = 200\nema = 0\n"
    )
    out = tmp_path / "demo"
    first = cli("demo", "--out", out, "--preset", preset)
    assert first.status == 0, first.err
    assert first.err.startswith("Training ")
    for row in ("uniform", "histogram of each pixel", "PNG, one sheet", "WebP lossless, one sheet", "this model"):
        assert row in first.out
    assert "181.33 nats/image   4.087 bits/dim" in first.out  # 64 ln 17
    for name in ("samples.png", "completions.png", "receptive_field.png", "report.html", "run/model.safetensors"):
        assert (out / name).is_file()
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    weights = (out / "run" / "model.safetensors").stat().st_mtime_ns
    second = cli("demo", "--out", out, "--preset", preset)
    assert second.out == first.out
    assert second.err == "", "nothing is trained"
    other = cli("demo", "--out", out, "--preset", preset, "--epochs", 1)
    assert other.status == 1
    assert other.err.startswith("error: ")
    assert "different settings" in other.err
    assert (out / "run" / "model.safetensors").stat().st_mtime_ns == weights


def test_the_hidden_part_of_a_binary_picture_is_gray_on_the_sheet() -> None:
    model = pixelrnn.build("pixelcnn", size=(4, 4), levels=2, layers=1, width=2)
    known = torch.zeros(4, 4, dtype=torch.bool)
    sheet = np.asarray(completion_sheet(model, torch.ones(1, 1, 4, 4, dtype=torch.uint8), known, 1, seed=0))
    scale = (sheet.shape[1]) // 16  # three images of 4 pixels and a gap of one around each
    centre = [sheet[scale * 3, scale * column] for column in (3, 8)]
    assert [int(value) for value in centre] == [255, 128]


def test_doctor_says_on_what_it_runs(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz").touch()
    monkeypatch.setenv("PIXELRNN_DATA", str(tmp_path))
    result = cli("doctor", "--json")
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert (found["pixelrnn"], found["torch"]) == (pixelrnn.__version__, version("torch"))
    assert found["data sets"] == "digits, mnist"
    assert found["PIXELRNN_DATA"] == str(tmp_path)
    assert re.search(rf"^torch +{re.escape(found['torch'])}$", cli("doctor").out, re.MULTILINE)
    monkeypatch.setenv("PIXELRNN_DATA", str(tmp_path / "nowhere"))
    assert json.loads(cli("doctor", "--json").out)["data sets"] == "digits"
    for name in ("PIXELRNN_KERNELS", "PIXELRNN_CACHE", "PIXELRNN_DATA"):
        monkeypatch.setenv(name, str(tmp_path / "home" / "somewhere"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shown = cli("doctor", "--json").out
    assert ("~" in shown, str(tmp_path) in shown) == (True, False), "no name of a person"


def test_the_shell_can_complete_commands(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """As bash asks for it, whatever shell runs the tests."""
    for name, value in {"_PIXELRNN_COMPLETE": "complete_bash", "COMP_WORDS": "pixelrnn co", "COMP_CWORD": "1"}.items():
        monkeypatch.setenv(name, value)
    assert cli().out.split() == ["complete", "compress"]
