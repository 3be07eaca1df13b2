"""What a tokenizer loses of a text, so that its model cannot read the text as it is written."""

from __future__ import annotations

from collections.abc import Callable

from recollect.language.tokenizer import Cut, Tokenizer

CHANGES: dict[str, Callable[[str], str]] = {
    "line ends": lambda text: text.replace("\n", " "),
    "spaces": lambda text: text.replace(" ", ""),
    "capital letters": str.lower,
}
"""What may be lost: another text without it has the same tokens then."""
SHOWN = 5


def lost_in(tokenizer: Tokenizer, text: str) -> list[str]:
    """What the tokens of a text do not tell, such as "line ends"; nothing as a rule.

    Args:
        tokenizer: cuts the text.
        text: of what it does not have, such as capital letters, nothing is told.
    """
    (cut,) = tokenizer.cut([text])
    lost = [
        name
        for name, change in CHANGES.items()
        if (without := change(text)) != text and tokenizer.encode([without]) == [cut.tokens]
    ]
    unknown = _not_read(tokenizer, cut, text)
    if unknown:
        more = ", ..." if len(unknown) > SHOWN else ""
        lost.append(f"characters ({', '.join(map(repr, unknown[:SHOWN]))}{more})")
    return lost


def _not_read(tokenizer: Tokenizer, cut: Cut, text: str) -> list[str]:
    """The characters, each once, that become nothing or a part of an unknown token."""
    visible = [character for character in dict.fromkeys(text) if not character.isspace()]
    tokens = tokenizer.encode(visible)
    nothing = [each for each, found in zip(visible, tokens, strict=True) if not found]
    unknown = [
        text[first:last]
        for token, (first, last) in zip(cut.tokens, cut.spans, strict=True)
        if token == tokenizer.unknown
    ]
    return [*dict.fromkeys([*nothing, *"".join(unknown)])]
