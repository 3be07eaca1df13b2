"""A table of text in GitHub's Markdown, in HTML and in LaTeX."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

Rows = list[list[str]]
Table = tuple[list[str], Rows]
"""Headings and rows."""


def in_markdown(headings: Sequence[str], rows: Rows) -> str:
    """A table in GitHub's Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(map(_in_markdown, line))} |\n" for line in lines)


def _in_markdown(text: str) -> str:
    return re.sub(r"([|*_<\\])", r"\\\1", text)


def unmarked(text: str) -> str:
    """A text in Markdown as plain text: no marks of emphasis, and code in quotation marks."""
    return re.sub("`([^`]+)`", r"“\1”", text).replace("*", "")


def in_html(headings: Sequence[str], rows: Rows) -> str:
    """A table as HTML for a notebook."""
    head, *body = (
        "".join(f'<{tag} style="text-align: left">{html.escape(text)}</{tag}>' for text in line)
        for tag, line in [("th", headings), *(("td", row) for row in rows)]
    )
    lines = "".join(f"<tr>{line}</tr>" for line in body)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def in_latex(headings: Sequence[str], rows: Rows, *, caption: str, label: str) -> str:
    """A table as a LaTeX `table` with booktabs rules, words aligned left and numbers right.

    A label cannot be escaped, so each other character than a letter, a digit and `. : _ -` becomes
    a `-` in it.
    """
    name = re.sub(r"[^\w.:-]", "-", label)
    numeric = [all(row[i][:1] in "0123456789->" for row in rows) for i in range(len(headings))]
    lines = [" & ".join(map(_escape, row)) + r" \\" for row in (headings, *rows)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escape(caption)}}}",
            *([rf"\label{{tab:{name}}}"] if label else []),
            rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in numeric)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


ESCAPES = {character: rf"\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
}


def _escape(text: str) -> str:
    escaped = "".join(ESCAPES.get(character, character) for character in text)
    return escaped.replace(r"\textgreater{}=", r"$\geq$")
