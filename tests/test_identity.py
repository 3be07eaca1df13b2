"""The digest of a user's class: what of the user's source is in it, and what is not."""

import importlib
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from recollect.errors import UserError
from recollect.identity import source_digest

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
OWN = ("mine", "helpers", "parts", "parts.ops", "parts.inner")


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


def test_of_an_installed_package_the_module_alone_counts(folder: Path, monkeypatch):
    installed = folder / "site-packages"
    installed.mkdir()
    for name in ("mine.py", "helpers.py"):
        (folder / name).rename(installed / name)
    monkeypatch.syspath_prepend(installed)
    before = fresh_digest()
    (installed / "helpers.py").write_text("def shift(x): return x + 2")
    assert fresh_digest() == before
    (installed / "mine.py").write_text((installed / "mine.py").read_text() + "\n# another\n")
    assert fresh_digest() != before


def test_a_class_without_a_file_is_a_user_error():
    typed_in = type("TypedIn", (), {"__module__": "nowhere"})
    with pytest.raises(UserError, match="nowhere:TypedIn cannot be read"):
        source_digest(typed_in)
