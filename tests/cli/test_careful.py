"""Nothing is lost by a slip, and what means two things is said: output paths, inputs, names, splits, masks, flags."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import Cli
from PIL import Image
from test_misuse import DONE, FAILED, MISUSED, array, assert_refused, picture

import pixelrnn
import pixelrnn.errors
from pixelrnn.data import holds_pictures, load_data
from pixelrnn.training.run_folder import finished, saved_preset

SMALL = ("--set", "width=4", "--set", "layers=1", "--set", "batch_size=400")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_output_that_cannot_be_written_is_found_before_anything_is_drawn(
    cli: Cli, run: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixelrnn.PixelModel, "sample", lambda *_, **__: pytest.fail("was drawn"))
    monkeypatch.setattr(pixelrnn.PixelModel, "complete", lambda *_, **__: pytest.fail("was drawn"))
    (here / "folder").mkdir()
    for bad, word in (("no/x.png", "no folder no"), ("x.xyz", "picture format"), ("folder", "picture format")):
        assert_refused(cli("sample", run, "-o", bad), FAILED, word)
        assert_refused(cli("complete", run, picture(here / "a.png"), "--keep", "top", "-o", bad), FAILED, word)
    assert_refused(cli("sample", run, "--array", "no/x.npy"), FAILED, "no folder no")
    assert_refused(cli("sample", run, "--array", "x.txt"), MISUSED, ".npy")
    (here / "x.png").mkdir()
    assert_refused(cli("sample", run, "-o", "x.png"), FAILED, "x.png is a folder")


@pytest.mark.parametrize("verb", ["complete", "restore", "reconstruct", "interpolate", "sample"])
def test_a_picture_that_is_read_is_never_written_over(
    cli: Cli, run: Path, code_run: Path, half_run: Path, here: Path, verb: str
) -> None:
    mine = picture(here / "mine.png")
    before = mine.read_bytes()
    arguments: dict[str, list[object]] = {
        "complete": [run, mine, "--keep", "top"],
        "restore": [half_run, mine],
        "reconstruct": [code_run, mine],
        "interpolate": [code_run, mine, mine],
        "sample": [code_run, "--like", mine],
    }
    assert_refused(
        cli(verb, *arguments[verb], "-o", "../" + here.name + "/mine.png"), MISUSED, "would overwrite an input"
    )
    assert mine.read_bytes() == before


def test_to_resume_and_to_overwrite_at_once_is_refused(cli: Cli, run: Path, here: Path) -> None:
    shutil.copytree(run, "run")
    before = Path("run/model.safetensors").read_bytes()
    assert_refused(cli("train", "digits", "--out", "run", "--resume", "--overwrite"), MISUSED, "use only one of them")
    assert Path("run/model.safetensors").read_bytes() == before


def test_a_run_cannot_be_resumed_to_fewer_epochs_and_stays_finished(cli: Cli, here: Path) -> None:
    assert cli("train", "digits", "--out", "run", "--epochs", 2, *SMALL).status == DONE
    assert_refused(cli("train", "digits", "--out", "run", "--epochs", 1, *SMALL, "--resume"), MISUSED, "started with 2")
    assert finished(Path("run"))
    assert saved_preset("run").training.epochs == 2


def test_a_run_is_resumed_with_its_data_by_another_path(cli: Cli, here: Path) -> None:
    np.save("mine.npy", np.random.default_rng(0).integers(0, 256, (12, 6, 6), dtype=np.uint8))
    assert cli("train", "digits", "--data", "mine.npy", "--out", "run", "--epochs", 1, *SMALL).status == DONE
    more = ["--out", "run", "--epochs", 2, *SMALL, "--resume"]
    assert cli("train", "digits", "--data", here / "mine.npy", *more).status == DONE
    np.save("other.npy", np.load("mine.npy"))
    assert_refused(cli("train", "digits", "--data", "other.npy", *more), MISUSED, "data.name = ")
    Path("mine.npy").unlink()
    assert_refused(cli("evaluate", "run"), MISUSED, "was not found", "--data PATH")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--strategy", "dpp"], ["no strategy 'dpp'", "'ddp'"]),
        (["--strategy", "fsdp"], ["Lightning refused these settings"]),
        (["--nodes", "2"], ["torchrun", "srun"]),
    ],
)
def test_processes_that_cannot_be_started_are_one_sentence(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: list[str]
) -> None:
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert_refused(cli("train", "digits", "--out", "x", "--epochs", 1, *SMALL, *arguments), MISUSED, *words)


def test_a_folder_called_like_a_model_or_a_data_set_of_the_package_is_noted(cli: Cli, run: Path, here: Path) -> None:
    shutil.copytree(run, "mnist")
    Path("digits").mkdir()
    for arguments in (["sample", "mnist", "-n", 1], ["inspect", "mnist", "--size", "1x2"]):
        assert "for the folder of that name, write ./mnist" in cli(*arguments).err
        assert cli(arguments[0], "./mnist", *arguments[2:]).err == ""
    assert "for the folder of that name, write ./digits" in cli("evaluate", run, "--data", "digits", "--count", 1).err


def test_data_without_splits_is_noted_and_can_be_used_in_full(cli: Cli, run: Path, here: Path) -> None:
    images = load_data("digits", "test").images[:12]
    np.save("mine.npy", images)
    np.savez("split.npz", test_images=images)
    (here / "photos").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[0] * 15).save(f"photos/{number:02}.png")
    arguments = ["evaluate", run, "--values", 17, "--json"]
    one = cli(*arguments, "--data", "mine.npy")
    assert "1 of the 12 images of mine, its test split; --split all" in one.err
    assert json.loads(one.out)["standard_error"] is None
    assert "+-" not in cli(*arguments[:-1], "--data", "mine.npy").out
    every = cli(*arguments, "--data", "mine.npy", "--split", "all")
    assert every.err == ""
    assert json.loads(every.out)["images"] == 12
    assert json.loads(every.out)["nats"] == json.loads(cli(*arguments, "--data", "split.npz").out)["nats"]
    photos = cli("evaluate", run, "--data", "photos", "--split", "all", "--json")
    assert json.loads(photos.out)["images"] == 12
    assert_refused(cli(*arguments, "--data", "split.npz", "--split", "all"), FAILED, "holds test", "array images")
    assert_refused(cli(*arguments, "--split", "all"), MISUSED, "'all' is only for folders and files without splits")


def test_levels_are_packed_as_levels(cli: Cli, run: Path, here: Path) -> None:
    np.save("mine.npy", load_data("digits", "test").images[:12])
    assert cli("pack", "mine.npy", "--out", "packed", "--values", 17).status == DONE
    assert json.loads(Path("packed/packed.json").read_text())["values"] == 17
    plain = cli("evaluate", run, "--data", "mine.npy", "--values", 17)
    assert cli("evaluate", run, "--data", "packed").out.split("nats")[0] == plain.out.split("nats")[0]
    assert_refused(cli("pack", "mine.npy", "--out", "other", "--values", 3), FAILED, "0..2")


def test_a_mask_without_a_known_or_an_unknown_pixel_is_noted(cli: Cli, run: Path, here: Path) -> None:
    Image.fromarray(np.eye(8, dtype=np.uint8)).save("mask.png")  # 0 and 1: all black
    result = cli("complete", run, picture(here / "a.png"), "--mask", "mask.png", "-n", 1)
    assert result.status == DONE
    assert "no pixel of the mask is known" in result.err
    Image.new("L", (8, 8), 255).save("mask.png")
    result = cli("complete", run, picture(here / "a.png"), "--mask", "mask.png", "-n", 1)
    assert result.status == DONE
    assert "every pixel of the mask is known; there is nothing to complete" in result.err


def test_a_missing_condition_is_noted_in_completions_too(
    cli: Cli, class_run: Path, code_run: Path, half_run: Path, here: Path
) -> None:
    for folder, word in ((class_run, "--label"), (code_run, "--like"), (half_run, "pixelrnn restore")):
        assert word in cli("complete", folder, picture(here / "a.png"), "--keep", "top", "-n", 1).err
    mine = [class_run, here / "a.png", "--keep", "top"]
    assert_refused(cli("complete", *mine, "--label", "all"), MISUSED, "A completion has one class")


def test_guidance_without_a_condition_is_refused(cli: Cli, run: Path, class_run: Path, here: Path) -> None:
    assert_refused(cli("sample", run, "--guidance", 2), MISUSED, "takes no --guidance")
    assert_refused(cli("sample", class_run, "--guidance", 2), MISUSED, "--label")
    with pytest.raises(pixelrnn.errors.ConditionError, match="guidance exaggerates a condition"):
        pixelrnn.load(class_run).sample(2, guidance=2.0)


def test_classes_that_do_not_fit_are_named(cli: Cli, class_run: Path, here: Path) -> None:
    images = load_data("digits", "test").images[:4]
    np.savez("mine.npz", test_images=images, test_labels=np.array([0, 1, 2, 11]))
    wrong = cli("evaluate", class_run, "--data", "mine.npz", "--values", 17)
    assert_refused(wrong, FAILED, "The 12 classes of mine (0, 1, 2, ..., 11)", "10 (0, 1, 2, ..., 9)", "know 10, 11")
    array(here / "none.npy", images)
    none = ["evaluate", class_run, "--data", "none.npy", "--values", 17]
    assert_refused(cli(*none), FAILED, "an .npz file with labels", "--no-condition")
    assert cli(*none, "--no-condition").status == DONE
    assert_refused(cli("evaluate", class_run, "--classify", "--no-condition"), MISUSED, "one of them")


def test_dark_bytes_are_asked_about(cli: Cli, run: Path, here: Path) -> None:
    np.savez("dark.npz", test_images=load_data("digits", "test").images[:4] // 2)
    assert_refused(cli("evaluate", run, "--data", "dark.npz"), MISUSED, "above 8", "--values 17", "--values 256")


def test_a_folder_with_a_tilde_and_one_that_is_called_like_a_data_set(
    cli: Cli, run: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here))
    Path("photos").mkdir()
    for number in range(12):
        Image.new("L", (20, 20), 20 * number).save(f"photos/{number}.png")
    result = cli("evaluate", run, "--data", "~/photos", "--split", "all")  # resized, as without the tilde
    assert result.status == 0, result.err
    Path("digits").mkdir()
    assert holds_pictures("./digits")
    assert not holds_pictures("digits")


def test_a_file_is_no_model_folder(here: Path) -> None:
    Path("mine.md").write_text("#")
    with pytest.raises(pixelrnn.errors.ModelFolderError, match=r"mine\.md is a file"):
        pixelrnn.load("mine.md")


def test_training_notes_what_may_not_be_expected(cli: Cli, here: Path) -> None:
    """Few steps an epoch, and levels that the preset reduces; each is noted once, and not if it was chosen."""
    np.save("mine.npy", np.random.default_rng(0).integers(0, 256, (40, 6, 6), dtype=np.uint8))
    mine = ["--data", "mine.npy", "--epochs", 1, "--set", "width=4", "--set", "layers=1"]
    plain = cli("train", "mnist-gated", "--out", "a", *mine)
    assert plain.status == DONE, plain.err
    assert plain.err.count("note: ") == 2
    assert "an epoch (32 images) is only 1 optimizer step;" in plain.err
    assert "--set batch_size=4 --epochs 300" in plain.err
    assert "values of mine are binarised (stochastic), as mnist-gated sets it" in plain.err
    assert "--set levels=256 --set binarise=\n" in plain.err
    all_levels = cli("train", "mnist-gated", "--out", "b", *mine, "--set", "levels=256", "--set", "binarise=")
    assert all_levels.status == DONE, all_levels.err
    assert "values of mine" not in all_levels.err
    small = cli("train", "digits", "--out", "c", *mine, "--set", "batch_size=4")
    assert small.err.count("note: ") == 1
    assert (
        "values of mine are reduced to 17 levels, as digits sets it; to keep more of them:  --set levels=" in small.err
    )
    chosen = cli("train", "digits", "--out", "d", *mine, "--set", "batch_size=3", "--set", "data.levels=16")
    assert "note: " not in chosen.err
    np.save("large.npy", np.random.default_rng(0).integers(0, 17, (3, 130, 130), dtype=np.uint8))
    large = ("--data", "large.npy", "--set", "values=17", "--set", "levels=17", "--set", "batch_size=1")
    assert "images are 130x130" in cli("train", "digits", "--out", "l", *large, *mine[2:]).err
    assert "note: " not in cli("train", "digits", "--out", "e", "--epochs", 1, *SMALL[:4], "--set", "batch_size=99").err


def test_the_time_limit_says_that_a_validation_follows(cli: Cli, here: Path) -> None:
    result = cli("train", "digits", "--out", "run", "--max-minutes", 1e-6, *SMALL)
    assert result.status == DONE, result.err
    assert result.err.count("time limit reached; validating 200 images\n") == 1
    assert result.err.index("time limit") < result.err.index("epoch   1")


def test_the_layout_that_is_taken_of_an_array_with_two_is_noted(cli: Cli, run: Path, here: Path) -> None:
    np.save("mine.npy", np.random.default_rng(0).integers(0, 256, (50, 3, 10, 3), dtype=np.uint8))
    np.savez("mine.npz", images=np.load("mine.npy"))
    said = "shape (50, 3, 10, 3) taken as (N, C, H, W): 3 channels of 10x3\n"
    for name in ("mine.npy", "mine.npz"):
        trained = cli("train", "digits", "--data", name, "--out", f"{name}-run", "--epochs", 1, *SMALL)
        assert trained.status == DONE, trained.err
        assert trained.err.count(said) == 1
        assert cli("evaluate", f"{name}-run", "--data", name).err.count(said) == 1
        assert cli("pack", name, "--out", f"{name}-packed").err.count(said) == 1
    np.save("clear.npy", np.load("mine.npy").reshape(50, 3, 5, 6))
    assert "taken as" not in cli("pack", "clear.npy", "--out", "clear").err
