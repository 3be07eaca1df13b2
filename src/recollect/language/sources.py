"""Where texts come from: files, folders, data sets, or the Python that runs this.

A file that the user names must be text; in a folder, files that are not are skipped and counted.
What is made of a text is no part of it: in a folder, that of kept tokens is left out.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import cast, get_args

from recollect.errors import UserError
from recollect.language.corpus import Corpus, Part, numbered
from recollect.language.extras import optional
from recollect.language.kept import kept_folder
from recollect.language.text_files import FIELD, NotTextError, scan, texts

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
        return _open_folder(name, path, _below(path))
    if not path.exists():
        raise UserError(
            f"there is no text {name}: expected a file, a folder, {STDLIB} or {DATASETS}NAME,"
            " with @train, @valid or @test behind it for a part"
        )
    found = scan(path)
    return Corpus(name, found.digest, found.documents, 0, lambda: numbered(texts(path)))


def _open_stdlib() -> Corpus:
    """The sources of Python's standard library, and the chapters of its reference."""
    from pydoc_data.topics import topics

    folder = Path(sysconfig.get_path("stdlib"))
    sources = [
        file
        for file in _below(folder, NOT_OF_STDLIB)
        if file.suffix == ".py"
        and not file.parts[0].startswith(MADE_IN_THE_BUILD)
        and file.as_posix() != TOPICS
    ]
    return _open_folder(STDLIB, folder, sources, [topics[name] for name in sorted(topics)])


def _below(folder: Path, left_out: Set[str] = frozenset()) -> Iterator[Path]:
    """The files in and below a folder that are not hidden, nor in a folder of such a name, nor
    kept."""
    kept = kept_folder().resolve()
    for place, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name[0] != "." and name not in left_out and Path(place, name).resolve() != kept
        ]
        for path in (Path(place) / name for name in files if name[0] != "."):
            if path.is_file():  # no pipe, no link to nowhere
                yield path.relative_to(folder)


def _open_folder(
    name: str, folder: Path, files: Iterable[Path], more: Sequence[str] = ()
) -> Corpus:
    """The files that hold text, in the order of their names, and further documents."""
    hashed, count, good, skipped = hashlib.sha256(), len(more), [], 0
    for path in (folder / file for file in sorted(files, key=Path.as_posix)):
        try:
            found = scan(path)
        except NotTextError:
            skipped += 1
            continue
        hashed.update(found.digest.encode())
        count += found.documents
        good.append(path)
    if not good:
        raise UserError(
            f"the folder {folder} has no text: expected files of UTF-8, not empty, and a column"
            f" {FIELD!r} in JSON lines and Parquet"
        )
    for text in more:
        hashed.update(hashlib.sha256(text.encode()).digest())

    def documents() -> Iterator[str]:
        for path in good:
            yield from texts(path)
        yield from more

    return Corpus(name, hashed.hexdigest(), count, skipped, lambda: numbered(documents()))


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
        return (row[FIELD] or "" for row in data)

    hashed = hashlib.sha256()
    for text in documents():
        hashed.update(hashlib.sha256(text.encode()).digest())
    return Corpus(name, hashed.hexdigest(), len(data), 0, lambda: numbered(documents()))
