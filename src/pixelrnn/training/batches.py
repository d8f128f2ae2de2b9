"""Batches of images in an order that is a function of the seed and the epoch, cut among processes."""

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
from pixelrnn.model.conditions import torch_labels

# Larger ones are slower on a CPU: their feature maps are allocated anew from the system each time.
_VALIDATION_BATCH = 25


class Batch(NamedTuple):
    """Images (B, C, H, W) uint8, and their labels (B,) int64 where the data has any."""

    pixels: Tensor
    labels: Tensor | None


class Images(Dataset[Batch]):
    """Pixels (N, C, H, W) uint8, read a batch at a time; they may stay on disk, or be put on a device."""

    def __init__(self, pixels: Any, labels: np.ndarray | None = None) -> None:
        self.pixels = pixels  # an array, something that is read like one, or a tensor on a device
        self.labels = torch_labels(labels)

    def put_on(self, device: torch.device) -> None:
        """Keep the pixels on an accelerator, if they take at most a quarter of the memory that is free there."""
        if not isinstance(self.pixels, Tensor) and device.type == "cuda":
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
    """The part of a batch that a process computes: places first .. first + size - 1 of its epoch; `whole` is the batch.

    A process with no image of a small batch takes the batch's first one, and counts it for nothing.
    """

    first: int
    size: int
    total: int
    counts: bool = True


class EpochOrder(Sampler[list[int]]):
    """The batches of each epoch: a permutation of `length` images from the seed and the epoch alone.

    Every process gets its share of every batch, so that steps are those of one process with the whole batch.

    Arguments: batch_size, images of a step in all processes; rank of this process, of `world`
    """

    def __init__(self, length: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.length, self.batch_size, self.seed, self.rank, self.world = length, batch_size, seed, rank, world
        self.epoch = 0
        self.first_batch = 0  # of the coming epoch only: where a training is taken up

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer when an epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.batch_size)

    def share(self, batch: int) -> Share:
        """What this process computes of a batch of an epoch."""
        begin = batch * self.batch_size
        size = min(self.batch_size, self.length - begin)
        first, last = size * self.rank // self.world, size * (self.rank + 1) // self.world
        return Share(begin + first, last - first, size) if last > first else Share(begin, 1, size, counts=False)

    def images_of(self, epoch: int, batch: int) -> list[int]:
        """The images of a whole batch, of all processes: places in the data set."""
        begin = batch * self.batch_size
        found: list[int] = self._permutation(epoch)[begin : begin + self.batch_size].tolist()
        return found

    def __iter__(self) -> Iterator[list[int]]:
        first, self.first_batch = self.first_batch, 0
        order = self._permutation(self.epoch)
        for batch in range(first, len(self)):
            share = self.share(batch)
            yield order[share.first : share.first + share.size].tolist()

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.length)


class _Resumable(DataLoader[Batch]):
    """A loader that begins where a checkpoint was written; the trainer saves and loads its state."""

    def __init__(self, images: Images, order: EpochOrder, trainer: lightning.Trainer | None, workers: int) -> None:
        super().__init__(
            images,
            batch_size=None,
            sampler=order,
            collate_fn=_as_it_is,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_deaf,
        )
        self._order, self._trainer = order, trainer

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch are done; 0 after the last."""
        assert self._trainer is not None
        progress: Any = self._trainer.fit_loop.epoch_loop.batch_progress
        return {"batches": progress.current.processed % len(self._order)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the coming epoch there."""
        self._order.first_batch = state["batches"]


class PixelBatches(lightning.LightningDataModule):
    """Training images (source values where pixels are drawn anew, else levels) and validation images (levels).

    Arguments: batch_size, images of a step in all processes; workers, processes that read training images
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
        """Once for a training: small data sets fit into the memory of a GPU."""
        if self.trainer is not None:
            for images in (self.train, self.valid) if not self.workers else ():
                images.put_on(self.trainer.strategy.root_device)
            rank, world = self.trainer.global_rank, self.trainer.world_size
            self.order = EpochOrder(len(self.train), self.batch_size, self.seed, rank, world)

    def train_dataloader(self) -> DataLoader[Batch]:
        if self.trainer is not None:  # said here, as workers read ahead before the trainer says it
            progress: Any = self.trainer.fit_loop.epoch_progress
            self.order.set_epoch(progress.current.processed)
        return _Resumable(self.train, self.order, self.trainer, self.workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every image once: those of process r are r, r + world, r + 2 world, ..."""
        mine = range(self.order.rank, len(self.valid), self.order.world)
        batches = [list(mine[first : first + _VALIDATION_BATCH]) for first in range(0, len(mine), _VALIDATION_BATCH)]
        return DataLoader(self.valid, batch_size=None, sampler=batches, collate_fn=_as_it_is)


def _deaf(worker: int) -> None:
    """In a worker: signals that go to all processes are heard by the one that saves; it ends its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch
