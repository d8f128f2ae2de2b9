"""Models on the Hugging Face Hub: model folders in repositories, read and written by huggingface_hub.

    model = pixelrnn.load("hf://user/name")             # or hf://user/name@revision
    model.push_to_hub("user/name")

Only config.json, model.safetensors, README.md and samples.png are downloaded, into the Hub's own cache, from which they
are taken without a network too. They are checked as every model folder is, and nothing is unpickled.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pixelrnn.errors import ConfigError, DownloadError

_ADDRESS = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")  # a Path has one slash only
_FILES = ["config.json", "model.safetensors", "README.md", "samples.png"]
T = TypeVar("T")


def is_address(model: str | Path) -> bool:
    """Whether a model is named by an address on the Hub."""
    return str(model).startswith("hf:/")


def downloaded(address: str | Path) -> Path:
    """The folder of a model on the Hub, downloaded unless it is in the cache.

    Raises: ConfigError for an address that is none, or without huggingface_hub; DownloadError if there is no such
            model, or it cannot be reached and is not in the cache
    """
    found = _ADDRESS.fullmatch(str(address))
    if found is None:
        raise ConfigError(f"{address} is no address of a model on the Hub: hf://user/name or hf://user/name@revision.")
    hub, repo, revision = _hub(), found["repo"], found["revision"]
    return Path(
        _asked(
            lambda: hub.snapshot_download(repo, revision=revision, allow_patterns=_FILES, endpoint=_endpoint()),
            f"The model {repo} could not be downloaded from the Hub",
        )
    )


def push(
    write_folder: Callable[[str], None], repo: str, *, private: bool | None = None, token: str | None = None
) -> str:
    """Write a model into a repository on the Hub, which is made if it does not exist; its address in a browser.

    Arguments:
        write_folder  writes the model folder that is to be there
        repo          "user/name"
        private       whether a new repository is private; None for the account's default
        token         of the account; None for that of `hf auth login`, or HF_TOKEN
    Raises:           ConfigError for a name that is none, or without huggingface_hub; DownloadError if the Hub refuses
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ConfigError(f"A repository on the Hub is named user/name, not {repo!r}.")
    hub = _hub()
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder)
        api = hub.HfApi(endpoint=_endpoint(), token=token)

        def write() -> str:
            api.create_repo(repo, private=private, exist_ok=True)
            done = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload a model of pixelrnn")
            return str(done.repo_url)

        return _asked(write, f"The model could not be written to {repo} on the Hub")


def card(text: str, repo: str, network: str, about: dict[str, Any]) -> str:
    """A model card for the Hub: metadata with the measured likelihood, and the text, in which FOLDER is its address."""
    hub, results = _hub(), None
    if "progress" in about:
        where = {
            "task_type": "unconditional-image-generation",
            "dataset_type": str(about["data"]),
            "dataset_name": str(about["data"]),
            "dataset_split": "validation",
        }
        values = {"nats per image": "valid_nats", "bits per dimension": "bits_per_dim"}
        results = [
            hub.EvalResult(
                metric_type=name.replace(" ", "_"), metric_name=name, metric_value=about["progress"][key], **where
            )
            for name, key in values.items()
        ]
    data = hub.ModelCardData(
        library_name="pixelrnn",
        pipeline_tag="unconditional-image-generation",
        tags=["pixelrnn", "autoregressive", "likelihood", network],
        model_name=repo.partition("/")[2],
        eval_results=results,
    )
    return f"---\n{data.to_yaml()}\n---\n\n" + text.replace("FOLDER", f'"hf://{repo}"')


def _asked(what: Callable[[], T], failed: str) -> T:
    """What the Hub answers, its errors in one sentence."""
    try:
        return what()
    except Exception as error:  # the Hub's own, and those of the library that it talks through, which are of no kind
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DownloadError(f"{failed}: {first.rstrip('.')}.") from error


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _hub() -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise ConfigError("Models on the Hub need the package huggingface_hub:  pip install 'pixelrnn[hub]'") from error
    return huggingface_hub
