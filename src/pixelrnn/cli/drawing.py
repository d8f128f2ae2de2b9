"""Sampling very many images into the files of a folder, with any number of processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from pixelrnn.cli.common import BATCH, Clock, bar, note, save_array, several
from pixelrnn.errors import ConfigError, DataError, RunFolderError

if TYPE_CHECKING:
    from pixelrnn.data import Pixels
    from pixelrnn.model import PixelModel
    from pixelrnn.model.processes import Workers

SHEET = 64  # images in the overview picture
_SETTINGS, _FORMAT, _FORMAT_VERSION = "samples.json", "pixelrnn-samples", 1


class Request(NamedTuple):
    """How many images to draw and under which condition, how many to show per row of the sheet (None: about as many as
    there are rows), and a summary of the condition for the settings file."""

    images: int
    condition: dict[str, Any]
    rows_of: int | None
    summary: dict[str, Any]


class Drawing(NamedTuple):
    """Images drawn into shards, the files of a folder: image i of the seed is in shard i // shard_size.

    `options` are those of `PixelModel.sample`.
    """

    folder: Path
    request: Request
    options: dict[str, Any]
    shard_size: int

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.request.images // self.shard_size)

    def path(self, shard: int) -> Path:
        """The file of a shard."""
        return self.folder / f"samples-{shard:05}.npy"

    def images_of(self, shard: int) -> range:
        """The indices of the images in a shard."""
        return range(self.request.images)[shard * self.shard_size : (shard + 1) * self.shard_size]

    def jobs(self, shard: int) -> Iterator[dict[str, Any]]:
        """The batches of a shard, as arguments of `PixelModel.sample`."""
        images = self.images_of(shard)
        for start in images[::BATCH]:
            part = slice(start, min(start + BATCH, images.stop))
            condition = dict(self.request.condition)
            if self.request.summary["label"] == "all":
                condition["label"] = condition["label"][part]
            yield {"n": part.stop - start, "start": start, "batch_size": BATCH, **self.options, **condition}

    def settings(self, workers: Workers) -> dict[str, Any]:
        """Everything that the images and their division into files depend on."""
        options = {**self.options, "size": [workers.model.channels, *self.options["size"]]}
        return {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "weights": workers.weights,
            "images": self.request.images,
            "shard_size": self.shard_size,
            "levels": workers.model.levels,
            **options,
            **self.request.summary,
        }


def _draw(model: PixelModel, arguments: dict[str, Any]) -> Pixels:
    """Draw a batch in a worker."""
    images: Pixels = model.sample(**arguments).cpu().numpy()
    return images


def draw_shards(workers: Workers, drawing: Drawing, out: Path | None) -> None:
    """Draw this process's share of the shards, except those that already exist."""
    import numpy as np

    from pixelrnn.model.processes import launched

    place, (height, width) = launched(), drawing.options["size"]
    if out is not None and place.world > 1:
        raise ConfigError(
            "-o needs the images of the launcher's other processes. Leave it out, and when all have finished, run this "
            "command once more without the launcher: it draws nothing new, and writes the picture."
        )
    clock = Clock()
    workers.model.sample(0, **drawing.options)  # check the options before creating a folder
    _claim(drawing.folder, drawing.settings(workers))
    mine = place.share(drawing.shards)
    missing = [shard for shard in mine if not _is_there(drawing, shard, workers.model.channels)]
    done, total = 0, sum(len(drawing.images_of(shard)) for shard in missing)
    drawn = workers.map(_draw, (job for shard in missing for job in drawing.jobs(shard)))
    try:
        with bar("sampling") as update:
            for shard in missing:
                parts = []
                for _, images in zip(drawing.jobs(shard), drawn, strict=False):
                    parts.append(images)
                    done += len(images)
                    update(done, total)
                save_array(np.concatenate(parts), drawing.path(shard))
    except KeyboardInterrupt:
        note("complete files are kept; the same command continues")
        raise
    if out is not None:
        _save_sheet(drawing, workers.model.levels, out)
    of = f" of {drawing.shards} (process {place.rank} of {place.world})" if place.world > 1 else ""
    before = f", {len(mine) - len(missing)} already present" if len(missing) < len(mine) else ""
    count = sum(len(drawing.images_of(shard)) for shard in mine)
    typer.echo(
        f"{drawing.folder}  {several(count, 'image')} {height}x{width} in "
        f"{several(len(mine), 'file')}{of}{before}   {clock.seconds:.1f} s"
    )


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings into a new folder, or check that an existing folder has the same ones.

    Raises: ConfigError if they differ; RunFolderError if the folder holds something else, or cannot be written
    """
    from pixelrnn.files import write_atomic

    path = folder / _SETTINGS
    shards = any(folder.glob("samples-*.npy"))  # checked first: another process writes the settings before any shard
    try:
        if not path.exists():
            if shards:
                raise RunFolderError(f"{folder} holds samples-*.npy but no {_SETTINGS}. Use another folder.")
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, (json.dumps(settings, indent=2) + "\n").encode())
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be written: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{path} cannot be read as JSON ({error}). Use another folder.") from error
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise RunFolderError(f"{path} was not written by this package. Use another folder.")
    other = [key for key, value in settings.items() if found.get(key) != value]
    if other:
        there = ", ".join(f"{key} {_short(found.get(key))} (requested: {_short(settings[key])})" for key in other)
        raise ConfigError(
            f"{folder} holds images with other settings: {there}. Use the same settings to "
            "continue, or choose another folder."
        )


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) > 20 else str(value)


def _is_there(drawing: Drawing, shard: int, channels: int) -> bool:
    """Whether a shard's file exists and, judging by its header and length, is complete."""
    import numpy as np

    from pixelrnn.data.npz import read_npy

    path, shape = drawing.path(shard), (len(drawing.images_of(shard)), channels, *drawing.options["size"])
    if not path.exists():
        return False
    try:
        array = read_npy(path)
    except DataError:
        array = np.empty(0)
    whole = array.shape == shape and array.dtype == np.uint8
    if not whole:
        note(f"{path} is incomplete, and is drawn again")
    return whole


def _save_sheet(drawing: Drawing, levels: int, out: Path) -> None:
    """The first images as one picture."""
    import numpy as np

    from pixelrnn.data import grid, save_picture
    from pixelrnn.data.npz import read_npy

    first = range(min(drawing.shards, -(-SHEET // drawing.shard_size)))
    images = np.concatenate([read_npy(drawing.path(shard))[:SHEET] for shard in first])[:SHEET]
    save_picture(
        grid(images, levels, rows_of=drawing.request.rows_of if drawing.request.images <= SHEET else None), out
    )
