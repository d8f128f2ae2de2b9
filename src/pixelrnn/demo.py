"""The demo: train a small model on real images, evaluate it, sample, complete images, and write a report page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pixelrnn.data import ImageData, grid, save_picture
from pixelrnn.errors import RunFolderError
from pixelrnn.files import write_atomic
from pixelrnn.measure.evaluation import Baseline, Evaluation, baselines, evaluate, levels_for, load_like
from pixelrnn.measure.inspection import draw_fields
from pixelrnn.model import PixelModel
from pixelrnn.report.page import page
from pixelrnn.report.sheets import completion_sheet
from pixelrnn.training.callbacks import Progress
from pixelrnn.training.prepare import load_for
from pixelrnn.training.presets import Preset, load_preset
from pixelrnn.training.run import train
from pixelrnn.training.run_folder import check_folder, check_not_foreign, finished, saved_preset

_COMPLETED, _EACH = 8, 5
_PAGE = "report.html"


@dataclass(frozen=True)
class DemoResult:
    """The demo's results on held-out images, and the run folder of its model."""

    run: Path
    evaluation: Evaluation
    baselines: list[Baseline]
    seconds_of_training: float

    def rows(self) -> list[tuple[str, float, float]]:
        """(method, nats per image, bits per dimension), the best last."""
        model = ("this model", self.evaluation.nats, self.evaluation.bits_per_dim)
        others = [(each.name, each.nats, each.bits_per_dim) for each in self.baselines]
        return [*sorted(others, key=lambda row: -row[1]), model]

    def table(self) -> str:
        """The rows as lines of text under a heading."""
        test = self.evaluation
        head = f"{test.images} held-out images of {test.data} ({test.protocol}), lower is better"
        lines = [f"  {name:24} {nats:8.2f} nats/image   {bits:.3f} bits/dim" for name, nats, bits in self.rows()]
        return "\n".join([head, *lines])


def run_demo(
    out: str | Path,
    preset: str = "digits",
    *,
    epochs: int | None = None,
    bar: bool = False,
    on_training: Callable[[], None] = lambda: None,
    on_validation: Callable[[Progress], None] = lambda _: None,
) -> DemoResult:
    """Train the preset into `out`/run, unless that was done before, and write pictures and report.html into `out`.

    `on_training` is called before training, if there is anything to train.

    Raises: RunFolderError if `out` cannot be written or holds something else; the errors of `train`
    """
    folder = Path(out)
    settings = load_preset(preset, [f"epochs={epochs}"] if epochs is not None else [])
    if not (folder / "run" / "training").is_dir() and not (folder / _PAGE).is_file():
        check_not_foreign(folder, ("run",))
    model = _trained(folder / "run", settings, bar, on_training, on_validation)
    test = load_like(model, None, "test")
    levels = levels_for(model, test)
    pixels = np.asarray(levels.fixed(test.images))
    others = baselines(np.asarray(levels.fixed(load_for(settings, "train").images)), pixels, model.levels)
    result = DemoResult(folder / "run", evaluate(model, test), others, model.about["progress"]["seconds"])
    save_picture(grid(model.sample(64, seed=0), model.levels, columns=8), folder / "samples.png")
    some = torch.from_numpy(np.ascontiguousarray(pixels[:_COMPLETED]))
    top_half = torch.arange(model.size[0])[:, None].expand(model.size) < model.size[0] // 2
    save_picture(completion_sheet(model, some, top_half, _EACH, seed=0), folder / "completions.png")
    draw_fields([model], folder / "receptive_field.png")
    _write_page(folder, model, test, result)
    return result


def _trained(
    run: Path,
    settings: Preset,
    bar: bool,
    on_training: Callable[[], None],
    on_validation: Callable[[Progress], None],
) -> PixelModel:
    if finished(run) and saved_preset(run).as_dict() == settings.as_dict():
        return PixelModel.load(run)
    begun = (run / "training" / "preset.json").is_file()
    if begun and saved_preset(run).as_dict() != settings.as_dict():
        raise RunFolderError(
            f"{run} holds a demo with different settings. Choose another --out, or remove that folder."
        )
    check_folder(run, settings, resume=begun, overwrite=False)
    on_training()
    command = f"pixelrnn train {settings.name} --out FOLDER --epochs {settings.training.epochs}"
    return train(settings, run, resume=begun, command=command, bar=bar, on_validation=on_validation)


def _write_page(folder: Path, model: PixelModel, test: ImageData, result: DemoResult) -> None:
    height, width = model.size
    facts = [
        ("network", f"{model.config['network']}, {model.num_parameters:,} parameters"),
        ("data", f"{test.name}: {height} x {width}, {result.evaluation.protocol}"),
        (
            "training",
            f"{model.about['train_images']:,} images; {model.about['progress']['images']:,} seen until the "
            f"best epoch, in {result.seconds_of_training:.0f} s",
        ),
        ("held out", f"{result.evaluation.images} images of the test split; the best epoch was chosen on other images"),
    ]
    pictures = [
        ("Samples", "samples.png", "Sampled pixel by pixel from the model, with seed 0."),
        (
            "Completions",
            "completions.png",
            "Each row: a held-out image, its known top half, and five completions. Pixels are sampled in raster order, "
            "each conditioned on all earlier ones, so completions of a known top half are exact samples. Known pixels "
            "that come later, as with a known left half, would be kept but not conditioned on.",
        ),
        ("Receptive field", "receptive_field.png", "The pixels that the middle one depends on, measured by gradients."),
    ]
    try:
        html = page(f"What the model learned from {test.name}", facts, result.rows(), pictures, folder)
        write_atomic(folder / _PAGE, html.encode())
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be written: {error.strerror or error}.") from error
