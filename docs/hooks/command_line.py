"""The reference of the command line: every command, argument and option of `recollect`."""

from __future__ import annotations

from typing import Any

from typer.main import get_command

from recollect.cli.main import app

PLACE = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts the commands where a page asks for them."""
    if PLACE not in markdown:
        return markdown
    commands = get_command(app).commands  # type: ignore[attr-defined]
    return markdown.replace(PLACE, "\n\n".join(map(_section, commands.values())))


def _section(command: Any) -> str:
    parts = [f"## recollect {command.name}", command.help or ""]
    context = command.make_context(command.name, [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    parts.append(f"```\nrecollect {command.name} {usage}\n```")
    rows = [_row(each, context) for each in command.get_params(context)]
    rows = [row for row in rows if row]
    if rows:
        parts.append("\n".join(["| option | meaning |", "| --- | --- |", *rows]))
    return "\n\n".join(parts)


def _row(parameter: Any, context: Any) -> str:
    record = parameter.get_help_record(context)
    if record is None:
        return ""
    name, meaning = (part.replace("|", "\\|").replace("\n", " ") for part in record)
    return f"| `{name}` | {meaning} |"
