"""Models and tokenizers by a folder of this machine, or by their name on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from recollect.errors import UserError
from recollect.language.extras import optional

WANTED = ("*.json", "*.safetensors", "merges.txt", "vocab.txt", "*.model")
"""Weights, configuration and tokenizer; no code, and no weights that could hold any."""


def local_folder(name: str) -> Path:
    """The folder that is meant; what is on the hub is fetched once, and kept by `huggingface_hub`.

    Raises:
        UserError: if there is no such folder, and it cannot be fetched.
    """
    path = Path(name)
    if path.is_dir():
        return path
    hub = optional("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(WANTED)))
    except Exception as error:  # those of networks, proxies and caches have no base in common
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{name} is no folder here, and could not be fetched from the hub ({reason}); expected"
            " a local folder, or a name on the hub and a network"
        ) from error
