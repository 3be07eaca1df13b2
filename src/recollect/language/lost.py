"""Features of a text that a tokenizer loses, such as spaces or capital letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recollect.errors import UserError
from recollect.language.tokenizer import Cut, Tokenizer

CHANGES: dict[str, Callable[[str], str]] = {
    "line ends": lambda text: text.replace("\n", " "),
    "spaces": lambda text: text.replace(" ", ""),
    "capital letters": str.lower,
}
"""Features that may be lost; then the text without the feature has the same tokens."""
SHOWN = 5


def lost_in(tokenizer: Tokenizer, text: str) -> list[str]:
    """Features of a text that its tokens do not preserve, such as "line ends"; usually none.

    Args:
        tokenizer: the tokenizer.
        text: only features that it has are checked.
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


def check_spelled(tokenizer: Tokenizer, tokens: Sequence[int], word: str) -> None:
    """Refuse tokens that do not spell a word, whatever its case and punctuation.

    Some tokenizers leave out characters that they do not know and then misplace all later ones.

    Raises:
        UserError: if they do not.
    """
    spelled = "".join(tokenizer.spelled(tokens))
    if _letters(word) not in _letters(spelled):
        raise UserError(
            f"the tokenizer places the tokens {spelled!r} where a prompt has the answer {word!r}:"
            " it may leave out characters of the prompt without a trace; leave out this task"
        )


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


def _not_read(tokenizer: Tokenizer, cut: Cut, text: str) -> list[str]:
    """Characters that become no token or part of an unknown token, each once."""
    visible = [character for character in dict.fromkeys(text) if not character.isspace()]
    tokens = tokenizer.encode(visible)
    nothing = [each for each, found in zip(visible, tokens, strict=True) if not found]
    unknown = [
        text[first:last]
        for token, (first, last) in zip(cut.tokens, cut.spans, strict=True)
        if token == tokenizer.unknown
    ]
    return [*dict.fromkeys([*nothing, *"".join(unknown)])]
