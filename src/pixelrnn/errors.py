"""Every failure that a user can cause, as one tree.

    PixelRNNError
    |-- ImageError            pixels that do not fit: shape, type, range, size of a mask
    |-- DataError             a data set or a file that is absent, unreadable, empty or too large
    |   `-- DownloadError     a data set that could not be fetched, or not whole
    |-- ConfigError           an unknown preset, network, head or key; a value out of its range
    |   `-- ConditionError    a label, vector or map that does not fit the model
    |-- ModelFolderError      a model folder that is missing, damaged or not one of ours
    |-- ModelError            a model that cannot be used: its parameters are not finite
    |-- MemoryLimitError      work that needs more memory than there is
    |-- RunFolderError        a run folder that already holds a run or other files, or cannot be written
    |-- CodecError            a compressed file that is damaged, of another model or another version
    |-- TrainingError         a training that cannot go on
    `-- CausalityError        a network that sees the present or the future

Each message is one clear sentence or two: what was expected, what was given, what to do.
`assert` is for invariants of our own, never for what a user gives.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PixelRNNError(Exception):
    """Whatever goes wrong by what a user gave; the message says what to do."""


class ImageError(PixelRNNError, ValueError):
    """Pixels that do not fit the model: shape, type, range, or a mask of another size."""


class DataError(PixelRNNError):
    """A data set or a file that is absent, unreadable, empty or too large."""


class DownloadError(DataError):
    """A data set that could not be fetched, or did not arrive as it was published."""


class ConfigError(PixelRNNError, ValueError):
    """An unknown preset, network, head or key, or a value out of its range."""


class ConditionError(ConfigError):
    """A label, vector or map that the model does not know, or of another range, length or size."""


class ModelFolderError(PixelRNNError):
    """A model folder that is missing, damaged or was not written by this package."""


class ModelError(PixelRNNError):
    """A model that cannot be used, because the parameters that it gives are not finite."""


class MemoryLimitError(PixelRNNError):
    """Work that would need more memory than the machine has, refused before any is taken."""


class RunFolderError(PixelRNNError):
    """A run folder that already holds a run or files of something else, or cannot be written."""


class CodecError(PixelRNNError):
    """A compressed file that is damaged or foreign, or pictures that cannot be compressed."""


class TrainingError(PixelRNNError):
    """A training that cannot go on, for example because its loss is no number."""


class StoppedError(TrainingError):
    """A training that was stopped by a signal, after it was saved; the message says how to continue."""


class ProcessError(PixelRNNError):
    """A process of several that ended by itself."""


class CausalityError(PixelRNNError):
    """A network whose parameters for a pixel depend on that pixel or on a later one."""


def unknown(kind: str, name: object, known: Iterable[str], hint: str = "", where: str = "") -> ConfigError:
    """The error for a name that is not one of `known`: it names the nearest, or lists them all.

    >>> print(unknown("setting", "levls", ["levels", "width"], where=" with this network"))
    There is no setting 'levls' with this network. Did you mean 'levels'?
    """
    names = sorted(known)
    text = str(name).lower()
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.7)
    near = near or [each for each in names if len(text) > 2 and text in each]
    all_of_them = f"Known: {', '.join(names)}."
    guess = f"Did you mean {near[0]!r}?" if near else all_of_them
    if not near and (far := difflib.get_close_matches(text, names, n=1, cutoff=0.5)):
        guess = f"Did you mean {far[0]!r}? {all_of_them}"
    return ConfigError(f"There is no {kind} {str(name)!r}{where}. {guess}{' ' + hint if hint else ''}")
