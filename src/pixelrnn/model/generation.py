"""Sampling from a model: new images, rows as they are finished, completions; one generator underlies all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from pixelrnn.canvas import Order
from pixelrnn.checks import Images, Labels, Numbers, at_least, check_memory, checked_images, checked_mask, pair
from pixelrnn.errors import ConditionError, ConfigError
from pixelrnn.exact import IntegerHead
from pixelrnn.heads import Head
from pixelrnn.model.orders import completion_order, takes_known_first
from pixelrnn.model.renamed import accepts_map
from pixelrnn.networks import Network, evaluating
from pixelrnn.program import Programs, Tables, UnknownStepError, native
from pixelrnn.sampling.choice import Choice
from pixelrnn.sampling.choosers import Chooser, Draw, Guide, uniforms
from pixelrnn.sampling.events import OnProgress, OnRow, Row, batches, counted, rows, timed
from pixelrnn.sampling.memory import check_walk_fits
from pixelrnn.sampling.pace import Pace
from pixelrnn.sampling.settings import SamplingSettings
from pixelrnn.sampling.stage import Settled
from pixelrnn.sampling.walk import Method, walk

if TYPE_CHECKING:
    from pixelrnn.layers.condition import Condition


class GenerationMixin(nn.Module):
    """The part of `PixelModel` that samples."""

    network: Network
    head: Head
    condition: Condition | None
    size: tuple[int, int]
    channels: int
    levels: int
    about: dict[str, Any]
    _pace: Pace
    _choice: Choice
    _programs: Programs

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""

    colour_order: list[int] | None

    def in_order(self, images: Tensor, *, back: bool = False) -> Tensor:
        """Images (B, C, ...) with their channels in the order of generation; `back` from it."""
        if self.colour_order is None:
            return images
        order = sorted(range(len(self.colour_order)), key=self.colour_order.__getitem__) if back else self.colour_order
        return images[:, order]

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device of the weights."""

    @accepts_map
    def sample(
        self,
        n: int,
        *,
        size: tuple[int, int] | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
        method: Literal["auto", "cached", "compiled", "naive"] = "auto",
        span: int | None = None,
        batch_size: int = 64,
        label: Labels | None = None,
        vector: Numbers | None = None,
        condition_map: Numbers | None = None,
        guidance: float = 1.0,
        order: Order | str | None = None,
        on_row: OnRow | None = None,
        on_progress: OnProgress | None = None,
        start: int = 0,
    ) -> Tensor:
        """New images: (n, C, H, W) uint8.

        Arguments:
            size         (H, W) of the new images, any; the trained size if left out
            temperature  samples from p^(1/T): below 1, more probable images; 0: the most probable level everywhere
            seed         the same seed gives the same images, image by image, whatever n and batch_size; None: random
            method       "cached": every layer caches its past; "compiled": the same, compiled, on a CPU; "auto": the
                         faster of these; "naive": one full pass per pixel and colour, the slow oracle. All give the
                         same images.
            span         pixels of a row that "cached" guesses at once, which does not change the images; None: the
                         fastest for this model so far
            label, vector, condition_map  the condition, one for all images or one for each, as for `log_prob`
            guidance     1 samples from p(image | condition); above 1 exaggerates the condition, at twice the cost;
                         0 ignores it
            order        the generation order or its name, for a network that takes any; None: the network's own
            on_row       called with (index of the first image of the batch, row, that row (B, C, W)) when it is final
            on_progress  called with (final pixels, all pixels)
            start        index of the first image: these are images start .. start + n - 1 of the seed, so that a large
                         number can be sampled in parts
        Raises:          ConfigError for a number out of range; ConditionError if the condition does not fit or guidance
                         has none; ModelError if the model's parameters are not finite; MemoryLimitError if it would
                         not fit into memory

        >>> import pixelrnn
        >>> model = pixelrnn.build("pixelcnn", size=(8, 8), levels=2, layers=2, width=4)
        >>> images = model.sample(3, seed=0)
        >>> images.shape, images.dtype
        (torch.Size([3, 1, 8, 8]), torch.uint8)
        >>> bool((model.sample(1, seed=0, start=2) == images[2:]).all())
        True
        """
        settings = SamplingSettings(
            temperature, seed, method, span, batch_size, guidance, label, vector, condition_map, order, start
        )
        images = self._blank(n, size)
        self._draw(images, None, settings, on_row, on_progress)
        return images

    @accepts_map
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
        order: Order | str | None = None,
    ) -> Iterator[Row]:
        """New images row by row, as they finish: (index of the first image of the batch, row, that row (B, C, W)).

        Arguments and errors are those of `sample`; rows are computed only as they are requested.
        """
        settings = SamplingSettings(
            temperature, seed, "auto", span, batch_size, guidance, label, vector, condition_map, order
        )
        images = self._blank(n, size)
        return rows(images, self._batches(n, None, settings), self.generate(images, None, settings))

    @accepts_map
    def complete(
        self,
        images: Images,
        known: Images,
        *,
        temperature: float = 1.0,
        seed: int | None = None,
        method: Literal["auto", "cached", "compiled", "naive"] = "auto",
        span: int | None = None,
        batch_size: int = 64,
        label: Labels | None = None,
        vector: Numbers | None = None,
        condition_map: Numbers | None = None,
        guidance: float = 1.0,
        order: Order | str | None = "auto",
        on_row: OnRow | None = None,
        on_progress: OnProgress | None = None,
    ) -> Tensor:
        """Images with their unknown pixels sampled: (B, C, H, W) uint8; known pixels are returned unchanged.

        Every unknown pixel is conditioned on the pixels before it in the generation order. A network that takes any
        order takes the known pixels first, unless it was trained in its own order alone: the result is an exact sample
        of the missing part. (Attention sees all known pixels, a locally masked convolution as far as its layers reach.)
        Other networks go in raster order, or for a multi-scale network with the small image first; later known
        pixels are kept but not conditioned on, so it is an exact sample if the known pixels precede the unknown ones
        (if the top half is known, for example), and an approximation otherwise.

        Arguments:
            images  (B, C, H, W) integers; values at unknown pixels are ignored, but must be in range
            known   bool, broadcastable to (B, 1, H, W); True where known
            order   as for `sample`; "auto": the known pixels first, if the network takes any order, and the settings of
                    its training (`about`) do not say that it was trained in its own alone
            others  as for `sample`
        Raises:     ImageError if the images or the mask do not fit; others as for `sample`

        >>> import pixelrnn
        >>> model = pixelrnn.build("row-lstm", size=(6, 6), levels=4, layers=1, width=4)
        >>> images, known = model.sample(2, seed=0), torch.arange(6)[:, None].expand(6, 6) < 3
        >>> completed = model.complete(images, known, seed=1)
        >>> bool((completed[:, :, :3] == images[:, :, :3]).all())
        True
        """
        settings = SamplingSettings(
            temperature, seed, method, span, batch_size, guidance, label, vector, condition_map, order
        )
        pixels = checked_images(images, self.channels, self.levels, self.device).to(torch.uint8)
        mask = checked_mask(known, pixels)
        pixels = (pixels * mask).contiguous()
        self._draw(pixels, mask, settings, on_row, on_progress)
        return pixels

    def generate(self, images: Tensor, known: Tensor | None, settings: SamplingSettings) -> Iterator[Settled]:
        """The one generator under `sample`, `sample_rows` and `complete`: pixels as they become final.

        Arguments are checked immediately; pixels are sampled lazily. Every pixel of every image, known ones included,
        becomes final in exactly one event.

        Arguments:
            images  (N, C, H, W) uint8 on the model's device, contiguous: modified in place, batch by batch
            known   (N, 1, H, W) bool: pixels that are kept; None for none
        Yields:     `Settled`, with `images` as indices into all N
        Raises:     as `sample`

        >>> import pixelrnn
        >>> model = pixelrnn.build("pixelcnn", size=(4, 4), levels=2, layers=1, width=4)
        >>> images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
        >>> sum(int(event.final.sum()) for event in model.generate(images, None, SamplingSettings(seed=0)))
        32
        """
        size = (images.shape[2], images.shape[3])
        order = None if settings.order == "auto" else self.network.checked_order(settings.order, size)
        condition = self._checked_condition(len(images), size, *settings.condition)
        if settings.guidance != 1 and len(images) and all(each is None for each in condition):
            raise ConditionError(
                "guidance exaggerates a condition, but there is none: give label, vector or condition_map."
            )
        copies = 2 if settings.guidance != 1 else 1
        batch, total = (
            count * copies for count in (min(len(images), settings.batch_size), len(images))
        )  # to walk over
        check_walk_fits(self.network, batch, (self.channels, *size), self.dtype, self.device)
        seed = int(torch.randint(2**62, ()).item()) if settings.seed is None else int(settings.seed)

        def of_part(part: slice) -> Iterator[Settled]:
            some = tuple(None if each is None else each[part] for each in condition)
            mask, first, along = None if known is None else known[part], part.start, order
            if settings.order == "auto" and mask is not None:
                along = completion_order(self.network, self.about, mask[0, 0].cpu())
            for event in self._walk(images[part], mask, some, along, settings, seed, settings.start + first, total):
                yield event._replace(images=event.images + first)

        def events() -> Iterator[Settled]:
            with evaluating(self):
                for part in self._batches(len(images), known, settings):
                    yield from of_part(part)

        return events()

    def _batches(self, count: int, known: Tensor | None, settings: SamplingSettings) -> Iterator[slice]:
        """The batches of so many images; those of a batch have the same mask, if that decides the order."""
        by_itself = settings.order == "auto" and takes_known_first(self.network, self.about)
        return batches(count, settings.batch_size, known if by_itself else None)

    def _walk(
        self,
        images: Tensor,
        known: Tensor | None,
        condition: tuple[Tensor | None, ...],
        order: Order | None,
        settings: SamplingSettings,
        seed: int,
        start: int,
        total: int,
    ) -> Iterator[Settled]:
        """Walk over one batch; with guidance over two copies of it side by side, of which the second is not yielded."""
        batch = len(images)
        numbers = uniforms(seed, range(start, start + batch), (images.shape[1], *images.shape[2:]))
        chooser: Chooser = Draw(numbers.to(self.device), settings.temperature)
        s = None
        if self.condition is not None:
            with torch.no_grad():
                s = self.condition(*condition)
        walked, twice = self.in_order(images), False
        if settings.guidance != 1 and s is not None:
            twice = True
            chooser, s = Guide(chooser, settings.guidance), torch.cat([s, torch.zeros_like(s)])
            walked = walked.repeat(2, 1, 1, 1)
            known = None if known is None else known.repeat(2, 1, 1, 1)
        pixels = images.shape[2] * images.shape[3]
        method = self._method(settings, s, len(walked), pixels, total)
        events = walk(
            self.network,
            self.head,
            walked,
            chooser,
            dtype=self.dtype,
            known=known,
            order=order,
            method=method,
            pace=self._pace if settings.span is None else settings.span,
            programs=self._programs,
            condition_map=s,
        )
        spent = [0.0]
        for event in timed(events, spent):
            if twice:
                mine = event.images < batch
                event = event._replace(images=event.images[mine], values=event.values[mine], final=event.final[mine])
            if walked is not images:
                values = self.in_order(torch.from_numpy(event.values), back=True).numpy()
                event = event._replace(values=values)
                event.write_to(images)
            yield event
        if known is None and method != "naive":
            count = len(walked)
            self._choice.learn(method, images=count, area=pixels, pixels=count * pixels, seconds=spent[0])

    def _method(
        self, settings: SamplingSettings, condition_map: Tensor | None, images: int, area: int, total: int
    ) -> Method:
        """How to walk over batches of so many images with so many pixels in all.

        Raises: ConfigError if a compiled walk is requested but the model has none
        """
        if settings.method in ("cached", "naive"):
            return "naive" if settings.method == "naive" else "cached"
        if settings.method == "auto" and settings.span is not None:
            return "cached"
        double, exact = self.dtype == torch.float64, isinstance(self.head, IntegerHead)
        number = ("codec" if exact else "float") + ("64" if double else "32")
        if exact and (settings.temperature != 1 or settings.guidance != 1):
            if settings.method == "compiled":
                raise ConfigError(
                    "Compiled code of an exact model draws at temperature 1 only, and without guidance. Use "
                    "method='auto'."
                )
            return "cached"
        try:
            tables = self._tables(condition_map)
            batch = {"levels": self.levels, "images": images, "threads": torch.get_num_threads()}
            batch |= {"area": area, "pixels": total * area}
            if settings.method == "compiled" or self._choice.compiled(
                tables, **batch, first=native.seconds_until_ready(number)
            ):
                native.entry(number)  # now, as the time that it takes does not count as the walk's
                return "compiled"
        except (UnknownStepError, native.KernelError) as error:
            if settings.method == "auto":
                return "cached"
            why = f"This model cannot be sampled with method='compiled': {error}. Use method='auto'."
            raise ConfigError(why) from error
        if self._choice.compiled(tables, **batch, first=0.0):  # next time
            native.compile_in_background(number)
        return "cached"

    def _tables(self, condition_map: Tensor | None) -> list[Tables]:
        """The programs of all stages, given a condition map of the batch."""
        found = []
        for stage in self.network.stages():
            s = condition_map
            if stage.condition_map is not None:
                nothing = torch.zeros(1, self.channels, 2, 2, dtype=self.dtype, device=self.device)
                s = stage.condition_map(nothing, None if s is None else s[:1, :, :2, :2])
            found.append(self._programs.of(stage.network, self.head, s))
        return found

    @torch.no_grad()
    def programs(self) -> list[Tables]:
        """The compiled form of the network, of each stage if it has several.

        Raises: UnknownStepError, which names what cannot be compiled
        """
        width = 0 if self.condition is None else self.condition.width
        return self._tables(torch.zeros(1, width, 1, 1, dtype=self.dtype, device=self.device) if width else None)

    def not_compiled(self) -> str | None:
        """Why a walk with this model cannot be compiled, for instance an unsupported step; None if it can."""
        try:
            self.programs()
        except UnknownStepError as error:
            return str(error)
        return None

    def _draw(
        self,
        images: Tensor,
        known: Tensor | None,
        settings: SamplingSettings,
        on_row: OnRow | None,
        on_progress: OnProgress | None,
    ) -> None:
        """Sample all of `images` in place, and call the callbacks."""
        events = self.generate(images, known, settings)
        if on_progress is not None:
            events = counted(events, len(images) * images.shape[2] * images.shape[3], on_progress)
        if on_row is None:
            for _ in events:
                pass
        else:
            for row in rows(images, self._batches(len(images), known, settings), events):
                on_row(*row)

    def _blank(self, n: int, size: tuple[int, int] | None) -> Tensor:
        height, width = self.size if size is None else pair(size)
        n, height, width = (
            at_least(name, value, least)
            for name, value, least in (("n", n, 0), ("the height", height, 1), ("the width", width, 1))
        )
        shape = (n, self.channels, height, width)
        check_memory(f"{n} images of {height} x {width}", n * self.channels * height * width, self.device)
        return torch.zeros(shape, dtype=torch.uint8, device=self.device)

    def _checked_condition(
        self, n: int, size: tuple[int, int], label: Any, vector: Any, condition_map: Any
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        if label is None and vector is None and condition_map is None:
            return None, None, None
        if self.condition is None:
            raise ConditionError(
                "The model takes no condition. Build one with classes=, vector_size= or map_channels=, or train one:  "
                "pixelrnn train mnist-gated-class"
            )
        return self.condition.checked(n, size, label, vector, condition_map, next(self.parameters()))
