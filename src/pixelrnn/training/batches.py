"""Batches of images, in an order that depends only on the seed and the epoch, split among processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from pixelrnn.data import ImageData, Levels
from pixelrnn.errors import ConfigError
from pixelrnn.model.conditions import torch_labels

# Larger batches are slower on a CPU: the system allocates and clears memory for their feature maps every time.
_VALIDATION_BATCH = 25


class Batch(NamedTuple):
    """Images (B, C, H, W) uint8 and their labels (B,) int64, or None for unlabelled data."""

    pixels: Tensor
    labels: Tensor | None


class Images(Dataset[Batch]):
    """A data set of images (N, C, H, W) uint8, indexed a batch at a time; they may be on disk or on a device."""

    def __init__(self, pixels: Any, labels: np.ndarray | None = None) -> None:
        self.pixels = pixels  # an array, something with the indexing of one, or a tensor on a device
        self.labels = torch_labels(labels)

    def put_on(self, device: torch.device) -> None:
        """Move the images to a GPU if they take at most a quarter of its free memory, and are not drawn anew."""
        fixed = getattr(self.pixels, "fixed", True)  # an array is
        if fixed and not isinstance(self.pixels, Tensor) and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if self.pixels.nbytes <= free // 4:
                self.pixels = torch.from_numpy(np.ascontiguousarray(self.pixels)).to(device)
                self.labels = None if self.labels is None else self.labels.to(device)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, indices: list[int]) -> Batch:
        labels = None if self.labels is None else self.labels[torch.tensor(indices, device=self.labels.device)]
        if isinstance(self.pixels, Tensor):
            return Batch(self.pixels[torch.tensor(indices, device=self.pixels.device)], labels)
        return Batch(torch.from_numpy(np.ascontiguousarray(self.pixels[indices])), labels)


class Share(NamedTuple):
    """The part of a batch that a process computes: positions first .. first + size - 1 of the epoch's permutation.

    `total` is the size of the batch over all processes. If a small batch has no image for a process, the process
    computes the first one of the batch with weight zero (`counts` is False).
    """

    first: int
    size: int
    total: int
    counts: bool = True


class EpochOrder(Sampler[list[int]]):
    """The batches of each epoch, from a permutation of `length` images that depends only on the seed and the epoch.

    Every process computes its share of every batch, so training takes the same steps as with a single process.

    Arguments:
        batch_size  images per step, over all processes
        rank        rank of this process
        world       number of processes

    >>> order = EpochOrder(length=10, batch_size=4, seed=0)
    >>> [len(batch) for batch in order]
    [4, 4, 2]
    >>> EpochOrder(length=10, batch_size=4, seed=0, rank=1, world=2).share(0)  # the second half of the first batch
    Share(first=2, size=2, total=4, counts=True)
    """

    def __init__(self, length: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.length, self.batch_size, self.seed, self.rank, self.world = length, batch_size, seed, rank, world
        self.epoch = 0
        self.first_batch = 0  # of the next epoch only: where a resumed run continues

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.batch_size)

    def share(self, batch: int) -> Share:
        """The share of this process of the given batch."""
        begin = batch * self.batch_size
        size = min(self.batch_size, self.length - begin)
        first, last = size * self.rank // self.world, size * (self.rank + 1) // self.world
        return Share(begin + first, last - first, size) if last > first else Share(begin, 1, size, counts=False)

    def images_of(self, epoch: int, batch: int) -> list[int]:
        """The indices in the data set of the images of a batch, over all processes."""
        begin = batch * self.batch_size
        indices: list[int] = self._permutation(epoch)[begin : begin + self.batch_size].tolist()
        return indices

    def __iter__(self) -> Iterator[list[int]]:
        first, self.first_batch = self.first_batch, 0
        order = self._permutation(self.epoch)
        for batch in range(first, len(self)):
            share = self.share(batch)
            yield order[share.first : share.first + share.size].tolist()

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.length)


class _Resumable(DataLoader[Batch]):
    """A data loader that can start in the middle of an epoch; the trainer saves and restores its state."""

    def __init__(self, images: Images, order: EpochOrder, trainer: lightning.Trainer | None, workers: int) -> None:
        super().__init__(
            images,
            batch_size=None,
            sampler=order,
            collate_fn=_no_collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_ignore_signals,
        )
        self._order, self._trainer = order, trainer

    def state_dict(self) -> dict[str, int]:
        """The number of batches of the epoch that are done; 0 after the last."""
        assert self._trainer is not None
        progress: Any = self._trainer.fit_loop.epoch_loop.batch_progress
        return {"batches": progress.current.processed % len(self._order)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next epoch after these batches."""
        self._order.first_batch = state["batches"]


class PixelBatches(lightning.LightningDataModule):
    """Training and validation images: levels, or source values where training pixels are binarised anew in each batch.

    Arguments:
        batch_size  images per step, over all processes
        workers     worker processes that read training images
    """

    def __init__(
        self, train: ImageData, valid: ImageData, levels: Levels, batch_size: int, seed: int, workers: int = 0
    ) -> None:
        super().__init__()
        self.train = Images(train.images if levels.redrawn else levels.fixed(train.images), train.labels)
        self.valid = Images(levels.fixed(valid.images), valid.labels)
        self.batch_size, self.seed, self.workers = batch_size, seed, workers
        self.order = EpochOrder(len(self.train), batch_size, seed)

    def setup(self, stage: str) -> None:
        """Called once per run: moves small data sets to the GPU, and splits batches among the processes."""
        if self.trainer is not None:
            for images in (self.train, self.valid) if not self.workers else ():
                images.put_on(self.trainer.strategy.root_device)
            rank, world = self.trainer.global_rank, self.trainer.world_size
            if len(self.valid) < world:
                raise ConfigError(
                    f"{len(self.valid)} validation images are too few for {world} processes, each of which needs one. "
                    "Train with fewer."
                )
            self.order = EpochOrder(len(self.train), self.batch_size, self.seed, rank, world)

    def train_dataloader(self) -> DataLoader[Batch]:
        if self.trainer is not None:  # set here, as workers prefetch batches before the trainer sets the epoch
            progress: Any = self.trainer.fit_loop.epoch_progress
            self.order.set_epoch(progress.current.processed)
        return _Resumable(self.train, self.order, self.trainer, self.workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every image once: rank r takes the images r, r + world, r + 2 world, ..."""
        mine = range(self.order.rank, len(self.valid), self.order.world)
        batches = [list(mine[first : first + _VALIDATION_BATCH]) for first in range(0, len(mine), _VALIDATION_BATCH)]
        return DataLoader(self.valid, batch_size=None, sampler=batches, collate_fn=_no_collate)


def _ignore_signals(worker: int) -> None:
    """For workers: Ctrl-C reaches all processes, but only the training process handles it; it stops its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _no_collate(batch: Any) -> Any:
    return batch
