"""What a user gets wrong is one clear sentence, the right exit status, no traceback, and nothing lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import Cli, Result
from PIL import Image

import pixelrnn
from pixelrnn.errors import RunFolderError

DONE, FAILED, MISUSED = 0, 1, 2


def assert_refused(result: Result, status: int, *words: str) -> None:
    assert result.status == status, (result.out, result.err)
    assert re.search(r"^(error|Usage): ", result.err, re.M), result.err
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err, result.err


def picture(path: Path, size: tuple[int, int] = (8, 8), mode: str = "L") -> Path:
    Image.new(mode, size, 128 if mode == "L" else (1, 2, 3)).save(path)
    return path


def array(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "digts", "--out", "x"], ["no preset 'digts'", "Did you mean 'digits'?"]),
        (["train", "nothing.toml", "--out", "x"], ["no preset file nothing.toml"]),
        (["train", "digits", "--out", "x", "--set", "widht=3"], ["widht", "Did you mean 'width'?"]),
        (["train", "digits", "--out", "x", "--set", "training.epoch=3"], ["Did you mean 'epochs'?"]),
        (["train", "digits", "--out", "x", "--set", "epochs"], ["KEY=VALUE"]),
        (["train", "digits", "--out", "x", "--set", "epochs=many"], ["training.epochs must be a whole number"]),
        (["train", "digits", "--out", "x", "--set", "network=gated-pixelcn"], ["Did you mean 'gated-pixelcnn'?"]),
        (["train", "digits", "--out", "x", "--set", "head=bernoulli"], ["2 levels", "categorical"]),
        (["train", "digits", "--out", "x", "--data", "minst"], ["Did you mean 'mnist'?"]),
        (["train", "digits", "--out", "x", "--max-minutes", "-1"], ["--max-minutes must be above 0"]),
        (["train", "digits", "--out", "x", "--device", "gpu"], ["auto, cpu or cuda"]),
        (["train", "digits"], ["--out"]),
        (["inspect", "pixelcn"], ["Did you mean 'pixelcnn'?"]),
        (["inspect", "pixelcnn", "--set", "layer=2"], ["Did you mean 'layers'?"]),
        (["inspect", "all", "--set", "widht=3"], ["'widht'", "Did you mean 'width'?"]),
        (["inspect", "pixelcnn", "--set", "layers"], ["KEY=VALUE"]),
        (["inspect", "multiscale", "--set", "body=mdlstm"], ["Known: diagonal-bilstm, row-lstm"]),
        (["inspect", "BiLSTM"], ["Did you mean 'diagonal-bilstm'?"]),
        (["list", "preset"], ["There is no list 'preset'. Did you mean 'presets'?"]),
        (["sampel"], ["sampel"]),
    ],
)
def test_a_wrong_name_or_value_is_misuse_and_the_nearest_is_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(cli(*arguments), MISUSED, *words)


@pytest.mark.parametrize("verb", ["sample", "evaluate"])
def test_numbers_out_of_range_are_misuse(cli: Cli, run: Path, tmp_path: Path, verb: str) -> None:
    out = ["-o", tmp_path / "x.png"]
    if verb == "sample":
        assert_refused(cli("sample", run, *out, "--size", "8"), MISUSED, "HEIGHTxWIDTH")
        assert_refused(cli("sample", run, *out, "--temperature", "-1"), MISUSED, "temperature")
        assert_refused(cli("sample", run, *out, "--seed", "-1"), MISUSED, "seed")
        assert_refused(cli("sample", run, *out, "-n", "0"), MISUSED, "-n")
        assert not (tmp_path / "x.png").exists()
    else:
        assert_refused(cli("evaluate", run, "--split", "tset"), MISUSED, "Did you mean 'test'?")


def test_a_model_folder_that_is_missing_empty_or_foreign_is_named(cli: Cli, tmp_path: Path) -> None:
    assert_refused(cli("evaluate", tmp_path / "nowhere"), FAILED, "no model folder", "pixelrnn train")
    (tmp_path / "empty").mkdir()
    assert_refused(cli("sample", tmp_path / "empty"), FAILED, "config.json")
    (tmp_path / "empty" / "training").mkdir()
    (tmp_path / "empty" / "training" / "last.ckpt").write_bytes(b"")
    stopped = cli("sample", tmp_path / "empty")
    assert_refused(
        stopped, FAILED, "before the first model was saved", f"train PRESET --out {tmp_path / 'empty'} --resume"
    )
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "bert"}')
    assert_refused(cli("sample", tmp_path / "empty"), FAILED, "not written by this package")


@pytest.mark.parametrize("damage", ["weights", "config", "no weights", "truncated", "options"])
def test_each_damaged_file_of_a_model_folder_is_named(cli: Cli, run: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(run, folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    content = bytearray(weights.read_bytes())
    if damage == "weights":
        content[-5] ^= 1
        weights.write_bytes(content)
    elif damage == "truncated":
        weights.write_bytes(content[:-100])
    elif damage == "no weights":
        weights.unlink()
    elif damage == "config":
        config.write_text(config.read_text()[:-40])
    else:
        table = json.loads(config.read_text())
        table["options"]["width"] = 10**9
        config.write_text(json.dumps(table))
    assert_refused(
        cli("evaluate", folder), FAILED, "config.json" if damage in ("config", "options") else "model.safetensors"
    )


def test_data_of_another_kind_than_the_models_is_assert_refused(cli: Cli, run: Path, tmp_path: Path) -> None:
    colour = array(tmp_path / "colour.npy", np.zeros((10, 3, 8, 8), dtype=np.uint8))
    assert_refused(cli("evaluate", run, "--data", colour), FAILED, "channel")
    larger = array(tmp_path / "larger.npy", np.zeros((10, 9, 9), dtype=np.uint8))
    assert_refused(cli("evaluate", run, "--data", larger), FAILED, "9 x 9", "8 x 8")
    floats = array(tmp_path / "floats.npy", np.full((10, 8, 8), 0.5))
    assert_refused(cli("evaluate", run, "--data", floats), FAILED, "float64")
    nan = array(tmp_path / "nan.npy", np.full((10, 8, 8), np.nan))
    assert_refused(cli("evaluate", run, "--data", nan), FAILED, "float64")
    outside = array(tmp_path / "outside.npy", np.full((10, 8, 8), 300))
    assert_refused(cli("evaluate", run, "--data", outside), FAILED, "300")


def test_too_many_levels_for_the_data_are_assert_refused(cli: Cli, tmp_path: Path) -> None:
    result = cli("train", "digits", "--out", tmp_path / "run", "--set", "levels=64")
    assert_refused(result, MISUSED, "only 17 values")


def test_folders_and_pictures_that_cannot_be_read_are_named(cli: Cli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(cli("evaluate", run, "--data", tmp_path / "empty"), FAILED, "empty")
    whole = picture(tmp_path / "whole.png", (64, 64)).read_bytes()
    for name, content in (("text.png", b"no picture"), ("cut.png", whole[: len(whole) // 2])):
        (tmp_path / name).write_bytes(content)
        result = cli("complete", run, tmp_path / name, "--keep", "top", "-o", tmp_path / "out.png")
        assert_refused(result, FAILED, name)
    assert_refused(cli("complete", run, tmp_path / "none.png", "--keep", "top"), FAILED, "none.png")
    assert not (tmp_path / "out.png").exists()


def test_a_picture_over_the_pixel_limit_is_refused_before_it_is_decoded(
    cli: Cli, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIXELRNN_PIXEL_LIMIT", "5000000")
    huge = picture(tmp_path / "huge.png", (3000, 2000))
    huge.write_bytes(huge.read_bytes()[:200])  # nothing but the header is there to read
    assert_refused(cli("complete", run, huge, "--keep", "top"), FAILED, "huge.png", "5,000,000")


def test_masks_and_halves_must_fit(cli: Cli, run: Path, tmp_path: Path) -> None:
    image, mask = picture(tmp_path / "a.png"), picture(tmp_path / "mask.png", (9, 7))
    assert_refused(cli("complete", run, image, "--mask", mask), FAILED, "7 x 9", "8 x 8")
    assert_refused(cli("complete", run, image), MISUSED, "--keep top")
    assert_refused(cli("complete", run, image, "--keep", "top", "--mask", mask), MISUSED, "--mask and --keep both say")
    wrong = cli("complete", run, image, "--keep", "tpo")
    assert_refused(wrong, MISUSED, "--keep takes top, left, bottom, right, not 'tpo'", "--mask")
    large = picture(tmp_path / "large.png", (9, 9))
    wrong = cli("complete", run, large, "--mask", mask)
    assert_refused(wrong, FAILED, "7 x 9", "9 x 9")
    assert wrong.err.startswith("error: "), "an error comes alone, without notes"
    assert "--size 8x8" in cli("complete", run, large, "--keep", "top", "-n", 1, "-o", tmp_path / "x.png").err
    other = picture(tmp_path / "b.png", (8, 9))
    assert_refused(cli("complete", run, image, other, "--keep", "top"), FAILED, "b.png is 9x8", "--size")


def test_an_output_that_cannot_be_written_is_named(cli: Cli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert_refused(cli("sample", run, "-n", 1, "-o", tmp_path / "file" / "x.png"), FAILED, "x.png")
    assert_refused(
        cli("sample", run, "-n", 1, "-o", tmp_path / "a.png", "--array", tmp_path / "file" / "x.npy"), FAILED, "x.npy"
    )
    assert_refused(cli("inspect", "pixelcnn", "--size", "7x7", "--plot", tmp_path / "no" / "x.png"), FAILED, "x.png")
    assert_refused(cli("demo", "--out", tmp_path / "file"), FAILED, "cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_holds_a_run_is_not_touched_unasked(cli: Cli, run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert_refused(cli("train", "digits", "--out", run), FAILED, "--resume", "--overwrite")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_foreign_folder_is_not_trained_into(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "thesis.txt").write_text("mine")
    (tmp_path / "README.md").write_text("mine too")
    for more in ([], ["--resume"], ["--overwrite"]):
        result = cli("train", "digits", "--out", tmp_path, "--epochs", 1, *more)
        assert_refused(result, FAILED, "README.md and training", "not written by this package")
    assert (tmp_path / "training" / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "README.md").read_text() == "mine too"


@pytest.mark.parametrize("verb", [["train", "digits"], ["demo"]], ids=["train", "demo"])
def test_nothing_is_written_among_pictures(cli: Cli, tmp_path: Path, verb: list[str]) -> None:
    photos = tmp_path / "photos"
    (photos / "cats").mkdir(parents=True)
    picture(photos / "cats" / "a.png")
    picture(photos / "b.png")
    before = sorted(photos.rglob("*"))
    for more in ([], ["--resume"], ["--overwrite"]) if verb[0] == "train" else ([],):
        result = cli(*verb, "--out", photos, "--epochs", 1, *more)
        assert_refused(result, FAILED, "holds other files (b.png, ...)", "Choose a new or empty folder.")
        assert result.err.startswith("error: ")
    assert sorted(photos.rglob("*")) == before


def test_a_demo_goes_on_in_its_own_folder(cli: Cli, tmp_path: Path) -> None:
    """Without the run that it was asked to remove, and beside a file that was put there."""
    preset = tmp_path / "small.toml"
    preset.write_text(
        '[data]\nname = "digits"\nlevels = 17\n[model]\nnetwork = "pixelcnn"\nlayers = 1\nwidth = 2\n'
        "[training]\nepochs = 1\nbatch_size = 400\n"
    )
    demo = ["demo", "--out", tmp_path / "demo", "--preset", preset]
    (tmp_path / "demo" / "run").mkdir(parents=True)
    assert cli(*demo).status == DONE
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    assert cli(*demo).status == DONE
    shutil.rmtree(tmp_path / "demo" / "run")
    assert cli(*demo).status == DONE


def test_a_run_is_not_thrown_away_for_a_command_that_cannot_work(cli: Cli, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for wrong in (["--data", "minst"], ["--set", "width=0"], ["--set", "levels=64"], ["--set", "head=bernoulli"]):
        assert_refused(cli("train", "digits", "--out", folder, "--overwrite", *wrong), MISUSED)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert_refused(cli("train", "digits", "--out", tmp_path / "new", "--data", "minst"), MISUSED)
    assert not (tmp_path / "new").exists()


def test_a_damaged_checkpoint_is_named_and_the_model_beside_it_stands(cli: Cli, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    last = folder / "training" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-2000])
    small = ["--set", "layers=2", "--set", "width=4", "--set", "batch_size=200", "--set", "ema=0", "--epochs", "3"]
    assert_refused(cli("train", "digits", "--out", folder, *small, "--resume"), FAILED, "last.ckpt is damaged")
    assert cli("evaluate", folder).status == DONE


def test_saving_a_model_never_replaces_a_foreign_readme(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    model = pixelrnn.build("pixelcnn", size=(4, 4), levels=2, layers=1, width=2)
    with pytest.raises(RunFolderError, match=r"README\.md"):
        model.save(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    model.save(tmp_path / "model")
    model.save(tmp_path / "model")


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def test_ctrl_c_leaves_the_last_checkpoint_and_says_how_to_go_on(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ["train", "digits", "--out", str(out), "--set", "layers=2", "--set", "width=4", "--epochs", "100000"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from pixelrnn.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        wait_for(lambda: (out / "training" / "last.ckpt").is_file() and (out / "config.json").is_file())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == FAILED
    assert "--resume" in err
    assert "Traceback" not in err
    done = json.loads((out / "config.json").read_text())["about"]["progress"]["epoch"]
    assert done >= 1
    assert cli("sample", out, "-n", 1, "-o", tmp_path / "x.png").status == DONE
    more = cli(*arguments[:-1], "100001", "--max-minutes", "0.01", "--resume")
    assert more.status == DONE, more.err
    assert "epoch   1 " not in more.err
