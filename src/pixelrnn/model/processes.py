"""Work that is split over processes: those that a launcher started, and workers that hold the model of a folder.

Ours, on top of `concurrent.futures`: a worker of joblib's loky goes on with its job when its parent is killed, and
the import of Lightning's cluster environments takes nearly two seconds, which `pixelrnn sample` would spend on three
variables.

Work is cut into jobs that do not depend on the number of processes, and results come in the order of the jobs. So what
is made of them does not depend on that number either, up to the rounding of another number of threads.

    with Workers("runs/mnist", processes=4) as workers:
        for nats in workers.map(measure, batches):      # measure(model, batch)
            ...

Workers are started anew (spawned), not forked: threads and CUDA do not survive a fork. A script that starts them needs
the usual `if __name__ == "__main__":`.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pixelrnn.errors import ConfigError, ModelFolderError, ProcessError
from pixelrnn.model.model_folder import folder_of

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

    from pixelrnn.model import PixelModel

Job = TypeVar("Job")
Result = TypeVar("Result")
LAUNCHERS = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"))
"""Where torchrun and SLURM's srun tell a process its number, how many there are, and its place on this machine."""
_PATIENCE = 0.2  # seconds
_AHEAD = 4  # jobs for each worker that are handed out before their results are asked for


class Launched(NamedTuple):
    """The place of this process among those of a launcher; `local` is its number on this machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    def share(self, count: int) -> range:
        """Which of `count` pieces of work are this process's own: every one is some process's, and only one's."""
        return range(self.rank, count, self.world)


def launched() -> Launched:
    """What torchrun (RANK, WORLD_SIZE, LOCAL_RANK) or SLURM's srun say of this process; alone if there is neither.

    SLURM's SLURM_NTASKS is not asked, because a batch script has it too, of which only one process runs; in a step of
    srun it is the same as SLURM_STEP_NUM_TASKS.

    Raises: ConfigError if they contradict each other
    """
    for rank_name, world_name, local_name in LAUNCHERS:
        if world_name not in os.environ:
            continue
        values = [os.environ.get(name, "0") for name in (rank_name, world_name, local_name)]
        numbers = [int(value) if value.isdecimal() else -1 for value in values]
        place = Launched(*numbers)
        if not 0 <= place.rank < place.world or place.local < 0 or (place.world > 1 and rank_name not in os.environ):
            raise ConfigError(
                f"{world_name} is {values[1]!r} and {rank_name} is {os.environ.get(rank_name)!r}, but the processes of "
                "a launcher are numbered from 0. Unset both, or start with torchrun or srun."
            )
        return place
    return Launched()


class Workers:
    """The model of a folder in several processes, as a context manager; with one process it is this one.

    Each worker loads the model from its folder and gets its share of this process's threads, and of the GPUs: the k-th
    of this machine takes the k-th, round and round. When the block ends with an error, or this process is killed, they
    end at once.

    Arguments:
        processes  1 or more; they are started when there is work
    Attributes:
        model      of the folder, in this process; on the CPU if there are several
        weights    the SHA-256 of its weights
    Raises:        ConfigError for a number out of its range; what `PixelModel.load` raises
    """

    def __init__(self, folder: str | Path, device: str = "cpu", processes: int = 1) -> None:
        from pixelrnn.checks import at_least

        self.folder, self.device = folder_of(folder), device
        self.processes = at_least("The number of processes", processes, 1)
        if self.processes == 1 and launched().world > 1:
            _take_gpu(device, launched().local)
        self.model = _load(self.folder, device if self.processes == 1 else "cpu")
        self.weights = _weights_of(self.folder)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        import torch

        if self.processes == 1:
            return self
        context = multiprocessing.get_context("spawn")
        ours, self._lifeline = context.Pipe(duplex=False)
        number = context.Value("i", launched().local * self.processes)
        threads = max(1, torch.get_num_threads() // self.processes)
        self._pool = ProcessPoolExecutor(self.processes, context, _begin, (ours, number, self.device, threads))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if kind is not None:
            self._lifeline.close()
        self._pool.shutdown(cancel_futures=True)
        self._lifeline.close()
        self._pool = None

    def map(self, work: Callable[[PixelModel, Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """work(model, job) of every job, in their order; jobs are asked for a few at a time.

        Arguments: work, a function of a module; jobs and results travel between processes, so arrays and plain values
        Raises:    ProcessError if a worker process ended by itself; whatever `work` raises
        """
        if self._pool is None:
            yield from (work(self.model, job) for job in jobs)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                with _uninterrupted():
                    waiting.append(
                        self._pool.submit(_work, work, self.folder.resolve(), self.weights, self.device, job)
                    )
                if len(waiting) == _AHEAD * self.processes:
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        except BrokenProcessPool as error:
            raise ProcessError(
                f"One of the {self.processes} worker processes ended before its work was done; most often the memory "
                "does not suffice for so many. All were ended. Take fewer processes."
            ) from error


def _begin(lifeline: Connection, number: Synchronized[int], device: str, threads: int) -> None:
    """What a worker does first."""
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    with number.get_lock():
        mine = number.value
        number.value += 1
    _take_gpu(device, mine)


def _end_with(lifeline: Connection) -> None:
    """Nothing is ever written into the lifeline: reading ends when the other side is closed, or its process dead."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


def _work(work: Callable[[PixelModel, Job], Result], folder: Path, weights: str, device: str, job: Job) -> Result:
    """A job, in a worker."""
    return work(_loaded(folder, weights, device), job)


@functools.cache
def _loaded(folder: Path, weights: str, device: str) -> PixelModel:
    """The model of a folder, loaded with a worker's first job.

    Raises: ModelFolderError if its weights are not those of this SHA-256
    """
    model = _load(folder, device)
    if _weights_of(folder) != weights:
        raise ModelFolderError(
            f"The model in {folder} was written anew while it was in use. Wait for its training to end, or work on a "
            "copy of the folder."
        )
    return model


def _load(folder: Path, device: str) -> PixelModel:
    from pixelrnn.model import PixelModel

    return PixelModel.load(folder, device)


def _weights_of(folder: Path) -> str:
    from pixelrnn.model.model_folder import read_config

    return str(read_config(folder)["sha256"])


def _take_gpu(device: str, number: int) -> None:
    """Let "cuda" mean one of this machine's GPUs in this process."""
    if device == "cuda":
        import torch

        torch.cuda.set_device(number % torch.cuda.device_count())


def _result(future: Future[Result]) -> Result:
    """What a future gives; Ctrl-C is looked for while it does not."""
    while True:
        with _uninterrupted():
            if wait([future], _PATIENCE).done:
                return future.result()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the block to end: in the middle of the pool it could leave a lock closed for ever. And it never
    comes to a process that is started in it, which takes over what is blocked here."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *signal_and_frame: came.append(signal_and_frame))
    before = None if sys.platform == "win32" else signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])
