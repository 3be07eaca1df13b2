"""Read the plain constants of a module and its classes from source code.

Names that the source changes itself, such as counters and caches, are found too.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
IN_PLACE = {
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"),
    *("update", "setdefault", "popitem", "add", "discard"),
}
"""Methods that change a list, a dictionary or a set."""


@dataclass(frozen=True)
class Imported:
    """A name that is bound by `from module import name`.

    Attributes:
        statement: the import statement.
        name: the name in the imported module.
    """

    statement: ast.ImportFrom
    name: str


def constants(tree: ast.Module) -> dict[str, Any]:
    """The constants of a module and, under dotted names, of its classes.

    A name is a constant if its scope binds it exactly once, at the top level, to a literal. A name
    imported from another module is given as `Imported`. Empty lists, dictionaries and sets are not
    constants: programs fill them later.
    """
    shared = {name for node in ast.walk(tree) for name in _declared_global(node)}
    return dict(_constants(tree.body, shared))


def class_bodies(tree: ast.Module) -> dict[str, frozenset[str]]:
    """The names bound in each class body, by the dotted name of the class.

    Classes whose name is bound more than once are left out.
    """
    return dict(_class_bodies(tree.body))


def changed_by_itself(tree: ast.Module, *, is_script: bool) -> set[str]:
    """The names that a module changes as attributes (`Mixer.calls += 1`) or in place
    (`TABLE[n] = x`); only the last part of a dotted name.

    In a script, only the code inside classes counts: the rest runs between studies.
    """
    parts: Iterable[ast.AST] = [tree]
    if is_script:
        parts = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {name for part in parts for node in ast.walk(part) for name in _changed(node)}


def _constants(body: Sequence[ast.stmt], shared: set[str]) -> Iterator[tuple[str, Any]]:
    """The constants in the scope of a module or class."""
    times = Counter(name for node in _scope(body) for name in _bound(node))
    for node in _after_star_imports(body):
        if isinstance(node, ast.ClassDef) and times[node.name] == 1:
            yield from ((f"{node.name}.{n}", v) for n, v in _constants(node.body, set()))
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name
                if times[name] == 1 and name not in shared:
                    yield name, Imported(node, alias.name)
        for target in _targets(node):
            if times[target] == 1 and target not in shared:
                with suppress(ValueError, TypeError):  # not a literal
                    value = ast.literal_eval(node.value)  # type: ignore[attr-defined]
                    if value or not isinstance(value, list | dict | set):
                        yield target, value


def _class_bodies(body: Sequence[ast.stmt]) -> Iterator[tuple[str, frozenset[str]]]:
    times = Counter(name for node in _scope(body) for name in _bound(node))
    for node in body:
        if isinstance(node, ast.ClassDef) and times[node.name] == 1:
            yield node.name, frozenset(n for part in _scope(node.body) for n in _bound(part))
            yield from ((f"{node.name}.{name}", names) for name, names in _class_bodies(node.body))


def _scope(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """The nodes of a scope, without the contents of its functions and classes."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, SCOPES):
            waiting.extend(ast.iter_child_nodes(node))


def _after_star_imports(body: Sequence[ast.stmt]) -> Sequence[ast.stmt]:
    """The statements after the last `from module import *`, which may bind any name again."""
    stars = [i for i, node in enumerate(body) if any("*" in _bound(n) for n in _scope([node]))]
    return body[stars[-1] + 1 :] if stars else body


def _bound(node: ast.AST) -> list[str]:
    """The names that a node binds or deletes."""
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs)
    return [node.name] if isinstance(node, named) and node.name else []


def _targets(node: ast.stmt) -> list[str]:
    """The plain names that a statement assigns a value to."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets = [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _declared_global(node: ast.AST) -> list[str]:
    return node.names if isinstance(node, ast.Global) else []


def _changed(node: ast.AST) -> Iterator[str]:
    """The names that a node changes as attributes or in place."""
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            yield node.attr
    elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        yield from _last_name(node.value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in IN_PLACE:
            yield from _last_name(node.func.value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.args[1] if node.func.id == "setattr" and len(node.args) > 1 else None
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value


def _last_name(node: ast.expr) -> Iterator[str]:
    """`table` of `table`, `cls.table` and `table[0][1]`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
