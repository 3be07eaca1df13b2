"""The base class of every configuration: keyword-only, frozen, and strict about unknown keys.

A trial's key is the hash of the canonical form (`canonical_json`), which holds every field with its
value, defaults included, in one fixed spelling.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticSerializationError

from recollect.errors import UserError, unknown

if TYPE_CHECKING:
    from typing_extensions import Self


class Config(BaseModel):
    """A frozen set of named, validated values.

    Raises:
        UserError: for an unknown key, a wrong type, or values that do not fit together.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        ser_json_inf_nan="constants",  # not null, which would be another config
    )

    if not TYPE_CHECKING:  # the checker sees the fields as keyword arguments

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _explain(type(self), error) from None

        def __setattr__(self, name: str, value: object) -> None:
            try:
                super().__setattr__(name, value)
            except ValidationError:  # it is frozen
                raise UserError(
                    f"{type(self).__name__} cannot be changed: use .replace({name}=...), which"
                    " returns a changed copy"
                ) from None

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_not_truth_values(cls, given: Any, info: ValidationInfo) -> Any:
        """Refuse True as a number: pydantic would read 1."""
        if not isinstance(given, bool):
            return given
        types = _types(cls.model_fields[info.field_name or ""].annotation)
        if (int in types or float in types) and bool not in types:
            raise UserError(f"expected a number, not {given}")
        return given

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Serialise, as pydantic's `model_dump` does.

        Args:
            options: those of pydantic's `model_dump`, such as `mode="json"`.

        Returns:
            The values of all fields, by name.

        Raises:
            UserError: if a part cannot be stored, such as a class whose source is not available.
        """
        try:
            return super().model_dump(**options)
        except PydanticSerializationError as error:
            raise _cause(error) from None

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some values changed.

        Args:
            changes: the new values, by the names of their fields.

        Returns:
            A config of the same class.

        Raises:
            UserError: for an unknown name, or a value that does not fit.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**(fields | changes))

    def replace_at(self, name: str, value: Any) -> Self:
        """Return a validated copy with one value changed.

        Args:
            name: the name of a field; the field of a config inside this one is dotted: "init.std".
            value: its new value.

        Returns:
            A config of the same class.

        Raises:
            UserError: for an unknown name, or a value that does not fit.
        """
        head, _, rest = name.partition(".")
        inner: Any = getattr(self, head, None)
        if rest and not isinstance(inner, Config):
            raise unknown("key", name, type(self).model_fields)
        return self.replace(**{head: inner.replace_at(rest, value) if rest else value})


C = TypeVar("C", bound=Config)


def _types(annotation: Any) -> list[Any]:
    """The types in an annotation such as `int | None`."""
    return [annotation, *(each for inner in get_args(annotation) for each in _types(inner))]


def _explain(cls: type[Config], error: ValidationError) -> UserError:
    """An error that lists every problem pydantic found, in one line."""
    problems = []
    found = error.errors()
    within = {item["loc"][:-1] for item in found}
    for item in found:
        if item["type"] == "too_short" and item["loc"] in within:
            continue  # pydantic dropped the wrong items, which are reported
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
            problems.append(str(unknown("key", where, cls.model_fields)))
        elif item["type"] == "value_error":
            message = item["msg"].removeprefix("Value error, ")
            is_named = not where or message.startswith(f"{where}=")
            problems.append(message if is_named else f"{where}: {message}")
        elif item["type"] == "missing":
            problems.append(f"{where} is required")
        else:
            message = item["msg"][0].lower() + item["msg"][1:]
            problems.append(f"{where}={item['input']!r}: {message}")
    return UserError(f"{cls.__name__}: " + "; ".join(problems))


def without_defaults(
    config: C, fields: Callable[[C], dict[str, Any]], names: Iterable[str]
) -> dict[str, Any]:
    """Serialise a config, leaving out the fields in `names` that have their default values.

    This lets a config gain a field without changing the keys of stored trials.

    Args:
        config: the config.
        fields: the function that pydantic passes to a wrapping serializer.
        names: the fields to leave out; their defaults are plain values.
    """
    try:
        values = fields(config)
    except PydanticSerializationError as error:
        raise _cause(error) from None
    known = type(config).model_fields
    unset = {name for name in names if getattr(config, name) == known[name].default}
    return {name: value for name, value in values.items() if name not in unset}


def _cause(error: PydanticSerializationError) -> Exception:
    """The error raised by the part that cannot be stored; pydantic's serializer hides it."""
    return error.__cause__ if isinstance(error.__cause__, UserError) else error


def canonical_json(value: Any) -> str:
    """JSON with one spelling for equal values: sorted keys, no spaces, floats as in Python.

    Raises:
        UserError: for NaN or infinity, which JSON cannot represent.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise UserError(
            f"a config must hold finite numbers to be stored as JSON: {error}"
        ) from None


def digest(value: Any) -> str:
    """The first 32 hexadecimal digits of SHA-256 over the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:32]
