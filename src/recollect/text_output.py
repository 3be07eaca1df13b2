"""Write text files completely or not at all."""

from __future__ import annotations

from pathlib import Path

from recollect.files import replacing


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8; if that fails, the old file stays.

    The folder is created if it is missing.

    Raises:
        FatalError: if the folder cannot be created or written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
