"""Where texts come from: files, folders, data sets, or the Python that runs this.

A file that the user names must be text; in a folder, files that are not are skipped and counted.
What is made of a text is no part of it: in a folder, that of kept tokens is left out.
"""

from __future__ import annotations

import hashlib
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from recollect.errors import UserError
from recollect.language.corpus import FIELD, Corpus, Part, numbered
from recollect.language.extras import optional
from recollect.language.folders import FolderText, files_below, read_folder
from recollect.language.kept import kept_folder
from recollect.language.reading import Reading
from recollect.language.text_files import scan
from recollect.language.text_form import PLAIN

STDLIB = "python-stdlib"
DATASETS = "datasets:"
NOT_OF_STDLIB = {"site-packages", "dist-packages", "test", "tests", "idle_test"}
"""Folders that are other packages', or tests, which many installations leave out."""
MADE_IN_THE_BUILD = ("_sysconfigdata", "config-")
"""Beginnings of what is different on each machine."""
TOPICS = "pydoc_data/topics.py"
"""Chapters of Python's reference, as one dictionary: read as that, not as source."""


def open_corpus(name: str) -> Corpus:
    """The text that is meant; its files are read once, to know what they hold.

    Args:
        name: a file, a folder, "python-stdlib" or `datasets:NAME[:CONFIG[:SPLIT]]`; with `@train`,
            `@valid` or `@test` behind it, that part.

    Raises:
        UserError: if there is no such text, or it cannot be read.
    """
    whole, part = _parted(name)
    corpus = _open(whole)
    return corpus if part is None else corpus.part(part)


def check_outside(text: str, folder: Path) -> None:
    """See that what is made of a text will not be read as a part of it; opens no text.

    Args:
        text: as `open_corpus` takes it.
        folder: where something will be written.

    Raises:
        UserError: where the text is a folder that this one lies in, unless that is kept tokens'.
    """
    whole, place = _parted(text)[0], folder.resolve()
    source = Path(whole).resolve()
    if whole == STDLIB or not source.is_dir() or not place.is_relative_to(source):
        return
    if not place.is_relative_to(kept_folder().resolve()):
        raise UserError(
            f"{folder} lies in the folder {whole}, which is read as a text: what is written there"
            " would become a part of it; take another folder"
        )


def files_state(name: str) -> tuple[tuple[str, int, int], ...]:
    """The files of a text, each with size and time of its last change; none where it is not made of
    the user's files. What differs may be another text.

    Args:
        name: as `open_corpus` takes it.
    """
    whole = _parted(name)[0]
    if whole == STDLIB or whole.startswith(DATASETS):
        return ()
    path = Path(whole)
    files = [path / each for each in files_below(path)] if path.is_dir() else [path]
    return tuple(sorted(map(_file_state, files)))


def _file_state(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except OSError:  # it is gone, or a link to nothing
        return str(path), -1, -1
    return str(path), found.st_size, found.st_mtime_ns


def _parted(name: str) -> tuple[str, Part | None]:
    """The name of a text, and the part that is asked for."""
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
        frozenset([found.digest]),
    )


def _open_stdlib() -> Corpus:
    """The sources of Python's standard library, and the chapters of its reference."""
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
    """The documents of files, and further ones."""
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
        frozenset(file.digest for file in found.files),
    )


def _open_dataset(name: str) -> Corpus:
    """A data set, which the package keeps on this machine once it was loaded."""
    # a split such as train[:10%] has colons of its own
    place, config, split, *_ = [*name.removeprefix(DATASETS).split(":", 2), "", ""]
    package = optional("datasets")
    try:
        data = package.load_dataset(place, config or None, split=split or "train")
    except Exception as error:  # those of hub, builders and scripts have no base in common
        raise UserError(f"cannot load {name}: {' '.join(str(error).split())}") from error
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
    whole = hashed.hexdigest()
    return Corpus(name, whole, count, lambda: numbered(documents()), reading, frozenset([whole]))


def _dataset_rows(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[str | None]:
    """The text of each row, None where it is null."""
    for number, row in enumerate(rows):
        text = row[FIELD]
        if not isinstance(text, str | None):
            raise UserError(
                f"{name}, row {number}: the column {FIELD!r} has a value of type"
                f" {type(text).__name__}, expected strings"
            )
        yield text
