"""How well scores find odd images and odd places.

    pixelrnn train mnist-background --out runs/background
    pixelrnn train mnist-background --set mutation=0 --set 'leave_out=["1"]' --out runs/without-1
    pixelrnn train mnist-background --set mutation=0 --set 'leave_out=["5"]' --out runs/without-5
    python benchmarks/scores.py --background runs/background --without runs/without-1 --without runs/without-5 \\
        --kodak kodak --count 1000 --out docs/scores.md --picture docs/images/scores.png

Digits: the shipped model `mnist` without a class, binarised test images, against images that were never digits.
Left-out classes: models that never saw one digit. Photographs: the shipped models `cifar10-tiny` and, for the ratio,
`cifar10-local`, validation images, against digits, faces and crops of larger photographs. Damage: a straight scratch is
drawn into images, and the score of each pixel is to tell the scratched ones from the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from common import write_between_marks
from PIL import Image, ImageDraw
from torch import Tensor

import pixelrnn
from pixelrnn.canvas import S_CURVES
from pixelrnn.data import Pixels, load_data
from pixelrnn.measure.evaluation import levels_for
from pixelrnn.measure.scores import Scores, averaged, bits_of, detection, every_score
from pixelrnn.model import PixelModel
from pixelrnn.report.maps import Map, save_maps

KINDS = ("bits", "typicality", "ratio", "complexity")


def clothes(count: int, chance: np.random.Generator) -> Pixels:
    """Filled outlines of shirts, trousers, bags and shoes, (count, 1, 28, 28), as bytes."""
    shapes = {
        "shirt": [(2, 8), (9, 3), (18, 3), (25, 8), (23, 13), (19, 11), (19, 25), (8, 25), (8, 11), (4, 13)],
        "trousers": [(8, 2), (19, 2), (21, 26), (15, 26), (13, 10), (12, 26), (6, 26)],
        "bag": [(4, 10), (9, 10), (10, 4), (17, 4), (18, 10), (23, 10), (24, 24), (3, 24)],
        "shoe": [(3, 12), (8, 12), (14, 17), (24, 18), (25, 22), (3, 22)],
    }
    found = np.zeros((count, 1, 28, 28), np.uint8)
    for image in found:
        outline = np.array(shapes[list(shapes)[chance.integers(len(shapes))]], float)
        moved = (outline - 13.5) * chance.uniform(0.75, 1.05, 2) + 13.5 + chance.uniform(-1, 1, outline.shape)
        canvas = Image.new("L", (28, 28))
        ImageDraw.Draw(canvas).polygon([tuple(each) for each in moved], fill=int(chance.integers(120, 256)))
        image[0] = np.asarray(canvas)
    return found


def odd_digits(raw: Pixels, chance: np.random.Generator) -> dict[str, Pixels]:
    """What is no digit, as bytes (N, 1, 28, 28)."""
    shuffled = raw.reshape(len(raw), -1)[:, chance.permutation(28 * 28)].reshape(raw.shape)
    return {
        "digits rotated by 90 degrees": np.rot90(raw, axes=(2, 3)).copy(),
        "digits mirrored": raw[..., ::-1].copy(),
        "outlines of clothes": clothes(len(raw), chance),
        "digits with their pixels shuffled": shuffled,
        "noise": chance.integers(0, 256, raw.shape).astype(np.uint8),
        "black images": np.zeros_like(raw),
    }


def odd_photographs(count: int, kodak: list[Path], chance: np.random.Generator) -> dict[str, Pixels]:
    """What is no photograph of CIFAR-10, as bytes (N, 3, 32, 32)."""
    digits = np.pad(load_data("mnist", "test").images[:count], ((0, 0), (0, 0), (2, 2), (2, 2)))
    faces = load_data("faces", "train").images
    wide = [np.asarray(Image.fromarray(face[0]).resize((32, 32), Image.Resampling.BICUBIC))[None] for face in faces]
    found = {"digits": digits.repeat(3, 1), "gray faces": np.stack(wide).repeat(3, 1)[:count]}
    if kodak:
        found["crops of photographs"] = np.stack(list(crops(kodak, 32, count, chance)))
    shades = chance.integers(0, 256, (count, 3, 1, 1)).astype(np.uint8)
    return found | {
        "noise": chance.integers(0, 256, (count, 3, 32, 32)).astype(np.uint8),
        "one colour": np.broadcast_to(shades, (count, 3, 32, 32)).copy(),
    }


def crops(paths: list[Path], side: int, count: int, chance: np.random.Generator) -> Iterator[Pixels]:
    """Parts of pictures, (3, side, side), from all of them alike."""
    pictures = [np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path in paths]
    for index in range(count):
        picture = pictures[index % len(pictures)]
        top, left = (chance.integers(0, length - side + 1) for length in picture.shape[1:])
        yield picture[:, top : top + side, left : left + side].copy()


def table(normal: dict[str, Scores], odd: dict[str, dict[str, Scores]]) -> list[str]:
    """A line for each odd set: AUROC and FPR95 of each kind, with the interval of the AUROC."""
    kinds = [kind for kind in KINDS if kind in normal]
    lines = [f"| odd images | {' | '.join(kinds)} |", "|---|" + "---|" * len(kinds)]
    for name, scores in odd.items():
        cells = []
        for kind in kinds:
            found = detection(normal[kind].images, scores[kind].images)
            low, high = found.auroc_interval
            cells.append(f"{found.auroc:.3f} ({low:.3f} to {high:.3f}), {found.fpr95:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def scratched(images: Tensor, levels: int, strength: int, chance: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) with a straight scratch each, and which pixels it changed (N, H, W).

    Arguments: strength, levels that are added or subtracted
    """
    height, width = images.shape[2:]
    marks = np.zeros((len(images), height, width), bool)
    for mark in marks:
        canvas = Image.new("1", (width, height))
        ends = [tuple(chance.uniform(0.1, 0.9, 2) * (width, height)) for _ in range(2)]
        ImageDraw.Draw(canvas).line(ends, fill=1, width=max(1, width // 64))
        mark[:] = np.asarray(canvas)
    where = torch.from_numpy(marks)
    sign = torch.where(images.double().mean((1, 2, 3), keepdim=True) < levels / 2, 1, -1)
    changed = (images.long() + sign * strength).clamp(0, levels - 1).to(images.dtype)
    made = torch.where(where[:, None], changed, images)
    return made, (made != images).any(1)


def places(maps: Tensor, changed: Tensor) -> str:
    """How well a map tells changed pixels from others, as they are and averaged over 3 x 3 pixels."""
    return " | ".join(f"{_auroc(each, changed):.3f}" for each in (maps, averaged(maps, 3)))


def _auroc(maps: Tensor, changed: Tensor) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(changed.numpy().ravel(), maps.numpy().ravel()))


@torch.no_grad()
def map_over(model: PixelModel, images: Tensor, orders: list[str]) -> Tensor:
    """The bits of every pixel, the mean over several generation orders."""
    return torch.stack([bits_of(model, images, order=order) for order in orders]).mean(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--background", help="a model of mutated digits")
    parser.add_argument("--without", action="append", default=[], help="a model that never saw a class")
    parser.add_argument("--kodak", type=Path, help="a folder of photographs, .png")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    chance, count = np.random.default_rng(0), options.count
    background = pixelrnn.load(options.background) if options.background else None
    kodak = sorted(options.kodak.glob("*.png")) if options.kodak else []

    model, test = pixelrnn.load("mnist"), load_data("mnist", "test")
    levels = levels_for(model, test)
    digits = torch.from_numpy(levels.fixed(test.images)[:count].copy())
    normal = every_score(model, digits, against=background)
    odd = {}
    for name, raw in odd_digits(test.images[:count], chance).items():
        odd[name] = every_score(model, torch.from_numpy(levels.fixed(raw)), against=background)
    lines = [
        f"**Digits**: `mnist` without a class, {count:,} test digits against as many odd images, binarised alike. Each "
        "cell: AUROC (95 % interval), FPR95.",
        "",
        *table(normal, odd),
        "",
        "**Digits that were never learned**: models of the preset `mnist-background` without mutation and without one "
        f"class; all test images of it against the first {count:,} others.",
        "",
    ]
    for number, path in enumerate(options.without):
        nine = pixelrnn.load(path)
        (name,) = nine.about["preset"]["data"]["leave_out"]
        hidden, every = test.labels == test.class_names.index(name), levels.fixed(test.images)
        left, others = (torch.from_numpy(every[which].copy()) for which in (hidden, ~hidden))
        usual = every_score(nine, others[:count], against=background)
        found = table(usual, {f"digit {name}": every_score(nine, left, against=background)})
        lines += found if number == 0 else found[2:]

    photographs, local = pixelrnn.load("cifar10-tiny"), pixelrnn.load("cifar10-local")
    valid = torch.from_numpy(np.array(load_data("cifar10", "valid").images[:count]))
    usual = every_score(photographs, valid, against=local)
    odd = {
        name: every_score(photographs, torch.from_numpy(raw), against=local)
        for name, raw in odd_photographs(count, kodak, chance).items()
    }
    lines += [
        "",
        f"**Photographs**: `cifar10-tiny`, {len(valid):,} validation images of CIFAR-10; the ratio is against "
        "`cifar10-local`.",
        "",
        *table(usual, odd),
        "",
        "**Scratches**: AUROC of the scratched pixels against all others of the same images, by the map of bits as it "
        'is, and averaged over 3 x 3 pixels. (Nine of the twelve photographs, "most learned", '
        "are those that `photo` was trained on.)",
        "",
        "| model | images | scratch | map | averaged |",
        "|---|---|---|---|---|",
    ]
    some = digits[: count // 2]
    damaged, changed = scratched(some, 2, 1, chance)
    any_order = pixelrnn.load("mnist-any-order")
    curves = list(S_CURVES)
    what = f"{len(some)} digits | a line of white pixels"
    lines += [
        f"| mnist, raster order | {what} | {places(bits_of(model, damaged), changed)} |",
        f"| mnist-any-order, raster order | {what} | {places(bits_of(any_order, damaged), changed)} |",
        f"| mnist-any-order, mean of eight orders | {what} | {places(map_over(any_order, damaged, curves), changed)} |",
    ]
    shown = [Map(f"digit {index}", damaged[index], bits_of(model, damaged[index : index + 1])[0]) for index in range(8)]
    if kodak:
        photo = pixelrnn.load("photo")
        parts = torch.from_numpy(np.stack(list(crops(kodak, 128, 24, chance))))
        for strength, name in ((100, "a bright line"), (30, "a faint line")):
            damaged, changed = scratched(parts, 256, strength, chance)
            maps = bits_of(photo, damaged, batch_size=4)
            lines.append(f"| photo | 24 crops of 128 x 128, most learned | {name} | {places(maps, changed)} |")
            if strength == 100 and options.picture:
                pairs = [Map(f"crop {index}", damaged[index], maps[index]) for index in range(8)]
                save_maps(pairs, options.picture.with_name(f"{options.picture.stem}-photographs.png"), 256, "bits")
    if options.picture:
        save_maps(shown, options.picture, 2, "bits")
    print("\n".join(lines))
    if options.out:
        write_between_marks(options.out, lines)


if __name__ == "__main__":
    main()
