"""Every public name says what it is, what it takes, what it gives and what it raises.

Docstrings follow Google's sections. A short one may name its arguments in backticks instead. A
method that overrides another leaves to it what both have in common.
"""

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass
from types import FunctionType, ModuleType

import recollect as rc

HEADS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Warns")
SHAPE = re.compile(r"\(\w+,( [\w.]+)*(, [\w.]+)*\)")
KIND = {"kind"}
"""Fields that only tell stored classes apart; nobody sets them."""


@dataclass
class Described:
    """A function or method, its docstring with those it overrides, and what a caller gives."""

    function: FunctionType
    doc: str
    parameters: set[str]

    @property
    def returned(self) -> str:
        return str(self.function.__annotations__.get("return", "None"))


def public_objects() -> dict[str, object]:
    """Classes, functions and types of `recollect` and of the modules that it exports."""
    found: dict[str, object] = {}
    for name in rc.__all__:
        value = getattr(rc, name)
        if isinstance(value, ModuleType):
            found |= {f"{name}.{inner}": getattr(value, inner) for inner in value.__all__}
        elif name != "__version__":
            found[name] = value
    return found


def ours(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base.__module__.startswith("recollect")]


def docs(holders: list) -> str:
    return "\n\n".join(inspect.cleandoc(each.__doc__) for each in holders if each.__doc__)


def behind(held: object) -> FunctionType | None:
    """The function of a method or property; None for a plain value."""
    for attribute in ("fget", "func", "__func__"):
        held = getattr(held, attribute, held)
    return held if inspect.isfunction(held) else None


def described() -> dict[str, Described]:
    """Public functions, methods and properties by their names."""
    found = {}
    for name, value in OBJECTS.items():
        if inspect.isfunction(value):
            names = set(inspect.signature(value).parameters)
            found[name] = Described(value, docs([value]), names)
    for name, cls in CLASSES.items():
        members = {member for base in ours(cls) for member in vars(base)}
        for member in members - {"model_post_init"}:
            held = [vars(base)[member] for base in ours(cls) if member in vars(base)]
            function = behind(held[0])
            if function is not None and not member.startswith("_"):
                _, *names = inspect.signature(function).parameters
                found[f"{name}.{member}"] = Described(function, docs(held), set(names))
    return found


def section(doc: str, name: str) -> str:
    """The text of all sections of this name; empty if there is none."""
    ends = "|".join(f"{head}:" for head in HEADS)
    pattern = rf"^{name}:\n(.*?)(?=^(?:{ends})\n|^\S|\Z)"
    return "\n".join(re.findall(pattern, doc, flags=re.MULTILINE | re.DOTALL))


def entries(doc: str, name: str) -> set[str]:
    return set(re.findall(r"^ {4}(\w+): ", section(doc, name), flags=re.MULTILINE))


def code(thing: object) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def raises(tree: ast.AST) -> bool:
    """Whether the code raises an error; one that says "not implemented" is not for callers."""
    found = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
    return any("NotImplementedError" not in ast.unparse(error) for error in found)


def refuses_values(cls: type) -> bool:
    """Whether making an instance may raise: in `__init__`, or in a validator of the class."""
    return any(
        raises(node)
        for node in code(cls).body
        if isinstance(node, ast.FunctionDef)
        and (
            node.name in ("__init__", "__post_init__")
            or any("validator" in ast.unparse(each) for each in node.decorator_list)
        )
    )


def fields(cls: type) -> set[str]:
    """What a class holds under public names."""
    found = {*getattr(cls, "model_fields", {}), *getattr(cls, "__dataclass_fields__", {})}
    if not found and "__init__" in vars(cls):
        found = set(re.findall(r"self\.([a-z]\w*)[^=\n(]* = ", inspect.getsource(cls.__init__)))
        found |= set(getattr(cls, "__annotations__", {}))
    return found - KIND


OBJECTS = public_objects()
CLASSES = {name: value for name, value in OBJECTS.items() if inspect.isclass(value)}
DESCRIBED = described()


def test_every_public_name_has_a_docstring():
    missing = [name for name, cls in CLASSES.items() if not cls.__doc__]
    missing += [name for name, each in DESCRIBED.items() if not each.doc]
    assert not missing


def test_no_section_occurs_twice():
    heads = re.compile(rf"^({'|'.join(HEADS)}):$", flags=re.MULTILINE)
    found = {name: heads.findall(inspect.getdoc(each.function)) for name, each in DESCRIBED.items()}
    assert not [name for name, sections in found.items() if len(sections) > len({*sections})]


def test_every_argument_is_described():
    missing = {}
    for name, each in DESCRIBED.items():
        described = entries(each.doc, "Args")
        for parameter in each.parameters - described:
            if f"`{parameter}`" not in each.doc:
                missing[f"{name}({parameter})"] = "not described"
        for parameter in described - each.parameters:
            missing[f"{name}({parameter})"] = "described, but no argument"
    assert not missing


def test_every_field_is_described():
    missing = {}
    for name, cls in CLASSES.items():
        doc = docs(ours(cls))
        described = entries(doc, "Attributes")
        for field in fields(cls) - described:
            if f"`{field}`" not in doc:
                missing[f"{name}.{field}"] = "not described"
        for field in described - fields(cls):
            missing[f"{name}.{field}"] = "described, but no field"
    assert not missing


def test_what_takes_described_arguments_says_what_it_returns():
    assert not [
        name
        for name, each in DESCRIBED.items()
        if section(each.doc, "Args") and each.returned != "None"
        if not section(each.doc, "Returns") and not section(each.doc, "Yields")
    ]


def test_tensors_that_are_returned_have_a_shape():
    assert not [
        name
        for name, each in DESCRIBED.items()
        if "Tensor" in each.returned and not SHAPE.search(each.doc)
    ]


def test_errors_that_are_raised_are_described():
    missing = [
        name
        for name, each in DESCRIBED.items()
        if raises(code(each.function)) and not section(each.doc, "Raises")
    ]
    missing += [
        name
        for name, cls in CLASSES.items()
        if refuses_values(cls) and not section(docs([cls]), "Raises")
    ]
    assert not missing
