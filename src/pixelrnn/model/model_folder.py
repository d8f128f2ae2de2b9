"""A trained model is a folder; some come with the package, and can be named wherever a folder is expected.

    config.json         what is needed to rebuild the model, and the SHA-256 of the weights
    model.safetensors   the weights; contains no timestamp and no path
    model.safetensors.new   the same, temporarily, while a folder is being rewritten
    README.md           the model card
    samples.png         samples from the model (written by training)

Nothing here is ever unpickled. The weights' hash is verified before they are read, because the format itself does not
detect a flipped bit.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pixelrnn.errors import ConfigError, ModelFolderError, RunFolderError
from pixelrnn.fields import Strict, validated
from pixelrnn.files import write_atomic
from pixelrnn.model.hub import downloaded, is_address

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "pixelrnn-model"
FORMAT_VERSION = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
CHECKPOINT = "training/last.ckpt"  # of a run folder
NEW_WEIGHTS = WEIGHTS + ".new"
_LARGEST_CONFIG = 1_000_000  # bytes


class FolderConfig(Strict):
    """What config.json holds."""

    format: str
    format_version: int
    network: str
    options: dict[str, Any]
    head: str
    size: list[int]
    channels: int
    levels: int
    exact: dict[str, Any] | None = None
    parameters: int = 0
    about: dict[str, Any] = Field(default_factory=dict)
    sha256: str


def write_folder(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor], card: str) -> None:
    """Write a model folder, replacing an existing one: a crash leaves the old model or the new one.

    The config identifies its weights by their hash, and is replaced while the old and the new weights both exist.

    Raises: RunFolderError if the folder cannot be written, or holds unrelated files of the same names
    """
    from safetensors.torch import save

    foreign = [name for name in (CONFIG, CARD) if (folder / name).exists()]
    if foreign and not holds_model(folder):
        raise RunFolderError(
            f"{folder} holds a {' and a '.join(foreign)} that was not written by this package and would be lost. "
            "Choose another folder."
        )
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **config,
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / NEW_WEIGHTS, weights)
        write_atomic(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())
        (folder / NEW_WEIGHTS).replace(folder / WEIGHTS)
        write_atomic(folder / CARD, card.encode())
    except OSError as error:
        raise RunFolderError(f"The model could not be written to {folder}: {error.strerror or error}.") from error


def holds_model(folder: Path) -> bool:
    """Whether the folder's config was written by this package; it may still be damaged."""
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8"))["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def read_config(folder: Path) -> dict[str, Any]:
    """The config of a model folder, checked key by key.

    Raises: ModelFolderError if the folder is missing, is not a model folder, has a newer format or is damaged
    """
    path = folder / CONFIG
    if folder.is_file():
        raise ModelFolderError(f"{folder} is a file, but a model is a folder with {CONFIG} in it.")
    if not folder.is_dir():
        raise ModelFolderError(
            f"There is no model folder {folder}.{_like(folder)} Train one:  pixelrnn train PRESET --out {folder}   or "
            "use one that comes with the package:  pixelrnn list weights"
        )
    if not path.is_file():
        if (folder / CHECKPOINT).is_file():
            raise ModelFolderError(
                f"{folder} has no {CONFIG}: its training was stopped before the first model was saved. Continue it "
                f"with the same command and --resume:  pixelrnn train PRESET --out {folder} --resume"
            )
        raise ModelFolderError(
            f"{folder} has no {CONFIG}, so it is not a model folder (or its training has not saved a model yet)."
        )
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            raise ModelFolderError(f"{path} is larger than a config can be; this is not a model of this package.")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} cannot be read as JSON ({error}). Copy the folder again.") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelFolderError(f'{path} does not say "format": "{FORMAT}"; it was not written by this package.')
    if config.get("format_version") != FORMAT_VERSION:
        raise ModelFolderError(
            f"{path} has format version {config.get('format_version')!r}, but this package reads {FORMAT_VERSION}. "
            "Update pixelrnn."
        )
    try:
        return validated(FolderConfig, config, "key of a model folder's config").model_dump()
    except ConfigError as error:
        raise ModelFolderError(f"{path} is damaged: {error} Copy it again.") from error


def shipped() -> dict[str, Path]:
    """The names of the models that come with the package, and their folders."""
    root = Path(str(resources.files("pixelrnn"))) / "weights"
    return {each.parent.name: each.parent for each in sorted(root.glob(f"*/{CONFIG}"))}


def folder_of(model: str | Path) -> Path:
    """The folder of a model: that of a shipped one by name, of one on the Hub by its address, or else the path itself.

    A name takes precedence over a path: write ./mnist for a folder called mnist.
    """
    if is_address(model):
        return downloaded(model)
    return (shipped().get(model) if isinstance(model, str) else None) or Path(model)


def _like(folder: Path) -> str:
    """A suggestion: the shipped model with a similar name, if any."""
    near = difflib.get_close_matches(str(folder).lower(), shipped(), n=1, cutoff=0.7)
    return f" Did you mean {near[0]!r}?" if near else ""


def read_weights(folder: Path, config: dict[str, Any], largest: int) -> dict[str, Tensor]:
    """The weights of a model folder, with their hash verified; at most `largest` bytes.

    Raises: ModelFolderError if the file is missing, too large, changed or unreadable
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / WEIGHTS
    if _hash_of(folder / NEW_WEIGHTS) == config["sha256"]:  # the process that wrote them ended before the final rename
        path = folder / NEW_WEIGHTS
    if not path.is_file():
        raise ModelFolderError(f"{folder} has no {WEIGHTS}: the weights are missing. Copy the folder again.")
    if path.stat().st_size > largest:
        raise ModelFolderError(
            f"{path} has {path.stat().st_size:,} bytes, but the network in {CONFIG} needs at most {largest:,}. "
            "They do not belong together."
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFolderError(f"{path} cannot be read: {error.strerror or error}.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != config["sha256"]:
        raise ModelFolderError(
            f"{path} is not the file that {CONFIG} describes (SHA-256 {config['sha256'][:12]}... expected, "
            f"{found[:12]}... found): it is damaged or from another model. Copy the folder again."
        )
    try:
        return load(content)
    except SafetensorError as error:
        raise ModelFolderError(f"{path} is not a safetensors file ({error}).") from error


def _hash_of(path: Path) -> str:
    """The SHA-256 of a file; "" if it does not exist."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
