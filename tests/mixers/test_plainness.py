"""Mixers and ops are plain: they need no device package, print nothing, and read no settings."""

import ast
from pathlib import Path

import pytest

import recollect

ROOT = Path(recollect.__file__).parent
FILES = sorted(path for room in ("mixers", "ops") for path in (ROOT / room).glob("*.py"))
ALLOWED = {"torch", "einops", "jaxtyping", "numpy", "numba", "pydantic", "recollect"}
STANDARD = {
    "__future__",
    "collections",
    "concurrent",
    "contextlib",
    "contextvars",
    "copy",
    "dataclasses",
    "functools",
    "importlib",
    "inspect",
    "itertools",
    "math",
    "re",
    "sys",
    "types",
    "typing",
    "warnings",
}
KERNELS = "_triton_"
"""Files that are loaded where their package is alone."""


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_is_plain(path):
    tree = ast.parse(path.read_text())
    loads_kernels = path.stem.startswith(KERNELS) or path.stem == "forms"
    assert imported(tree) <= ALLOWED | STANDARD | ({"triton"} if loads_kernels else set())
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Global | ast.Nonlocal)
        called = (
            node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        )
        assert called not in {"print", "open", "input", "exec", "eval"}
