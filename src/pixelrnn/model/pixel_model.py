"""A causal network, a head and a geometry: one model for likelihood, sampling and completion."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pixelrnn.canvas import Whole, scale
from pixelrnn.checks import Images, Labels, Numbers, at_least, checked_images, checked_mask, pair
from pixelrnn.errors import ConditionError, ConfigError, ImageError, ModelFolderError, unknown
from pixelrnn.heads import HEADS, head_options
from pixelrnn.model import model_folder as folders
from pixelrnn.model.options import CONDITION, build_condition, check_geometry, condition_option, head_option
from pixelrnn.model.shipped import folder_of
from pixelrnn.networks import build_network, options_of
from pixelrnn.sampling.choosers import Chooser, Draw, Guide, Keep, uniforms
from pixelrnn.sampling.pace import Pace
from pixelrnn.sampling.walk import Method, walk

Row = tuple[int, int, Tensor]  # index of the first image of a batch, row, that row of the images
OnRow = Callable[[int, int, Tensor], None]


class PixelModel(nn.Module):
    """An autoregressive image model: the exact probability of every pixel given the pixels before it.

    Images are integers 0..levels-1 of shape (B, C, H, W), in and out; out they are uint8 on the model's device. Any
    size may be asked for or given, `size` is the one it was trained on. `.to(device)` and `.double()` work as on any
    module.

    Arguments:
        network   a name of `pixelrnn.networks()`
        head      "bernoulli" (binary), "categorical" or "mcgsm"
        size      (H, W)
        channels  colours, 1 to 256; red comes before green before blue
        levels    2 to 256
        options   of the network, of the head and of the condition (`CONDITION`), by their own names
    Raises:       ConfigError for whatever does not exist or is out of its range
    """

    def __init__(
        self, network: str, head: str, size: tuple[int, int], channels: int, levels: int, options: dict[str, Any]
    ) -> None:
        super().__init__()
        check_geometry(head, size, channels, levels)
        size, channels, levels = (int(size[0]), int(size[1])), int(channels), int(levels)
        defaults = {**options_of(network), **head_options(HEADS[head])}
        mine = {key: head_option(key, options[key]) for key in head_options(HEADS[head]) if key in options}
        condition = {key: condition_option(key, options[key]) for key in CONDITION if key in options}
        self.head = HEADS[head](channels, levels, **mine)
        self.condition, self.encoder = build_condition({**CONDITION, **condition}, size, channels)
        condition_width = 0 if self.condition is None else self.condition.width
        rest = {key: value for key, value in options.items() if key not in mine and key not in condition}
        self.network = build_network(network, self.head, rest, condition_width)
        self.size, self.channels, self.levels = size, channels, levels
        if condition_width:
            defaults.update(CONDITION)
        self.config: dict[str, Any] = {
            "network": network,
            "options": {**defaults, **options, **mine, **condition},
            "head": head,
            "size": list(size),
            "channels": channels,
            "levels": levels,
        }
        self._pace = Pace()
        self.register_load_state_dict_pre_hook(_rename_keys)  # type: ignore[no-untyped-call]
        self.about: dict[str, Any] = {}  # where it comes from: preset, data, results; saved with it

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next(self.parameters()).device

    @property
    def num_parameters(self) -> int:
        """All weights, masked and frozen ones included."""
        return sum(each.numel() for each in self.parameters())

    @property
    def dimensions(self) -> int:
        """Pixels times colours of one image of the trained size."""
        return self.size[0] * self.size[1] * self.channels

    def forward(self, images: Images) -> Tensor:
        """The same as `log_prob(images)`."""
        return self.log_prob(images)

    def log_prob(
        self,
        images: Images,
        *,
        label: Labels | None = None,
        vector: Numbers | None = None,
        condition_map: Numbers | None = None,
        reduce: bool = True,
        check: bool = True,
    ) -> Tensor:
        """Exact log-probability in nats: (B,), or with reduce=False that of every pixel and colour given all earlier
        ones, (B, C, H, W). Differentiable with respect to the weights.

        Arguments:
            label   0..classes-1, one for all images or one for each (B,); None: not told
            vector  (vector_size,) or (B, vector_size)
            condition_map  (map_channels, H, W) or (B, map_channels, H, W)
            check   False takes all of them at their word: tensors of the right shape, (B, ...), type and range, on the
                    model's device
        Raises:     ImageError if the images do not fit the model, ConditionError if the condition does not
        """
        pixels = checked_images(images, self.channels, self.levels, self.device) if check else torch.as_tensor(images)
        size = (pixels.shape[2], pixels.shape[3])
        s = self.embed_condition(
            len(pixels), size, label=label, vector=vector, condition_map=condition_map, check=check
        )
        params = self.network(Whole(scale(pixels, self.levels, self.dtype), s))
        nats = self.head.log_prob(params, pixels)
        return nats.sum((1, 2, 3)) if reduce else nats

    def embed_condition(
        self,
        n: int,
        size: tuple[int, int] | None = None,
        *,
        label: Labels | None = None,
        vector: Numbers | None = None,
        condition_map: Numbers | None = None,
        check: bool = True,
    ) -> Tensor | None:
        """The map s that a condition of n images is made into, as the network is told of it; None without one.

        Shapes: (n, condition_width, H, W), or (n, condition_width, 1, 1) where nothing has a place
        Raises: ConditionError if the condition does not fit the model
        """
        condition: Any = (label, vector, condition_map)
        if check:
            condition = self._checked_condition(n, self.size if size is None else size, *condition)
        found: Tensor | None = None if self.condition is None else self.condition(*condition)
        return found

    def encode(self, images: Images) -> Tensor:
        """The code of images, for a model that has an encoder: (B, code_size), to be given as `vector`.

        Raises: ImageError if the images do not fit; ConditionError if the model has no encoder
        """
        if self.encoder is None:
            raise ConditionError("The model has no encoder. Build one with code_size=10, or train mnist-autoencoder.")
        pixels = checked_images(images, self.channels, self.levels, self.device)
        if tuple(pixels.shape[2:]) != self.size:
            raise ImageError(
                f"The encoder was built for images of {self.size[0]}x{self.size[1]}, but they are "
                f"{pixels.shape[2]}x{pixels.shape[3]}. Bring them to that size first."
            )
        code: Tensor = self.encoder(scale(pixels, self.levels, self.dtype))
        return code

    def classify(self, images: Images, *, prior: Numbers | None = None, **condition: Any) -> Tensor:
        """The most probable label of each image, (B,): see `label_log_prob`."""
        return self.label_log_prob(images, prior=prior, **condition).argmax(1)

    @torch.no_grad()
    def label_log_prob(self, images: Images, *, prior: Numbers | None = None, **condition: Any) -> Tensor:
        """log p(label | image) by Bayes' rule, (B, classes): p(image | label) p(label), normalised.

        Arguments:
            prior  p(label), (classes,), in any scale; None: as often as in training, if that is known, else uniform
            told   vector= or map=, if the model knows them too
        Raises:    ImageError if the images do not fit; ConditionError if the model has no classes
        """
        classes = 0 if self.condition is None else self.condition.classes
        if not classes:
            raise ConditionError("The model knows no labels, so it cannot classify. Build one with classes=10.")
        prior = self.about.get("class_counts", [1.0] * classes) if prior is None else prior
        weights = torch.as_tensor(prior, dtype=torch.float64, device=self.device)
        if (
            weights.shape != (classes,)
            or not bool(((weights >= 0) & weights.isfinite()).all())
            or not bool(weights.sum() > 0)
        ):
            raise ConditionError(f"The prior must be {classes} numbers that are not negative, but {prior!r} came.")
        joint = torch.stack([self.log_prob(images, label=label, **condition) for label in range(classes)], 1).double()
        return (joint + (weights / weights.sum()).log()).log_softmax(1)

    def bits_per_dim(self, images: Images, **condition: Any) -> Tensor:
        """Bits per pixel and colour, (B,): minus the nats, divided by H W C ln 2; conditions as for `log_prob`."""
        nats = self.log_prob(images, **condition, reduce=False)
        return -nats.sum((1, 2, 3)) / (nats[0].numel() * math.log(2)) if len(nats) else nats.sum((1, 2, 3))

    def sample(
        self,
        n: int,
        *,
        size: tuple[int, int] | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
        method: Literal["auto", "cached", "naive"] = "auto",
        span: int | None = None,
        batch_size: int = 64,
        label: Labels | None = None,
        vector: Numbers | None = None,
        condition_map: Numbers | None = None,
        guidance: float = 1.0,
        on_row: OnRow | None = None,
        start: int = 0,
    ) -> Tensor:
        """New images: (n, C, H, W) uint8.

        Arguments:
            size         (H, W) of the new images, any; the trained size if left out
            temperature  draws from p^(1/T): below 1 more probable images, 0 the most probable level everywhere
            seed         the same seed gives the same images, image by image, whatever n and batch_size; None: a new one
            method       "auto", "cached": every layer keeps its past; "naive": one whole pass per pixel and colour, the
                         slow oracle. The images are the same.
            span         pixels of a row that "cached" tries at once; None: what was fastest for this model so far. The
                         images are the same.
            label, vector, map  the condition, one for all or one for each, as for `log_prob`; None: not told
            guidance     1 draws from p(image | condition); above 1 exaggerates it, at twice the price; 0 leaves it out
            on_row       called with (index of the first image of the batch, row, that row (B, C, W)) when it is final
            start        index of the first image: these are images start .. start + n - 1 of the seed, so that many may
                         be drawn in parts
        Raises:          ConfigError for a number out of its range; ConditionError if a condition misfits or is missing
        """
        blank = self._blank(n, size)
        condition = Asked(label, vector, condition_map, guidance)
        start = at_least("start", start, 0)
        _exhaust(self._rows(blank, None, condition, temperature, seed, method, span, batch_size, start), on_row)
        return blank

    def sample_rows(
        self,
        n: int,
        *,
        size: tuple[int, int] | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
        span: int | None = None,
        batch_size: int = 64,
        label: Labels | None = None,
        vector: Numbers | None = None,
        condition_map: Numbers | None = None,
        guidance: float = 1.0,
    ) -> Iterator[Row]:
        """New images row by row, as they come: (index of the first image of the batch, row, that row (B, C, W)).

        Arguments and errors are those of `sample`; only as much is computed as is asked for.
        """
        condition = Asked(label, vector, condition_map, guidance)
        return self._rows(self._blank(n, size), None, condition, temperature, seed, "auto", span, batch_size)

    def complete(
        self,
        images: Images,
        known: Images,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        method: Literal["auto", "cached", "naive"] = "auto",
        span: int | None = None,
        batch_size: int = 64,
        label: Labels | None = None,
        vector: Numbers | None = None,
        condition_map: Numbers | None = None,
        guidance: float = 1.0,
        on_row: OnRow | None = None,
    ) -> Tensor:
        """Images with their unknown pixels drawn: (B, C, H, W) uint8; known pixels come back untouched.

        Every unknown pixel is drawn given all pixels before it in the network's order: raster order, or for a
        multi-scale network the small image first. Known pixels further on are kept but not seen, so this is an exact
        sample of the missing part where the known pixels precede the unknown ones (the top half given, say, in
        raster order), and an approximation elsewhere.

        Arguments:
            images  (B, C, H, W) integers; whatever stands at unknown pixels is not looked at, if it is in range
            known   bool, broadcastable to (B, 1, H, W); True is known
            others  as for `sample`
        Raises:     ImageError if images or mask do not fit
        """
        pixels = checked_images(images, self.channels, self.levels, self.device).to(torch.uint8)
        mask = checked_mask(known, pixels)
        pixels = pixels * mask
        condition = Asked(label, vector, condition_map, guidance)
        _exhaust(self._rows(pixels, mask, condition, temperature, seed, method, span, batch_size), on_row)
        return pixels

    def save(self, folder: str | Path, card: str | None = None, *, half: bool = False) -> None:
        """Write the model as a folder: config.json, model.safetensors, README.md; with `half`, the weights in 16 bits.

        Raises: RunFolderError if the folder cannot be written
        """
        config = {**self.config, "parameters": self.num_parameters, "about": self.about}
        weights = {name: each.half() if half else each for name, each in self.state_dict().items()}
        folders.write_folder(Path(folder), config, weights, card or self._plain_card())

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> PixelModel:
        """A model from its folder, or one that comes with the package by its name, ready for evaluation.

        Nothing is unpickled and the weights' hash is verified. Weights in 16 bits become 32.

        Raises: ModelFolderError if a file is missing, damaged, or was not written by this package; ConfigError if the
                device is not there
        """
        path = folder_of(folder)
        config = folders.read_config(path)
        wanted = [config[key] for key in ("network", "head", "size", "channels", "levels", "options")]
        try:
            with torch.device("meta"):  # weighed before memory is taken
                expected = {name: each.shape for name, each in cls(*wanted).state_dict().items()}
        except (ConfigError, TypeError) as error:
            raise ModelFolderError(f"{path / folders.CONFIG} describes no model: {error}") from error
        largest = 8 * sum(shape.numel() for shape in expected.values()) + 1_000_000
        tensors = renamed(folders.read_weights(path, config, largest))
        for name in {**expected, **tensors}:
            found = tensors[name].shape if name in tensors else None
            if found != expected.get(name) or not tensors[name].is_floating_point():
                raise ModelFolderError(
                    f"The weights in {path} do not fit the network in its config: {name} should be "
                    f"{_shape(expected.get(name))}, it is {_shape(found)}. Copy the folder again."
                )
        model = cls(*wanted)
        if any(each.dtype == torch.float64 for each in tensors.values()):
            model.double()
        model.load_state_dict(tensors)
        model.about = config["about"]
        try:
            return model.to(device).eval()
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"The model cannot be put on the device {str(device)!r}: {error}") from error

    def _blank(self, n: int, size: tuple[int, int] | None) -> Tensor:
        height, width = self.size if size is None else pair(size)
        at_least("n", n, 0)
        at_least("the height", height, 1)
        at_least("the width", width, 1)
        return torch.zeros(n, self.channels, height, width, dtype=torch.uint8, device=self.device)

    def _rows(
        self,
        pixels: Tensor,
        known: Tensor | None,
        asked: Asked,
        temperature: float,
        seed: int | None,
        method: str,
        span: int | None,
        batch_size: int,
        start: int = 0,
    ) -> Iterator[Row]:
        """Check the arguments now, then choose the pixels in place, row by row."""
        for name, value in (("temperature", temperature), ("guidance", asked.guidance)):
            number = isinstance(value, int | float | np.number)
            if not (number and math.isfinite(value) and value >= 0):
                raise ConfigError(f"The {name} must be a number, 0 or more, not {value!r}.")
        if method not in ("auto", "cached", "naive"):
            raise unknown("sampling method", method, ("auto", "cached", "naive"))
        at_least("batch_size", batch_size, 1)
        pace = self._pace if span is None else at_least("span", span, 1)
        seed = int(torch.randint(2**62, ()).item()) if seed is None else at_least("The seed", seed, 0)
        way: Method = "naive" if method == "naive" else "cached"
        condition = self._checked_condition(len(pixels), (pixels.shape[2], pixels.shape[3]), *asked[:3])
        guided = asked.guidance != 1
        if guided and len(pixels) and all(each is None for each in condition):
            raise ConditionError(
                "guidance exaggerates a condition, but the images are told none: give label, vector or map."
            )

        def rows() -> Iterator[Row]:
            """Batch after batch."""
            for first in range(0, len(pixels), batch_size):
                batch = pixels[first : first + batch_size]
                places = range(start + first, start + first + len(batch))
                numbers = uniforms(seed, places, (batch.shape[1], *batch.shape[2:]))
                draw = Draw(numbers.to(self.device), temperature)
                chooser: Chooser = draw
                if known is not None:
                    chooser = Keep(batch.clone(), known[first : first + batch_size], draw)
                condition_map = self._condition_map_of(
                    [None if each is None else each[first : first + batch_size] for each in condition]
                )
                walked = batch
                if guided and condition_map is not None:
                    chooser, condition_map = (
                        Guide(chooser, asked.guidance),
                        torch.cat([condition_map, torch.zeros_like(condition_map)]),
                    )
                    walked = batch.repeat(2, 1, 1, 1)
                for row, line in walk(
                    self.network,
                    self.head,
                    walked,
                    chooser,
                    dtype=self.dtype,
                    method=way,
                    pace=pace,
                    condition_map=condition_map,
                ):
                    batch[:, :, row] = line[: len(batch)]
                    yield first, row, line[: len(batch)]

        return _evaluating(self, rows())

    @torch.no_grad()
    def _condition_map_of(self, condition: Sequence[Tensor | None]) -> Tensor | None:
        found: Tensor | None = None if self.condition is None else self.condition(*condition)
        return found

    def _checked_condition(
        self, n: int, size: tuple[int, int], label: Any, vector: Any, map_: Any
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        if label is None and vector is None and map_ is None:
            return None, None, None
        if self.condition is None:
            raise ConditionError(
                "The model takes no condition. Build one with classes=, vector_size= or map_channels=, or train one:  "
                "pixelrnn train mnist-gated-class"
            )
        return self.condition.checked(n, size, label, vector, map_, next(self.parameters()))

    def _plain_card(self) -> str:
        settings = ", ".join(f"{key}={value}" for key, value in self.config["options"].items())
        height, width = self.size
        return (
            f"# {self.config['network']}\n\n"
            f"A pixelrnn model of {height} x {width} images with {self.channels} channel(s) and {self.levels} levels; "
            f"{self.num_parameters:,} parameters; head: {self.config['head']}; {settings}.\n\n"
            "Load it with `pixelrnn.load(FOLDER)`.\n"
        )


class Asked(NamedTuple):
    """The condition that is asked for, and how strongly."""

    label: Labels | None = None
    vector: Numbers | None = None
    condition_map: Numbers | None = None
    guidance: float = 1.0


_RENAMED = (
    (r"\btold_(above|along|means)\.", r"bias_\1."),
    (r"^((?:.*\.)?network\.readout)\.told\.", r"\1.bias_features."),
    (r"\btold\.conv\.", "condition_bias.conv."),
    (r"\bcondition\.place\.", "condition.deconvolution."),
)
"""Names of weights up to version 0.1, and what they are called now."""


def renamed(tensors: dict[str, Any]) -> dict[str, Any]:
    """Weights by their present names: folders and checkpoints that were written before a renaming still load."""
    for old, new in _RENAMED:
        tensors = {re.sub(old, new, name): tensor for name, tensor in tensors.items()}
    return tensors


def _rename_keys(module: nn.Module, state: dict[str, Any], *_: Any) -> None:
    names = renamed({name: name for name in state})
    for new, old in names.items():
        if new != old:
            state[new] = state.pop(old)


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else str(tuple(shape))


def _exhaust(rows: Iterator[Row], on_row: OnRow | None) -> None:
    for row in rows:
        if on_row is not None:
            on_row(*row)


def _evaluating(model: nn.Module, rows: Iterator[Row]) -> Iterator[Row]:
    """Dropout off for a while; a model that is not in training is not touched, so walks may run side by side."""
    was = model.training
    if was:
        model.eval()
    try:
        yield from rows
    finally:
        if was:
            model.train()
