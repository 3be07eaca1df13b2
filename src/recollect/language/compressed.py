"""Reading files that may be compressed.

The first bytes of a file decide whether it is compressed, not its name.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from recollect.errors import UserError, to_install

SUFFIXES = {".gz", ".bgz", ".bz2", ".xz", ".zst", ".zstd"}
"""Suffixes of compressed files; the suffix before them gives the format of the text."""
ZSTD_MODULES = ("compression.zstd", "backports.zstd")
"""Modules for zstd: Python's from 3.14, and a package for earlier versions."""


def compression(path: Path) -> str | None:
    """Compression of a file: "gzip", "bzip2", "xz", "zstd", or None.

    Raises:
        UserError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(10)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if head.startswith(b"BZh") and head[4:] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"):
        return "bzip2"
    magic = {"gzip": b"\x1f\x8b\x08", "xz": b"\xfd7zXZ\0", "zstd": b"\x28\xb5\x2f\xfd"}
    return next((name for name, begin in magic.items() if head.startswith(begin)), None)


def inner_name(path: Path) -> Path:
    """Name without the compression suffix, if the file is compressed."""
    compressed = path.suffix.lower() in SUFFIXES and compression(path) is not None
    return path.with_suffix("") if compressed else path


@contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """Open a file for reading its decompressed bytes.

    Raises:
        UserError: also within the block, if the file cannot be read, is damaged or truncated, or
            this Python cannot decompress it.
    """
    kind = compression(path)
    openers: dict[str | None, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    damage: tuple[type[Exception], ...] = (EOFError, zlib.error, lzma.LZMAError)
    if kind == "zstd":
        zstd = _zstd(path)
        openers[kind], damage = zstd.open, (EOFError, zstd.ZstdError)
    try:
        with openers.get(kind, open)(path, "rb") as file:
            yield file
    except damage as error:
        raise _damaged(path, kind, error) from error
    except OSError as error:
        if error.errno is None:  # a decompressor's, not the system's
            raise _damaged(path, kind, error) from error
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _damaged(path: Path, kind: str | None, error: Exception) -> UserError:
    return UserError(f"{path} is damaged or truncated ({kind}: {error})")


def _zstd(path: Path) -> Any:
    for name in ZSTD_MODULES:
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    raise UserError(
        f"{path} is compressed with zstd, which requires Python 3.14 or {to_install('zstd')}; or"
        " decompress it"
    )
