"""Sources of texts: files, folders, data sets, and Python's standard library.

A file that the user names must be text; other files in a folder are skipped and counted. The cache
folder is not read as part of a text.
"""

from __future__ import annotations

import hashlib
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from recollect.errors import UserError, in_a_line
from recollect.language.corpus import FIELD, Corpus, Part, numbered
from recollect.language.extras import optional
from recollect.language.folders import FolderText, files_below, read_folder
from recollect.language.kept import kept_folder
from recollect.language.reading import Reading
from recollect.language.text_files import FileState, file_state, scan
from recollect.language.text_form import PLAIN

STDLIB = "python-stdlib"
DATASETS = "datasets:"
NOT_OF_STDLIB = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
"""Folders of other packages, and of tests, which many installations leave out."""
MADE_IN_THE_BUILD = ("_sysconfigdata", "config-")
"""Prefixes of files that differ between machines."""
TOPICS = "pydoc_data/topics.py"
"""Chapters of Python's reference in one dictionary; read as text, not as source."""


def open_corpus(name: str) -> Corpus:
    """Open a text; its files are read once to check their content.

    Args:
        name: a file, a folder, "python-stdlib" or `datasets:NAME[:CONFIG[:SPLIT]]`; a suffix
            `@train`, `@valid` or `@test` selects that part.

    Raises:
        UserError: if there is no such text, or it cannot be read.
    """
    whole, part = _parted(name)
    corpus = _open(whole)
    return corpus if part is None else corpus.part(part)


def check_outside(text: str, folder: Path) -> None:
    """Check that an output folder is not inside a folder that is read as a text.

    Args:
        text: as in `open_corpus`.
        folder: the output folder.

    Raises:
        UserError: if it is, unless it is in the cache folder.
    """
    whole, place = _parted(text)[0], folder.resolve()
    source = Path(whole).resolve()
    if whole == STDLIB or not source.is_dir() or not place.is_relative_to(source):
        return
    if not place.is_relative_to(kept_folder().resolve()):
        raise UserError(
            f"{folder} lies in the folder {whole}, which is read as a text: files written there"
            " would become a part of it; use another folder"
        )


def files_state(name: str) -> tuple[FileState, ...]:
    """States of a text's files; empty for other sources.

    Args:
        name: as in `open_corpus`.
    """
    whole = _parted(name)[0]
    if whole == STDLIB or whole.startswith(DATASETS):
        return ()
    path = Path(whole)
    files = [path / each for each in files_below(path)] if path.is_dir() else [path]
    return tuple(sorted(map(file_state, files)))


def _parted(name: str) -> tuple[str, Part | None]:
    """Name of a text without the part, and the part."""
    whole, _, part = name.rpartition("@")
    if part in get_args(Part) and not Path(name).exists():
        return whole, cast(Part, part)
    return name, None


def _open(name: str) -> Corpus:
    if name == STDLIB:
        return _open_stdlib()
    if name.startswith(DATASETS):
        return _open_dataset(name)
    path = Path(name)
    if path.is_dir():
        return _of_files(name, read_folder(path, files_below(path)))
    if not path.exists():
        raise UserError(
            f"there is no text {name}: expected a file, a folder, {STDLIB} or {DATASETS}NAME,"
            " with @train, @valid or @test behind it for a part"
        )
    found = scan(path)
    reading = Reading({found.form: found.documents}, 1, found.left_out)
    return Corpus(
        name,
        found.digest,
        found.documents,
        lambda: numbered(found.texts()),
        reading,
    )


def _open_stdlib() -> Corpus:
    """Sources of Python's standard library and chapters of its reference."""
    from pydoc_data.topics import topics

    folder = Path(sysconfig.get_path("stdlib"))
    sources = [
        file
        for file in files_below(folder, NOT_OF_STDLIB)
        if file.suffix == ".py"
        and not file.parts[0].startswith(MADE_IN_THE_BUILD)
        and file.as_posix() != TOPICS
    ]
    return _of_files(
        STDLIB, read_folder(folder, sources), [topics[name] for name in sorted(topics)]
    )


def _of_files(name: str, found: FolderText, more: Sequence[str] = ()) -> Corpus:
    """Corpus of the documents in files and of further ones."""
    hashed, counts = hashlib.sha256(), Counter({PLAIN: len(more)} if more else {})
    for file in found.files:
        hashed.update(file.digest.encode())
        counts[file.form] += file.documents
    for text in more:
        hashed.update(hashlib.sha256(text.encode()).digest())

    def documents() -> Iterator[str]:
        for file in found.files:
            yield from file.texts()
        yield from more

    left_out = sum(file.left_out for file in found.files)
    reading = Reading(counts, len(found.files), left_out, tuple(found.skipped))
    return Corpus(
        name,
        hashed.hexdigest(),
        counts.total(),
        lambda: numbered(documents()),
        reading,
    )


def _open_dataset(name: str) -> Corpus:
    """Open a data set; the package `datasets` caches it."""
    # a split such as train[:10%] contains colons
    place, config, split, *_ = [*name.removeprefix(DATASETS).split(":", 2), "", ""]
    package = optional("datasets")
    try:
        data = package.load_dataset(place, config or None, split=split or "train")
    except Exception as error:  # errors of hub, builders and scripts have no common base
        raise UserError(f"cannot load {name}: {in_a_line(error)}") from error
    if FIELD not in data.column_names:
        raise UserError(f"{name} has no column {FIELD!r}, only {', '.join(data.column_names)}")

    def documents() -> Iterator[str]:
        return (text for text in _dataset_rows(name, data) if text is not None)

    hashed, count = hashlib.sha256(), 0
    for text in documents():
        hashed.update(hashlib.sha256(text.encode()).digest())
        count += 1
    if count == 0:
        raise UserError(f"no row of {name} has a text: each of its {len(data):,} is null")
    reading = Reading({"rows of a data set": count}, left_out=len(data) - count)
    return Corpus(name, hashed.hexdigest(), count, lambda: numbered(documents()), reading)


def _dataset_rows(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[str | None]:
    """Text of each row; None for null."""
    for number, row in enumerate(rows):
        text = row[FIELD]
        if not isinstance(text, str | None):
            raise UserError(
                f"{name}, row {number}: the column {FIELD!r} has a value of type"
                f" {type(text).__name__}, expected strings"
            )
        yield text
