"""The digest of a user's class: what of the user's source is in it, and what is not."""

import importlib
import pkgutil
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from zipfile import ZipFile

import pytest
import torch

from recollect import modules
from recollect.errors import UserError
from recollect.identity import class_name, import_class, present_digest, source_digest

pytestmark = pytest.mark.slow

FILES = {
    "mine.py": """
        import helpers
        from recollect.seeding import derive_seed
        from torch import nn

        WIDTH = 3

        def scale(x):
            return x * WIDTH

        class Mixer(nn.Module):
            def forward(self, x):
                from parts import ops
                return ops.mix(helpers.shift(scale(x)))
    """,
    "helpers.py": "def shift(x): return x + 1",
    "parts/__init__.py": "",
    "parts/ops.py": "from .inner import mix",
    "parts/inner.py": "def mix(x): return x",
    "unrelated.py": "X = 1",
}
OWN = (
    "mine",
    "helpers",
    "parts",
    "parts.ops",
    "parts.inner",
    "lib",
    "space",
    "space.inner",
    "zipped",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch):
    """A user's folder."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(dedent(text))
    yield tmp_path
    forget()


def forget() -> None:
    for name in OWN:
        sys.modules.pop(name, None)


def fresh_digest() -> str:
    """As a new process has it."""
    forget()
    importlib.invalidate_caches()
    return source_digest(importlib.import_module("mine").Mixer)


@pytest.mark.parametrize("edited", FILES)
def test_an_edit_of_what_the_class_may_call_counts(folder: Path, edited):
    before = fresh_digest()
    assert fresh_digest() == before
    with (folder / edited).open("a") as file:
        file.write("\n# edited\n")
    assert (fresh_digest() == before) == (edited == "unrelated.py")


def test_an_edit_counts_when_it_is_loaded(folder: Path):
    """A study goes on while its file is edited; in a notebook a module may be loaded again."""
    before = fresh_digest()
    importlib.import_module("helpers")
    (folder / "helpers.py").write_text("def shift(x): return x + 2")
    mine = importlib.import_module("mine")
    assert source_digest(mine.Mixer) == before
    importlib.reload(sys.modules["helpers"])
    assert source_digest(mine.Mixer) != before


@pytest.mark.parametrize("place", ["site-packages", "dist-packages"])
def test_of_an_installed_package_name_and_version_count(folder: Path, monkeypatch, place):
    """Whether the class is in it or builds on it."""
    installed = folder / place
    installed.mkdir()
    (folder / "helpers.py").rename(installed / "helpers.py")
    monkeypatch.syspath_prepend(installed)

    def digest_with(version: str) -> str:
        info = installed / "helping.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Name: helping\nVersion: {version}\n")
        (info / "top_level.txt").write_text("helpers\n")
        for known in (modules._distributions, modules._versions_of):
            known.cache_clear()
        return fresh_digest()

    before = digest_with("1.0")
    (installed / "helpers.py").write_text("def shift(x): return x + 3")
    assert digest_with("1.0") == before
    assert digest_with("1.1") != before
    (folder / "mine.py").rename(installed / "mine.py")
    (installed / "helping.dist-info" / "top_level.txt").write_text("mine\nhelpers\n")
    assert digest_with("1.0") != digest_with("1.1")


def test_what_lies_elsewhere_on_the_import_path_counts(folder: Path, tmp_path_factory, monkeypatch):
    """As PYTHONPATH or an editable install has it; archives and packages without a file too."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "helpers.py").write_text("import lib\nfrom space.inner import f\nimport zipped")
    (elsewhere / "lib.py").write_text("X = 1")
    (elsewhere / "space").mkdir()
    (elsewhere / "space" / "inner.py").write_text("def f(): return 1")
    archive = elsewhere / "archive.zip"
    for path in (elsewhere, archive):
        monkeypatch.syspath_prepend(path)

    def write(text: str) -> None:
        with ZipFile(archive, "w") as file:
            file.writestr("zipped.py", text)

    write("X = 1")
    digests = [fresh_digest()]
    (elsewhere / "lib.py").write_text("X = 22")
    digests.append(fresh_digest())
    (elsewhere / "space" / "inner.py").write_text("def f(): return 22")
    digests.append(fresh_digest())
    write("X = 22")
    assert len({*digests, fresh_digest()}) == 4


def test_the_folder_does_not_count(folder: Path, tmp_path_factory):
    moved = tmp_path_factory.mktemp("moved") / "there"
    before = source_digest(import_class(f"{folder / 'mine.py'}:Mixer"))
    assert before == fresh_digest(), "as a file, and as a module"
    forget()
    shutil.copytree(folder, moved)
    sys.path.remove(str(folder))
    assert source_digest(import_class(f"{moved / 'mine.py'}:Mixer")) == before


def test_a_relative_import_of_a_module_counts(tmp_path: Path, monkeypatch):
    package = tmp_path / "relative"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "near.py").write_text("X = 1")
    (package / "mine.py").write_text("from . import near\nclass Mixer: x = near.X")
    cls = import_class(f"{package / 'mine.py'}:Mixer")
    assert class_name(cls) == "relative.mine:Mixer"
    before = present_digest("relative.mine:Mixer", [str(tmp_path)])
    assert before == (package / "mine.py", source_digest(cls))
    (package / "__init__.py").write_text("X = 22")
    assert present_digest("relative.mine:Mixer", [str(tmp_path)]) == before, "it is loaded"
    for name in [name for name in sys.modules if name.partition(".")[0] == "relative"]:
        del sys.modules[name]
    edited = present_digest("relative.mine:Mixer", [str(tmp_path)])
    (package / "near.py").write_text("X = 22")
    assert len({before, edited, present_digest("relative.mine:Mixer", [str(tmp_path)])}) == 3
    assert present_digest("random:Mixer", [str(tmp_path)]) is None, "which is Python's own"


def test_an_edit_after_the_import_is_noticed(tmp_path: Path, monkeypatch):
    """It is not what runs, so there is no right digest."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "edited_soon.py"
    file.write_text("class Mixer: width = 1")
    cls = importlib.import_module("edited_soon").Mixer
    file.write_text("class Mixer: width = 22")
    with pytest.raises(UserError, match="edited after"):
        source_digest(cls)


def test_what_has_no_source_is_a_user_error(tmp_path: Path, monkeypatch):
    typed_in = type("TypedIn", (), {"__module__": "nowhere"})
    with pytest.raises(UserError, match="nowhere:TypedIn cannot be read"):
        source_digest(typed_in)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "compiled.py").write_text("class Mixer: pass")
    py_compile.compile(str(tmp_path / "compiled.py"), str(tmp_path / "compiled.pyc"))
    (tmp_path / "compiled.py").unlink()
    with pytest.raises(UserError, match="no source"):
        source_digest(importlib.import_module("compiled").Mixer)
    made = ModuleType("made_by_a_program")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    (tmp_path / "uses_made.py").write_text("import made_by_a_program\nclass Mixer: pass")
    with pytest.raises(UserError, match="made_by_a_program"):
        source_digest(importlib.import_module("uses_made").Mixer)


ALTERED = {
    "GAIN = 1.0": "mine.GAIN = 50.0",
    "GAIN: float = 1": "mine.GAIN = 1.0",
    "MODE = None": "mine.MODE = torch.tanh",
    'SETTINGS = {"gain": (1, 2)}': 'mine.SETTINGS["gain"] = (1, 3)',
    "from parts.inner import SCALE": "mine.SCALE = -1.0",
    "class Inner:\n    gains = [1.0]": "mine.Inner.gains.append(2.0)",
    "class B:\n    gain = 1\nclass Inner(B): pass": "mine.Inner.gain = 2",
}
OWN_CHANGES = (
    "CALLS = 0\ndef count():\n    global CALLS\n    CALLS += 1\ncount()",
    "try:\n    fast = 1\nexcept ImportError:\n    fast = None\nfast = 2",
    "CACHE = {}\nCACHE[1] = 2\nTABLE = {1: 2}\ndef f(): TABLE[2] = 3\nf()",
    "class Counted:\n    calls = 0\n    def f(self): type(self).calls += 1\nCounted().f()",
    "import enum\nclass Kind(enum.IntEnum):\n    A = 1",
    "from dataclasses import dataclass\n@dataclass(slots=True)\nclass Point:\n    x: int = 1",
    "from typing import NamedTuple\nclass Pair(NamedTuple):\n    x: int = 1",
    "import helpers\nhelpers.OFFSET = 3",
    "import pydantic\nclass Values(pydantic.BaseModel):\n    model_config = {}\n    x: int = 1",
    "class A:\n    x = 1\nclass B(A):\n    x = len('abc')\nclass C(A):\n    def x(self): pass",
    "PI = 3\nfrom math import *\nfrom cmath import *\nE = pi",
)


@pytest.mark.parametrize("text", ALTERED)
def test_a_constant_set_from_outside_is_refused(folder: Path, text):
    """What is stored under the source's digest was computed with the source's value."""
    (folder / "parts" / "inner.py").write_text("SCALE = 1.0\ndef mix(x): return x")
    with (folder / "mine.py").open("a") as file:
        file.write(f"\n{text}\n")
    fresh_digest()
    mine = importlib.import_module("mine")
    exec(ALTERED[text], {"mine": mine, "torch": torch})
    with pytest.raises(UserError, match=r"mine\.(Inner\.)?\w+ is .*, but its source says"):
        source_digest(mine.Mixer)


@pytest.mark.parametrize("owner", ["mine.Mixer", "helpers", "parts.inner.Base"])
def test_constants_of_the_class_its_bases_and_own_modules_count(folder: Path, owner):
    (folder / "helpers.py").write_text("gain = 1\ndef shift(x): return x + gain")
    inner = "class Base:\n    gain = 1\ndef mix(x): return x"
    (folder / "parts" / "inner.py").write_text(inner)
    text = (folder / "mine.py").read_text().replace("(nn.Module):", "(Base):\n    gain = 1\n")
    (folder / "mine.py").write_text("from parts.inner import Base\n" + text)
    before = fresh_digest()
    pkgutil.resolve_name(owner).gain = 2
    with pytest.raises(UserError, match=f"{owner}.gain is 2, but its source says 1"):
        source_digest(sys.modules["mine"].Mixer)
    pkgutil.resolve_name(owner).gain = 1
    assert source_digest(sys.modules["mine"].Mixer) == before


@pytest.mark.parametrize("text", OWN_CHANGES)
def test_what_the_source_changes_itself_is_left_alone(folder: Path, text):
    (folder / "helpers.py").write_text("OFFSET = 1\ndef shift(x): return x + OFFSET")
    with (folder / "mine.py").open("a") as file:
        file.write(f"\n{text}\n")
    assert fresh_digest()


def test_a_script_that_sets_a_class_attribute_between_studies_is_refused(folder: Path):
    """It is the script itself that changes it, but the source is the same for all of its values."""
    script = folder / "script.py"
    script.write_text(
        "from recollect.identity import source_digest\n"
        "class Mixer:\n    gain = 1\n    calls = 0\n    def f(self): Mixer.calls += 1\n"
        "for gain in (1, 2):\n    Mixer().f()\n    Mixer.gain = gain\n"
        "    print(source_digest(Mixer))\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert len(ended.stdout.split()) == 1
    assert "script.Mixer.gain is 2, but its source says 1" in ended.stderr


def test_line_ends_do_not_count(folder: Path):
    before = fresh_digest()
    for end in (b"\r\n", b"\r"):
        text = (folder / "mine.py").read_text().encode().replace(b"\n", end)
        (folder / "mine.py").write_bytes(text)
        assert fresh_digest() == before
