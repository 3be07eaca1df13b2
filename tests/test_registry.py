"""Names that classes register."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from recollect.registry import Registry


def defined(name: str, module: str = "__main__") -> type:
    """A class, as the cell of a notebook defines it."""
    return type(name, (), {"__module__": module})


def test_a_class_that_is_defined_again_takes_the_place_of_the_first() -> None:
    """As when the cell of a notebook is run again, or a module is reloaded."""
    registry: Registry[object] = Registry("task")
    again = defined("Echo")
    registry.add("echo", defined("Echo"))
    registry.add("echo", again)
    assert registry["echo"] is again
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
