"""Folders of texts: which files are read and which are skipped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from recollect.errors import UserError
from recollect.language.corpus import FIELD
from recollect.language.kept import kept_folder
from recollect.language.reading import NAMED, Skipped, grouped
from recollect.language.text_bytes import NotTextError
from recollect.language.text_files import TextFile, scan
from recollect.language.text_form import PLAIN

ABOUT = re.compile(
    r"(readme([-_.][a-z]{2}([-_][a-z]{2,4})?)?"
    r"|(un)?licen[cs]e([-_.]([al]?gpl|apache|bsd|boost|cc|isc|mit|mpl|zlib)[-_.\w]*)?"
    r"|copying([-_.]lesser)?|notice|authors|changelog|citation|contributing|code_of_conduct"
    r"|about|((model|data(set)?)[-_]?)?card|dataset_infos?|dataset_dict|metadata|manifest|state"
    r"|checksums?|(md5|sha\d+)sums?)(\.[a-z]+)?",
    re.IGNORECASE,
)
"""Names of files that describe the other files of a folder."""


@dataclass(frozen=True)
class FolderText:
    """The files of a folder: those that are read, in order, and those that are skipped."""

    files: list[TextFile]
    skipped: list[Skipped]


def files_below(folder: Path, left_out: Set[str] = frozenset()) -> Iterator[Path]:
    """Files and links in and below a folder, hidden ones included.

    Hidden folders, the cache (`kept`) and folders with names in `left_out` are not entered.

    Raises:
        UserError: for a folder that cannot be read.
    """
    kept = kept_folder().resolve()

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot read the folder {error.filename}: {error.strerror}") from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        inner = [
            name for name in folders if name not in left_out and Path(place, name).resolve() != kept
        ]
        folders[:] = [name for name in inner if not _is_hidden(name)]
        closed = [name for name in inner if _is_hidden(name) or Path(place, name).is_symlink()]
        for name in (*files, *closed):
            yield Path(place, name).relative_to(folder)


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def read_folder(folder: Path, names: Iterable[Path]) -> FolderText:
    """Read the files with these names.

    Raises:
        UserError: if no file holds text, only files that describe others do, or one cannot be read.
    """
    found = FolderText([], [])
    for name in sorted(names, key=Path.as_posix):
        path = folder / name
        try:
            _check_entry(path)
            found.files.append(scan(path))
        except NotTextError as error:
            found.skipped.append(Skipped(name.as_posix(), error.kind))
    _check_folder(folder, found)
    return found


def _check_entry(path: Path) -> None:
    if _is_hidden(path.name):
        raise NotTextError(f"{path} is hidden", "hidden")
    if path.is_dir():
        raise NotTextError(f"{path} is a link to a folder", "link to a folder")
    if not path.exists():
        raise NotTextError(f"{path} is a broken link", "broken link")


def _check_folder(folder: Path, found: FolderText) -> None:
    skipped = f"; skipped: {grouped(found.skipped)}" if found.skipped else ""
    if not found.files:
        raise UserError(
            f"the folder {folder} has no text: expected files of UTF-8, not empty, and a field"
            f" {FIELD!r} in JSON lines and Parquet{skipped}"
        )
    if any(file.form != PLAIN for file in found.files):
        return  # files with rows of texts are the text, whatever else is in the folder
    if all(ABOUT.fullmatch(file.path.name) for file in found.files):
        names = list(dict.fromkeys(file.path.name for file in found.files))[:NAMED]
        raise UserError(
            f"the folder {folder} has no text but {', '.join(names)}{skipped}; name a file itself"
            " if it is the text"
        )
