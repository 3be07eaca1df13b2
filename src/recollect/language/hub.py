"""Models and tokenizers by local folder or by name on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from recollect.errors import UserError
from recollect.language.extras import optional

WANTED = ("*.json", "*.safetensors", "merges.txt", "vocab.txt", "*.model")
"""Files to download: configuration, tokenizer and weights; no code or weights that may hold
code."""


def local_folder(name: str) -> Path:
    """Local folder of a name; repositories on the hub are downloaded once by `huggingface_hub`.

    Raises:
        UserError: if there is no such folder and it cannot be downloaded.
    """
    path = Path(name)
    if path.is_dir():
        return path
    hub = optional("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(WANTED)))
    except Exception as error:  # errors of networks, proxies and caches have no common base
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"{name} is not a local folder and could not be downloaded from the hub ({reason});"
            " expected a local folder, or a name on the hub and a network connection"
        ) from error
