"""Models on the Hugging Face Hub and in folders, under the names that `huggingface_hub.PyTorchModelHubMixin` uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pixelrnn.model import hub

if TYPE_CHECKING:
    import torch


class SharingMixin:
    """How a model is shared; a mixin of `PixelModel`."""

    config: dict[str, Any]
    about: dict[str, Any]

    if TYPE_CHECKING:

        def save(self, folder: str | Path, card: str | None = None, *, half: bool = False) -> None: ...
        @classmethod
        def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Self: ...
        def _plain_card(self) -> str: ...

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Write the model into the repository `repo_id`, "user/name", of the Hugging Face Hub, and return its address.

        `load("hf://user/name")` reads it. Arguments and errors are those of `hub.push`.
        """
        return hub.push(
            lambda folder: self.save(folder, hub.card(self._plain_card(), repo_id, self.config["network"], self.about)),
            repo_id,
            private=private,
            token=token,
        )

    def save_pretrained(
        self, save_directory: str | Path, *, repo_id: str | None = None, push_to_hub: bool = False, **push: Any
    ) -> str | None:
        """`save`, and on request `push_to_hub`; then the address is returned.

        Arguments: repo_id, the repository to push to; None: the name of the folder, which then has to be "user/name"
        Raises:    as `save` and `push_to_hub`
        """
        self.save(save_directory)
        return self.push_to_hub(repo_id or str(save_directory), **push) if push_to_hub else None

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, device: str | torch.device = "cpu"
    ) -> Self:
        """`load` of a folder or, if there is none of that name, of the repository "user/name" on the Hub.

        Arguments: revision, a branch, tag or commit of the repository
        Raises:    as `load`
        """
        if Path(name).is_dir() or hub.is_address(name):
            return cls.load(name, device)
        return cls.load(f"hf://{name}" + (f"@{revision}" if revision else ""), device)
