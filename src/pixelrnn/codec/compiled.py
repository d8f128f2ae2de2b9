"""Images coded in machine code: what `blocks` does on PyTorch, bit for bit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelrnn.codec.schedule import Schedule
from pixelrnn.errors import CodecError
from pixelrnn.exact import IntegerHead, tables
from pixelrnn.exact.heads import IntegerMixture
from pixelrnn.heads import Bernoulli
from pixelrnn.networks import LocalPixelCNN, Network
from pixelrnn.program import Machine, Programs, native
from pixelrnn.program import coding_block as coding
from pixelrnn.program.operations import OVER
from pixelrnn.program.steps import Phase
from pixelrnn.program.tables import Tables

Pixels = npt.NDArray[np.uint8]


class Coder(ABC):
    """A network in whole numbers, at work on images of one size: streams from pixels, pixels from streams.

    Arguments: pixels (N, C, H, W), in the order of generation; members, threads that share the work; double, float64
               carries the integers
    """

    work: int

    def __init__(self, head: IntegerHead, schedule: Schedule, pixels: Pixels, members: int, double: bool) -> None:
        self.schedule, self.pixels, self.members = schedule, pixels, members
        self.tables = np.concatenate(
            [tables.exponential(), tables.logistic(), tables.precision(), tables.hyperbolic_tangent()]
        )
        self.starts, self.sizes = np.zeros(1, np.int32), np.zeros(1, np.int32)  # to encode: of every symbol
        self.states, self.positions, self.ends = (np.zeros(schedule.streams, np.int64) for _ in range(3))
        self.words = np.zeros(1, np.uint32)
        self.drawn_from, self.known = np.zeros(1), np.zeros(1, np.bool_)
        self.meeting = np.zeros(1, np.int64)
        self.scratch = [np.zeros(max(3 * 1024, head.levels), np.int64) for _ in range(self.members)]
        kind, components = coding.CATEGORICAL, 0
        if isinstance(head, IntegerMixture):
            kind, components = coding.MASKED if head.head.masked else coding.JOINT, head.head.components
        elif isinstance(head.head, Bernoulli):
            kind = coding.BERNOULLI
        images, colours, height, width = pixels.shape
        self.numbers = {
            coding.KIND: kind,
            coding.COMPONENTS: components,
            coding.COLOURS: colours,
            coding.LEVELS: head.levels,
            coding.IMAGES: images,
            coding.HEIGHT: height,
            coding.WIDTH: width,
            coding.LAG: schedule.lag,
            coding.BAND: schedule.rows,
            coding.STREAMS: schedule.streams,
            coding.MEMBERS: members,
        }
        self.number: Any = np.float64 if double else np.float32
        self._entry = native.entry("codec64" if double else "codec32")

    def encode(self) -> list[bytes]:
        """The streams of the images."""
        images, colours, height, width = self.pixels.shape
        rows = self.schedule.rows
        sizes = [images * colours * width * min(rows, height - top) for top in range(0, height, rows)]
        begins = np.concatenate([[0], np.cumsum(sizes)])
        self.positions[:] = begins[:-1]
        self.starts, self.sizes = np.zeros(self.pixels.size, np.int32), np.zeros(self.pixels.size, np.int32)
        self._run(self.work, coding.ENCODE)
        self.states[:], self.ends[:] = begins[:-1], begins[1:]
        self.words = np.zeros(self.pixels.size, np.uint32)  # never more than one for a symbol of 24 bits
        self._run(coding.PACK)
        return [
            self.states[stream].astype("<i8").tobytes()
            + self.words[self.positions[stream] : self.ends[stream]].astype("<u4").tobytes()
            for stream in range(len(sizes))
        ]

    def decode(self, streams: list[bytes]) -> None:
        """Decode the streams into the pixels.

        Raises: CodecError if they are damaged
        """
        for index, each in enumerate(streams):
            if len(each) < 8 or len(each) % 4:
                raise CodecError(f"A stream has 8 bytes or more, in steps of 4, but this one has {len(each)}.")
            self.states[index] = np.frombuffer(each[:8], "<i8")[0]
        if not ((self.states >= coding.LOW) & (self.states < coding.LOW << 32)).all():
            raise CodecError("A stream begins with a state that no encoder leaves.")
        lengths = [len(each) // 4 - 2 for each in streams]
        self.ends[:] = np.cumsum(lengths)
        self.positions[:] = self.ends - lengths
        self.words = np.frombuffer(b"".join(each[8:] for each in streams) + bytes(4), "<u4").astype(np.uint32)
        missing = self._run(self.work, coding.DECODE)
        if any(missing):
            raise CodecError("A stream ends before its last symbol.")
        if (self.states != coding.LOW).any() or (self.positions != self.ends).any():
            raise CodecError("A stream goes on behind its last symbol.")

    def draw(self, numbers: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> None:
        """Draw the pixels that are not known, by inverse transform sampling, as `sampling.choosers.Draw`.

        Shapes: numbers (N, C, H, W), from 0 to below 1; known (N, H, W)
        """
        self.drawn_from, self.known = np.ascontiguousarray(numbers), np.ascontiguousarray(known)
        self._run(self.work, coding.DRAW)

    def _run(self, work: int, mode: int = 0) -> list[int]:
        """All threads at the same time: fronts together, or every stream by itself."""
        blocks = [self._block(work, member, mode) for member in range(self.members)]

        def each(member: int) -> int:
            if work != coding.PACK:
                return self._entry(blocks[member])
            for stream in range(member, self.schedule.streams, self.members):
                blocks[member][coding.STREAM] = stream
                self._entry(blocks[member])
            return 0

        if self.members == 1:
            return [each(0)]
        with ThreadPoolExecutor(self.members - 1) as pool:
            try:
                waiting = [pool.submit(each, member) for member in range(1, self.members)]
                return [each(0), *(one.result() for one in waiting)]
            except BaseException:  # nobody may wait for a thread that does not come
                self.meeting += OVER
                raise

    @abstractmethod
    def arrays(self, member: int) -> dict[int, npt.NDArray[Any]]:
        """What else a thread needs."""

    def _block(self, work: int, member: int, mode: int) -> npt.NDArray[np.int64]:
        arrays: dict[int, npt.NDArray[Any]] = {
            **self.arrays(member),
            coding.TABLES: self.tables,
            coding.SCRATCH: self.scratch[member],
            coding.PIXELS: self.pixels,
            coding.STATES: self.states,
            coding.POSITIONS: self.positions,
            coding.ENDS: self.ends,
            coding.WORDS: self.words,
            coding.STARTS: self.starts,
            coding.SIZES: self.sizes,
            coding.NUMBERS: self.drawn_from,
            coding.KNOWN: self.known,
            coding.MEETING: self.meeting,
        }
        assert all(each.flags.c_contiguous for each in arrays.values())
        settings = {coding.WORK: work, coding.MODE: mode, coding.MEMBER: member}
        block = np.zeros(coding.SIZE, np.int64)
        for field, array in arrays.items():
            block[field] = array.ctypes.data
        for field, number in {**self.numbers, **settings}.items():
            block[field] = number
        return block


class Fronts(Coder):
    """Front by front, for a network that reads nothing but the image around a pixel; threads share the streams.

    A program computes all rows of a front that share a stream at once: the operands in the image are looked up once for
    the first of them, and each next row is one row down and `lag` columns to the left.

    Arguments: program, of the network, with everything at the pixel
    """

    work = coding.CODE

    def __init__(
        self, network: LocalPixelCNN, head: IntegerHead, program: Tables, schedule: Schedule, pixels: Pixels
    ) -> None:
        members = max(1, min(torch.get_num_threads(), schedule.streams))
        super().__init__(head, schedule, pixels, members, program.weights.dtype == np.float64)
        images, colours, height, width = pixels.shape
        side = network.side
        line = (width + 2 * side) * colours
        image_size = (height + side) * line
        self._lay_out(program, images * image_size, line, schedule.lag, colours)
        self.program, self.params = program, np.ascontiguousarray(program.drawn[:, 0])
        self.numbers |= {
            coding.N_OPERANDS: len(self.operands),
            coding.IMAGE_SIZE: image_size,
            coding.LINE: line,
            coding.SIDE: side,
        }

    def _lay_out(self, program: Tables, image: int, line: int, lag: int, colours: int) -> None:
        """Give every map its place: the images first, then for each thread room for the rows of a stream."""
        rows, sizes, first = self.schedule.rows, 0, {}
        constants, values = 0, []
        for each in program.maps[1:]:
            if each.double:  # the pixels as integers, which nobody reads
                continue
            if each.phase == Phase.CONST:
                first[each.index] = constants
                assert each.value is not None
                values.append(each.value)
                constants += each.channels
            else:
                first[each.index] = sizes
                sizes += each.channels
        sizes = -(-sizes // 16) * 16
        each_thread = sizes * rows
        shared = image + each_thread * self.members
        self.memory = np.zeros(shared + constants + 16, self.number)
        if values:
            self.memory[shared : shared + constants] = np.concatenate(values)
        self.wide = np.zeros(16)
        of_map = {each.index: each for each in program.maps}
        self.steps = np.zeros(2 * len(program.operands), np.int64)
        at = np.zeros((self.members, len(program.operands)), np.int64)
        in_image = []
        for index, (source, down, right, channel, _) in enumerate(program.operands):
            kept = of_map[source]
            if kept is program.maps[0]:
                in_image.append((index, down * line + right * colours + channel))
                self.steps[2 * index] = line - lag * colours
            elif kept.phase == Phase.CONST:
                at[:, index] = shared + first[source] + channel
            elif not kept.double:
                at[:, index] = image + first[source] + channel + each_thread * np.arange(self.members)
                self.steps[2 * index] = sizes
        self.at, self.operands = list(at), np.array(in_image, np.int64).reshape(-1, 2)

    def arrays(self, member: int) -> dict[int, npt.NDArray[Any]]:
        program = self.program
        return {
            coding.MEMORY: self.memory,
            coding.WIDE: self.wide,
            coding.WEIGHTS: program.weights,
            coding.CODES: program.code,
            coding.CHUNKS: program.chunks,
            coding.PLACES_OF: program.places,
            coding.AT: self.at[member],
            coding.STEPS: self.steps,
            coding.PASSES: program.passes,
            coding.PARAMS: self.params,
            coding.OPERANDS: self.operands,
        }


class Walked(Coder):
    """Pixel by pixel as a compiled walk draws, all images side by side; one thread, one stream.

    Arguments: program, of any network; condition_map, (N, maps, 1, 1) or None
    """

    work = coding.WALK

    def __init__(
        self, head: IntegerHead, program: Tables, schedule: Schedule, pixels: Pixels, condition_map: Tensor | None
    ) -> None:
        super().__init__(head, schedule, pixels, 1, program.weights.dtype == np.float64)
        dtype = torch.float64 if self.number is np.float64 else torch.float32
        scaled = head.seen(torch.arange(head.levels), dtype)
        size, self.nothing = (pixels.shape[2], pixels.shape[3]), np.zeros(1, np.int64)
        self.machine = Machine(program, scaled, size, len(pixels), dtype, condition_map, 1, threads=1)

    def arrays(self, member: int) -> dict[int, npt.NDArray[Any]]:
        fields = (coding.MEMORY, coding.WIDE, coding.WEIGHTS, coding.CODES, coding.CHUNKS, coding.PLACES_OF, coding.AT)
        unused = dict.fromkeys((*fields, coding.STEPS, coding.PASSES, coding.PARAMS, coding.OPERANDS), self.nothing)
        return {**unused, coding.WALKED: self.machine.block}


def coder_of(
    network: Network,
    head: IntegerHead,
    programs: Programs,
    schedule: Schedule,
    pixels: Pixels,
    condition_map: Tensor | None,
) -> Coder:
    """The coder for a network.

    Raises: KernelError if there is no machine code, and none can be made; UnknownStepError if there is no program
    """
    program = programs.of(network, head, condition_map)
    if isinstance(network, LocalPixelCNN) and network.reads_image_alone:
        return Fronts(network, head, program, schedule, pixels)
    return Walked(head, program, schedule, pixels, condition_map)
