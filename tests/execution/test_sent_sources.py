"""Sources of a user's classes, packed in one process and unpacked in another that has none."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

PACK = """
import pickle, sys
from pathlib import Path
from recollect.execution.sent_sources import pack
from recollect.identity import class_name, import_class, source_digest

sent = {}
for reference in sys.argv[2:]:
    cls = import_class(reference)
    sent[f"{class_name(cls)}#{source_digest(cls)}"] = reference
Path(sys.argv[1]).write_bytes(pickle.dumps(pack(sent)))
"""
UNPACK = """
import pickle, sys
from pathlib import Path
from recollect.execution.sent_sources import unpack
from recollect.identity import import_class

folder = Path(sys.argv[1])
found = unpack(pickle.loads((folder / "sent").read_bytes()), folder / "unpacked")
print(*(import_class(reference)().tell() for reference in found.values()))
"""
MINE = "import helper\nclass Mine:\n    def tell(self): return helper.WORD\n"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    package = folder / "package"
    package.mkdir(parents=True)
    (folder / "mine.py").write_text(MINE)
    (folder / "helper.py").write_text(
        "WORD = 'helped'\nclass Other:\n    def tell(self): return 1\n"
    )
    (package / "__init__.py").touch()
    (package / "near.py").write_text("def word(): return 'near'\n")
    (package / "late.py").write_text("WORD = 'late'\n")
    (package / "inner.py").write_text(
        "from .near import word\n"
        "class Inner:\n"
        "    def tell(self):\n"
        "        from package.late import WORD\n"
        "        return word() + WORD\n"
    )
    return folder


def python(script: str, folder: Path, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_classes_of_files_and_packages_are_found_where_there_are_none(
    sources: Path, tmp_path: Path
):
    references = [
        f"{sources / 'mine.py'}:Mine",
        f"{sources / 'helper.py'}:Other",
        "package.inner:Inner",
    ]
    packed = python(PACK, sources, tmp_path / "sent", *references)
    assert packed.returncode == 0, packed.stderr
    sources.rename(tmp_path / "gone")
    there = python(UNPACK, tmp_path, tmp_path)
    assert there.stdout.split() == ["helped", "1", "nearlate"], there.stderr


def test_a_class_that_is_another_on_arrival_is_refused(sources: Path, tmp_path: Path):
    assert python(PACK, sources, tmp_path / "sent", f"{sources / 'mine.py'}:Mine").returncode == 0
    sent = pickle.loads((tmp_path / "sent").read_bytes())
    (place,) = (place for place in sent.files if place.endswith("helper.py"))
    changed = {**sent.files, place: b"WORD = 'changed'\n"}
    (tmp_path / "sent").write_bytes(pickle.dumps(type(sent)(changed, sent.classes, sent.versions)))
    there = python(UNPACK, tmp_path, tmp_path)
    assert there.returncode != 0
    assert "mine:Mine differs between" in there.stderr.splitlines()[-1]
