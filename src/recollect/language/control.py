"""Control tokens of a tokenizer, such as those that begin and end a text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from recollect.errors import UserError

SETTINGS_FILES = ("special_tokens_map.json", "tokenizer_config.json")
"""Files that `transformers` writes beside a tokenizer; the later one takes precedence."""
END_OF_TEXT = "<|endoftext|>"
"""End-of-text token of our tokenizers, named as in GPT-2."""


class Named(NamedTuple):
    """Control tokens named in the files beside a tokenizer.

    Attributes:
        bos: token that begins a text.
        eos: token that ends a text.
        adds_bos: whether texts begin with `bos`; None: the tokenizer's template decides.
        adds_eos: whether texts end with `eos`; ignored if `adds_bos` is None.
        others: other control tokens.
    """

    bos: str | None = None
    eos: str | None = None
    adds_bos: bool | None = None
    adds_eos: bool = False
    others: tuple[str, ...] = ()

    @property
    def all(self) -> list[str]:
        """All named control tokens."""
        return [*filter(None, (self.bos, self.eos)), *self.others]


class Template(NamedTuple):
    """Tokens that are added to a text.

    Attributes:
        before: tokens before the text.
        after: tokens after it.
    """

    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


NOTHING_AROUND = Template()


def read_named(folder: Path) -> Named:
    """Read the control tokens named in a folder of `transformers`.

    Raises:
        UserError: if a file is damaged.
    """
    settings: dict[str, Any] = {}
    for path in map(folder.joinpath, SETTINGS_FILES):
        if path.is_file():
            settings |= _read(path)
    adds_bos = settings.get("add_bos_token")
    return Named(
        bos=_content(settings.get("bos_token")),
        eos=_content(settings.get("eos_token")),
        adds_bos=adds_bos if isinstance(adds_bos, bool) else None,
        adds_eos=settings.get("add_eos_token") is True,
        others=tuple(_others(settings)),
    )


def _others(settings: dict[str, Any]) -> Iterator[str]:
    """Control tokens in lists of the settings."""
    for name in ("additional_special_tokens", "extra_special_tokens", "added_tokens_decoder"):
        listed = settings.get(name) or ()
        for token in listed.values() if isinstance(listed, dict) else listed:
            found = _content(token)
            if found and (not isinstance(token, dict) or token.get("special", True)):
                yield found


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: expected JSON") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path} is damaged: expected a JSON object")
    return settings


def _content(token: Any) -> str | None:
    """Text of a token, given as text or as an object with the text."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else None


def mark_control(backend: Any, named: Named) -> None:
    """Mark the named control tokens in a tokenizer's vocabulary that it treats as ordinary
    tokens."""
    known = control_tokens(backend).values()
    named_here = [name for name in named.all if backend.token_to_id(name) is not None]
    backend.add_special_tokens([name for name in named_here if name not in known])


def template_of(backend: Any, named: Named, sample: str) -> Template:
    """Tokens that a tokenizer adds to a text: by the settings beside it (`add_bos_token`), or else
    by its own template.

    Args:
        backend: a `tokenizers.Tokenizer`.
        named: the control tokens.
        sample: a text that the tokenizer can read.
    """
    bos, eos = (None if each is None else backend.token_to_id(each) for each in named[:2])
    if named.adds_bos is False or (named.adds_bos and bos is not None):
        before = (bos,) if named.adds_bos and bos is not None else ()
        return Template(before, (eos,) if named.adds_eos and eos is not None else ())
    encoding = backend.encode(sample, add_special_tokens=True)
    text = [i for i, special in enumerate(encoding.special_tokens_mask) if not special]
    return Template(tuple(encoding.ids[: text[0]]), tuple(encoding.ids[text[-1] + 1 :]))


def end_of_text(backend: Any, named: Named) -> int | None:
    """Token that ends a text: the named one, else `END_OF_TEXT` if it is a control token, else
    None."""
    if named.eos is not None:
        found: int | None = backend.token_to_id(named.eos)
        return found
    return next((i for i, text in control_tokens(backend).items() if text == END_OF_TEXT), None)


def control_tokens(backend: Any) -> dict[int, str]:
    """Texts of the tokens that a tokenizer marks as special, by id."""
    added = backend.get_added_tokens_decoder()
    return {i: token.content for i, token in added.items() if token.special}
