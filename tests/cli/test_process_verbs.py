"""Sampling and evaluation in several processes: the same results as in one, and no process is left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from command import Cli, Result
from PIL import Image

import pixelrnn
from pixelrnn.data import ImageData, load_data
from pixelrnn.errors import DataError
from pixelrnn.measure.evaluation import accuracy, evaluate, levels_for, load_like
from pixelrnn.model import PixelModel
from pixelrnn.model.processes import Workers

DONE, FAILED, MISUSED = 0, 1, 2


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)


def assert_refused(result: Result, status: int, *words: str) -> None:
    assert result.status == status, (result.out, result.err)
    assert "Traceback" not in result.err
    for word in words:
        assert word in result.err, result.err


def images_in(folder: Path) -> np.ndarray:
    return np.concatenate([np.load(path) for path in sorted(folder.glob("samples-*.npy"))])


def times_of(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_images_are_the_same_whatever_the_files_and_processes(cli: Cli, run: Path, tmp_path: Path) -> None:
    whole = pixelrnn.load(run).sample(150, seed=0).numpy()
    for name, more in (("one", ["--shard-size", 40]), ("two", ["--processes", 2, "--shard-size", 70, "--seed", 0])):
        folder = tmp_path / name
        result = cli("sample", run, "-n", 150, "--shards", folder, *more)
        assert result.status == DONE, result.err
        assert re.fullmatch(rf"{folder}  150 images 8x8 in {4 if name == 'one' else 3} files   [\d.]+ s\n", result.out)
        np.testing.assert_array_equal(images_in(folder), whole)
    files = ["samples-00000.npy", "samples-00001.npy", "samples-00002.npy", "samples.json"]
    assert sorted(path.name for path in folder.iterdir()) == files
    assert [len(np.load(folder / name)) for name in files[:3]] == [70, 70, 10]
    assert np.load(folder / files[0]).dtype == np.uint8
    assert not Path("samples.png").exists()
    settings = json.loads((folder / "samples.json").read_text())
    assert settings["weights"] == json.loads((run / "config.json").read_text())["sha256"]
    assert (settings["seed"], settings["images"], settings["shard_size"], settings["size"]) == (0, 150, 70, [1, 8, 8])


def test_the_same_command_goes_on_where_it_was_stopped(cli: Cli, run: Path, tmp_path: Path) -> None:
    arguments = ["sample", run, "-n", 50, "--shards", tmp_path / "many", "--shard-size", 10]
    assert cli(*arguments).status == DONE
    whole, before = images_in(tmp_path / "many"), times_of(tmp_path / "many")
    cut, changed = tmp_path / "many" / "samples-00002.npy", tmp_path / "many" / "samples-00004.npy"
    (tmp_path / "many" / "samples-00001.npy").unlink()
    cut.write_bytes(cut.read_bytes()[:-7])
    np.save(changed, np.zeros((10, 1, 8, 9), dtype=np.uint8))
    result = cli(*arguments, "-o", tmp_path / "sheet.png")
    assert "in 5 files, 2 already present" in result.out
    assert f"note: {cut} is incomplete" in result.err
    assert f"note: {changed} is incomplete" in result.err
    np.testing.assert_array_equal(images_in(tmp_path / "many"), whole)
    after = times_of(tmp_path / "many")
    assert {name for name in after if after[name] != before[name]} == {f"samples-0000{k}.npy" for k in (1, 2, 4)}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > sheet.height / 2
    assert "in 5 files, 5 already present" in cli(*arguments).out


def test_a_folder_of_other_images_is_refused(cli: Cli, run: Path, class_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    arguments = ["sample", run, "-n", 9, "--shards", folder, "--shard-size", 5]
    assert_refused(cli(*arguments, "--seed", -1), MISUSED, "seed")
    assert_refused(cli(*arguments, "--temperature", -1), MISUSED, "temperature")
    assert not folder.exists()
    assert cli(*arguments).status == DONE
    before = times_of(folder)
    for more, words in (
        (["--seed", 1], "seed 0 (requested: 1)"),
        (["-n", 10], "images 9 (requested: 10)"),
        (["--temperature", 0.5], "temperature 1.0 (requested: 0.5)"),
        (["--shard-size", 6], "shard_size 5"),
        (["--size", "8x9"], "size [1, 8, 8] (requested: [1, 8, 9])"),
    ):
        assert_refused(cli(*arguments, *more), MISUSED, "other settings", words, "another folder")
    assert_refused(cli("sample", class_run, *arguments[2:], "--label", 3), MISUSED, "weights", "label None")
    assert times_of(folder) == before
    for content, words in (("{", "JSON"), ("[]", "not written by this package"), (None, "no samples.json")):
        path = folder / "samples.json"
        path.unlink() if content is None else path.write_text(content)
        assert_refused(cli(*arguments), FAILED, words, "another folder")
    (tmp_path / "file").write_text("mine")
    assert_refused(cli(*arguments[:4], "--shards", tmp_path / "file"), FAILED, "cannot be written")
    assert_refused(cli("sample", run, "--processes", 2), MISUSED, "--shards FOLDER")
    assert_refused(cli("sample", run, "--shards", folder, "--array", "x.npy"), MISUSED, "--array")


def test_each_class_of_many_images_is_that_of_the_ordinary_verb(cli: Cli, class_run: Path, tmp_path: Path) -> None:
    arguments = ["sample", class_run, "--label", "all", "-n", 7, "--seed", 3, "--guidance", 1.5]
    assert cli(*arguments, "--array", tmp_path / "all.npy", "-o", tmp_path / "all.png").status == DONE
    assert cli(*arguments, "--shards", tmp_path / "many", "--shard-size", 30).status == DONE
    np.testing.assert_array_equal(images_in(tmp_path / "many"), np.load(tmp_path / "all.npy"))


def test_images_like_a_picture_are_those_of_the_ordinary_verb(cli: Cli, code_run: Path, tmp_path: Path) -> None:
    Image.fromarray(load_data("digits", "test").images[0, 0] * 15).save(tmp_path / "a.png")
    arguments = ["sample", code_run, "--like", tmp_path / "a.png", "-n", 7, "--seed", 3]
    assert cli(*arguments, "--array", tmp_path / "all.npy", "-o", tmp_path / "all.png").status == DONE
    assert cli(*arguments, "--shards", tmp_path / "many", "--shard-size", 5).status == DONE
    np.testing.assert_array_equal(images_in(tmp_path / "many"), np.load(tmp_path / "all.npy"))


def test_the_processes_of_a_launcher_draw_every_file_once(
    cli: Cli, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["sample", run, "-n", 50, "--shards", tmp_path / "many", "--shard-size", 8]
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank, count in ((1, 2), (0, 3), (2, 2)):
        monkeypatch.setenv("RANK", str(rank))
        before = len(list(tmp_path.glob("many/*.npy")))
        result = cli(*arguments)
        assert f"in {count} files of 7 (process {rank} of 3)   " in result.out, result.err
        assert len(list(tmp_path.glob("many/*.npy"))) == before + count
    np.testing.assert_array_equal(images_in(tmp_path / "many"), pixelrnn.load(run).sample(50, seed=0))
    assert_refused(cli(*arguments, "-o", tmp_path / "x.png"), MISUSED, "without the launcher")
    assert_refused(cli("evaluate", run), MISUSED, "started 3 processes", "--processes 3")
    assert_refused(cli("sample", run, "-o", tmp_path / "x.png"), MISUSED, "the same picture", "--shards FOLDER")


class OnDisk:
    """Images that can be asked for in slices only."""

    def __init__(self, images: np.ndarray) -> None:
        self.images, self.shape, self.dtype, self.most = images, images.shape, images.dtype, 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> np.ndarray:
        found = self.images[part]
        self.most = max(self.most, len(found))
        return found


def describe(model: PixelModel, job: int) -> tuple[int, int, int]:
    """Where a job is done, and by how many threads; a job below zero cannot be done."""
    if job < 0:
        raise DataError(f"There is no job {job}.")
    return job, os.getpid(), torch.get_num_threads()


def test_evaluation_in_several_processes_finds_exactly_what_one_does(class_run: Path) -> None:
    torch.set_num_threads(1)
    model = pixelrnn.load(class_run)
    data = load_like(model, None, "test")
    seen: list[tuple[int, int]] = []
    with Workers(class_run, processes=2) as workers:
        two = evaluate(workers, data, count=110, on_batch=lambda *each: seen.append(each))
        right = accuracy(workers, data, count=30, batch_size=7)
        jobs = list(workers.map(describe, range(40)))
        with pytest.raises(DataError, match=r"^There is no job -1\.$"):
            list(workers.map(describe, [0, -1, 1]))
        assert [job for job, *_ in workers.map(describe, [7])] == [7]
    one = evaluate(model, data, count=110)
    assert dataclasses.replace(two, seconds=0) == dataclasses.replace(one, seconds=0)
    assert right == accuracy(model, data, count=30, batch_size=7)
    assert seen == [(25, 110), (50, 110), (75, 110), (100, 110), (110, 110)]
    assert [job for job, *_ in jobs] == list(range(40))
    assert os.getpid() not in {process for _, process, _ in jobs}
    assert {threads for *_, threads in jobs} == {1}


@pytest.mark.parametrize("levels", [2, 4, 17])
def test_images_on_disk_are_measured_a_batch_at_a_time(levels: int) -> None:
    model = pixelrnn.build("pixelcnn", size=(8, 8), levels=levels, layers=1, width=2)
    if levels == 2:
        model.about = {"preset": {"data": {"binarise": "threshold"}}}
    data = load_data("digits", "test")
    on_disk = OnDisk(data.images)
    lazy = ImageData("digits", "test", on_disk, data.labels, data.class_names, 17)  # type: ignore[arg-type]
    result = evaluate(model, lazy, batch_size=20, count=50)
    assert on_disk.most == 20
    images = torch.from_numpy(levels_for(model, data).fixed(data.images)[:50].copy())
    assert result.nats == pytest.approx(-model.log_prob(images).mean().item(), rel=1e-5)


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def workers_of(command: int) -> set[int]:
    """Processes that a command started."""
    listed = subprocess.run(["ps", "-Aww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
    lines = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return {int(pid) for pid, parent, args in lines if int(parent) == command and "spawn_main" in args}


def is_alive(process: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1] not in ("", "Z")


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
@pytest.mark.parametrize("end", ["a worker is killed", "Ctrl-C", "the command is killed"])
def test_when_one_process_ends_all_do(run: Path, tmp_path: Path, end: str) -> None:
    folder = tmp_path / "many"
    arguments = ["sample", run, "-n", "1000000", "--shards", folder, "--shard-size", "70", "--processes", "2"]
    workers: set[int] = set()
    with subprocess.Popen(
        [sys.executable, "-c", "from pixelrnn.cli import main; main()", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as command:
        try:
            wait_for((folder / "samples-00002.npy").exists)
            workers = workers_of(command.pid)
            assert len(workers) == 2
            if end == "a worker is killed":
                os.kill(max(workers), signal.SIGKILL)
            else:
                command.send_signal(signal.SIGINT if end == "Ctrl-C" else signal.SIGKILL)
            _, err = command.communicate(timeout=60)
            wait_for(lambda: not any(map(is_alive, workers)), 20)
        finally:
            command.kill()
            for worker in filter(is_alive, workers):
                os.kill(worker, signal.SIGKILL)
    assert "Traceback" not in err
    if end == "a worker is killed":
        assert command.returncode == FAILED
        assert re.fullmatch(r"error: One of the 2 worker processes ended .* Use fewer processes\.\n", err), err
    if end != "the command is killed":
        assert not list(folder.glob(".*"))
    assert all(len(np.load(path)) == 70 for path in folder.glob("samples-*.npy"))
