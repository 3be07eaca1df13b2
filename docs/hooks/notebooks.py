"""Pages that are notebooks: the build runs their Python blocks and shows what they print.

A page whose front matter says `notebook: true` is run from top to bottom in one kernel, in an empty
folder. An error ends the build. The notebook with its outputs lies beside the page in the site.
"""

from __future__ import annotations

import html
import os
import re
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
SECONDS = 300
"""What one cell may take."""


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """The page with the outputs below its blocks; writes the notebook to the site."""
    if not page.meta.get("notebook"):
        return markdown
    notebook = _executed(markdown)
    path = Path(config.site_dir, page.file.dest_uri).with_suffix(".ipynb")
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    shown = "\n\n".join(map(_as_markdown, notebook.cells))
    return f'{shown}\n\n<a href="{path.name}" download>This page as a notebook</a>\n'


@cache  # `make docs-serve` builds all pages again when one is edited
def _executed(markdown: str) -> NotebookNode:
    new = nbformat.v4
    parts = BLOCK.split(markdown)
    cells = [
        (new.new_code_cell if i % 2 else new.new_markdown_cell)(part.strip())
        for i, part in enumerate(parts)
        if part.strip()
    ]
    notebook = new.new_notebook(cells=cells)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "COLUMNS": "100"}
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env=environment)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # progress bars and warnings are left out
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    return notebook


def _as_markdown(cell: NotebookNode) -> str:
    if cell.cell_type == "markdown":
        return cell.source
    return "\n\n".join([f"```python\n{cell.source}\n```", *map(_output, cell.outputs)])


def _output(output: NotebookNode) -> str:
    if output.output_type == "stream":
        return _text(output.text)
    data = output.data
    if "image/png" in data:
        return f"![What the cell draws](data:image/png;base64,{data['image/png'].strip()})"
    if "text/html" in data:
        lines = "".join(data["text/html"].splitlines())
        return f'<div class="output">{lines}</div>'
    return _text(data["text/plain"])


def _text(text: str) -> str:
    plain = html.escape(COLOURS.sub("", text).rstrip(), quote=False)
    return f'<pre class="output">{plain}</pre>' if plain else ""
