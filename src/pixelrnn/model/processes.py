"""Work split among processes: those started by a launcher, and workers that hold the model of a folder.

We build on `concurrent.futures` ourselves: a worker of joblib's loky continues its job when its parent is killed, and
importing Lightning's cluster environments takes nearly two seconds, which `pixelrnn sample` would spend on reading
three variables.

Work is split into jobs independently of the number of processes, and results arrive in the order of the jobs. So the
outcome does not depend on that number either, up to rounding, which varies with the number of threads.

    with Workers("runs/mnist", processes=4) as workers:
        for nats in workers.map(measure, batches):      # measure(model, batch)
            ...

Workers are spawned, not forked: threads and CUDA do not survive a fork. A script that starts them needs the usual
`if __name__ == "__main__":`.
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
"""Where torchrun and SLURM's srun put the rank of a process, the number of processes, and the rank on this machine."""
_PATIENCE = 0.2  # seconds
_AHEAD = 4  # jobs per worker that are submitted ahead of their results being consumed


class Launched(NamedTuple):
    """The rank of this process among those of a launcher; `local` is its rank on this machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    def share(self, count: int) -> range:
        """Which of `count` pieces of work belong to this process: each belongs to exactly one process."""
        return range(self.rank, count, self.world)


def launched() -> Launched:
    """The rank given by torchrun (RANK, WORLD_SIZE, LOCAL_RANK) or SLURM's srun; without either, rank 0 of 1.

    SLURM_NTASKS is not used, because it is also set in a batch script, which runs as a single process; within a step
    of srun it equals SLURM_STEP_NUM_TASKS.

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
    """The model of a folder in several processes, as a context manager; with one process, in this one.

    Each worker loads the model from its folder and gets its share of this process's threads; GPUs are assigned
    round-robin. When the block ends with an error, or this process is killed, the workers end at once.

    Arguments:
        processes  1 or more; they are started when there is work
    Attributes:
        model      the model of the folder, in this process; on the CPU if there are several
        weights    the SHA-256 of its weights
    Raises:        ConfigError for a number out of range; whatever `PixelModel.load` raises
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
        """work(model, job) for every job, in order; jobs are consumed a few at a time.

        Arguments: work, a module-level function; jobs and results are pickled, so use arrays and plain values
        Raises:    ProcessError if a worker process ended unexpectedly; whatever `work` raises
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
                f"One of the {self.processes} worker processes ended before its work was done, most often because "
                "there is not enough memory for so many. All were stopped. Use fewer processes."
            ) from error


def _begin(lifeline: Connection, number: Synchronized[int], device: str, threads: int) -> None:
    """Initialise a worker."""
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    import torch

    torch.set_num_threads(threads)
    with number.get_lock():
        mine = number.value
        number.value += 1
    _take_gpu(device, mine)


def _end_with(lifeline: Connection) -> None:
    """End with the parent: nothing is ever written to the lifeline, so reading ends when it closes."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


def _work(work: Callable[[PixelModel, Job], Result], folder: Path, weights: str, device: str, job: Job) -> Result:
    """Run a job in a worker."""
    return work(_loaded(folder, weights, device), job)


@functools.cache
def _loaded(folder: Path, weights: str, device: str) -> PixelModel:
    """The model of a folder, loaded with a worker's first job.

    Raises: ModelFolderError if the SHA-256 of its weights is not this one
    """
    model = _load(folder, device)
    if _weights_of(folder) != weights:
        raise ModelFolderError(
            f"The model in {folder} was overwritten while it was in use. Wait for its training to end, or work on a "
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
    """Make "cuda" stand for one of this machine's GPUs in this process."""
    if device == "cuda":
        import torch

        torch.cuda.set_device(number % torch.cuda.device_count())


def _result(future: Future[Result]) -> Result:
    """The result of a future, checking for Ctrl-C while waiting."""
    while True:
        with _uninterrupted():
            if wait([future], _PATIENCE).done:
                return future.result()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Defer Ctrl-C to the end of the block: inside the pool it could leave a lock held forever. A process started in
    the block inherits the blocked signal, so it never receives Ctrl-C."""
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
