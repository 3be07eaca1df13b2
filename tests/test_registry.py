"""Names that classes register."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import FunctionType, SimpleNamespace

import pytest

import recollect as rc
from recollect.registry import Registry


def defined(name: str, module: str = "__main__") -> type:
    """A class, as the cell of a notebook defines it."""
    return type(name, (), {"__module__": module})


def function(name: str) -> FunctionType:
    """A function, as the cell of a notebook defines it."""
    made = FunctionType((lambda: None).__code__, {}, name)
    made.__module__, made.__qualname__ = "__main__", name
    return made


@pytest.mark.parametrize("define", [defined, function])
def test_what_is_defined_again_takes_the_place_of_the_first(define) -> None:
    """As when the cell of a notebook is run again, or a module is reloaded."""
    registry: Registry[object] = Registry("study")
    again = define("mine")
    registry.add("mine", define("mine"))
    registry.add("mine", again)
    assert registry["mine"] is again


def test_an_entry_with_a_class_that_is_defined_again_takes_the_place_of_the_first() -> None:
    registry: Registry[object] = Registry("task")
    entries = [SimpleNamespace(cls=defined("Mean")) for _ in range(2)]
    for entry in entries:
        registry.add("mean", entry)
    assert registry["mean"] is entries[1]


def test_another_class_cannot_take_a_name() -> None:
    registry: Registry[object] = Registry("task")
    registry.add("echo", defined("Echo"))
    for other in (defined("Other"), defined("Echo", module="elsewhere"), Registry, len):
        with pytest.raises(ValueError, match="the task 'echo' is already registered"):
            registry.add("echo", other)


def test_classes_that_a_function_makes_need_names_of_their_own() -> None:
    def made() -> type:
        class Echo:
            pass

        return Echo

    registry: Registry[object] = Registry("task")
    registry.add("echo", made())
    with pytest.raises(ValueError, match="already registered"):
        registry.add("echo", made())


def test_another_function_cannot_take_a_name() -> None:
    registry: Registry[object] = Registry("study")
    registry.add("mine", function("mine"))
    for other in (function("other"), function("<lambda>"), defined("mine")):
        with pytest.raises(ValueError, match="already registered"):
            registry.add("mine", other)
    registry.add("nameless", function("<lambda>"))
    with pytest.raises(ValueError, match="already registered"):
        registry.add("nameless", function("<lambda>"))


BOTH = """
import recollect as rc
from torch import nn

@rc.register_task("task of both")
class Both(rc.MQAR):
    pass

class Mix(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.linear(x)
"""


def test_a_file_can_be_imported_by_name_and_given_by_path(tmp_path: Path, monkeypatch) -> None:
    """It runs twice, under two names of a module."""
    (tmp_path / "both.py").write_text(BOTH)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    task = importlib.import_module("both").Both(seq_len=8, num_kv_pairs=2, vocab_size=16)
    model = rc.ModelConfig(mixer=f"{tmp_path / 'both.py'}:Mix", d_model=8, n_layers=1)
    rc.Study("both", tasks=task, models=model).check()
    monkeypatch.delitem(sys.modules, "both")


FIRST = """
import recollect as rc
from torch import nn

try:
    rc.register_mixer("attention", family="f", title="t", paper="p", year=2026)(nn.Identity)
except ValueError as error:
    print(error)
print(rc.mixer("mamba").label)
"""


def test_a_taken_name_is_refused_although_nothing_was_looked_up_before() -> None:
    """And the catalogue stays whole."""
    ran = subprocess.run(
        [sys.executable, "-c", FIRST], capture_output=True, text=True, check=True, timeout=100
    )
    assert ran.stdout == "the mixer 'attention' is already registered\nmamba\n"


def test_a_catalogue_whose_import_failed_is_tried_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    registry: Registry[object] = Registry("task", "a_catalogue_that_fails")
    file = tmp_path / "a_catalogue_that_fails.py"
    file.write_text("raise ImportError('no such library')")
    for _ in range(2):
        with pytest.raises(ImportError, match="no such library"):
            registry.names()
    file.write_text("")
    assert registry.names() == []
