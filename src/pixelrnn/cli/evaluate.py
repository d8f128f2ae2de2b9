"""pixelrnn evaluate: the likelihood of a whole data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from pixelrnn.cli.common import (
    ORDER_HELP,
    Device,
    RunFolder,
    bar,
    data_set,
    download_bar,
    note_layout,
    note_split,
    note_untrained_orders,
    pick_device,
    several,
)
from pixelrnn.cli.pictures import DataSplit, DataValues
from pixelrnn.errors import ConfigError

if TYPE_CHECKING:
    from pixelrnn.measure.evaluation import Accuracy, Evaluation
    from pixelrnn.measure.verification import Verification

EXAMPLE = (
    "\b\nExamples:\n"
    "  pixelrnn evaluate runs/digits --split test --json\n"
    "  pixelrnn evaluate mnist --classify --count 1000\n"
    "  pixelrnn evaluate runs/mnist --processes 4\n"
    "  pixelrnn evaluate faces --verify\n"
    "  pixelrnn evaluate runs/lmconv --order s-curves --count 500\n"
)


def run(
    run: RunFolder,
    data: str | None = typer.Option(
        None,
        "--data",
        help="A data set's name or path; by default the one that the model was trained on.",
        callback=data_set,
    ),
    split: DataSplit = "test",
    values: DataValues = None,
    batch_size: int = typer.Option(
        25, "--batch-size", min=1, help="Images at a time; the figures do not depend on it."
    ),
    count: int | None = typer.Option(None, "--count", min=1, help="The first COUNT images only; by default all."),
    classify: bool = typer.Option(
        False, "--classify", help="Also measure how often the most probable class is right, by Bayes' rule."
    ),
    verify: bool = typer.Option(
        False,
        "--verify",
        help="Also measure how well the codes separate images of one class, or person.",
    ),
    orders: list[str] = typer.Option(
        [],
        "--order",
        help=f"{ORDER_HELP}. Repeatable, and s-curves for all eight: the mean of the probabilities.",
    ),
    no_condition: bool = typer.Option(False, "--no-condition", help="Leave the condition of a conditional model out."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object instead of a line."),
    processes: int = typer.Option(
        1,
        "--processes",
        min=1,
        help="Share the batches among this many processes; the figures stay the same.",
    ),
    device: Device = "auto",
) -> None:
    """Print exact nats per image and bits per dimension of a data set, with the standard error of the mean.

    A conditional model is given the condition of each image that it was trained with: its class, say.
    """
    from pixelrnn.measure.evaluation import accuracy, evaluate, load_like, verification
    from pixelrnn.model.processes import Workers

    _check_alone()
    if classify and no_condition:
        raise ConfigError("--classify conditions on every class in turn, --no-condition on none: use one of them.")
    if classify and orders:
        raise ConfigError("--classify goes in the order in which the model was trained: leave --order out.")
    with Workers(run, pick_device(device), processes) as workers:
        note_untrained_orders(workers.model, orders, "its likelihood is")
        with download_bar() as download:
            images = load_like(workers.model, data, split, values=values, progress=download)
        if data is not None:
            note_layout(images)
            note_split(images)
        with bar(f"{images.name}, {split}") as update:
            result = evaluate(
                workers,
                images,
                batch_size=batch_size,
                on_batch=update,
                use_condition=not no_condition,
                count=count,
                orders=orders,
            )
        classified = verified = None
        if classify:
            with bar(f"{images.name}, {split}, classes") as update:
                classified = accuracy(workers, images, batch_size=batch_size, on_batch=update, count=count)
        if verify:
            verified = verification(workers.model, images, count=count)
    if as_json:
        typer.echo(json.dumps(_as_dict(result, classified, verified)))
    else:
        typer.echo("\n".join(_lines(result, classified, verified)))


def _as_dict(result: Evaluation, classified: Accuracy | None, verified: Verification | None) -> dict[str, Any]:
    found = result.as_dict()
    if classified is not None:
        found |= {"accuracy": classified.accuracy, "accuracy_standard_error": classified.standard_error}
    if verified is not None:
        found["verification"] = verified.as_dict()
    return found


def _lines(result: Evaluation, classified: Accuracy | None, verified: Verification | None) -> Iterator[str]:
    error = "" if result.standard_error is None else f"+- {result.standard_error:.2f} nats   "
    yield (
        f"{result.nats:.2f} nats/image   {result.bits_per_dim:.4f} bits/dim   {error}"
        f"{several(result.images, 'image')}   {result.data} {result.split}, {result.protocol}   {result.seconds:.1f} s"
    )
    if classified is not None:
        yield (
            f"accuracy {100 * classified.accuracy:.1f} % +- {100 * classified.standard_error:.1f} "
            f"({several(classified.images, 'image')}, Bayes' rule)"
        )
    if verified is not None:
        yield (
            f"verification: AUC {verified.auc:.3f}, equal error rate {verified.equal_error_rate:.3f}, nearest image of "
            f"the same class {100 * verified.nearest:.0f} %   {verified.images} images of {verified.classes} classes, "
            f"{verified.same_pairs} pairs of one and {verified.other_pairs} of two"
        )


def _check_alone() -> None:
    """Raises ConfigError under a launcher of several processes, each of which would measure every image."""
    from pixelrnn.model.processes import launched

    if (world := launched().world) > 1:
        raise ConfigError(
            f"A launcher started {world} processes, and evaluate would measure every image in each of them. Start it "
            f"once, without the launcher:  pixelrnn evaluate RUN --processes {world}"
        )
