"""`recollect sample`: generate text with a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recollect.cli.option_names import as_typed
from recollect.cli.output import Json, print_json
from recollect.errors import UserError

TOKENS = 100
OPTIONS = {"tokens": "--tokens", "temperature": "--temperature"}


def sample(
    folder: Annotated[Path, typer.Argument(help="A model folder written by `recollect train-lm`.")],
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="The text to continue.")],
    tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Tokens to generate; default: 100, or fewer if the model's context is shorter.",
        ),
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="T",
            help="Sampling temperature; 0: always the most likely token.",
        ),
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling.")] = 0,
    as_json: Json = False,
) -> None:
    """Print a language model's continuation of a prompt."""
    from recollect.cli.find import import_from_here
    from recollect.language.model_folder import is_model_folder, load_model, read_shape
    from recollect.language.tokenizer_files import load_tokenizer
    from recollect.language.training_folder import check_finished
    from recollect.language.write import write

    check_finished(folder)
    if not is_model_folder(folder):
        raise UserError(f"{folder} has no model: expected a folder written by `recollect train-lm`")
    import_from_here()
    model, tokenizer = load_model(folder), load_tokenizer(str(folder))
    (given,) = tokenizer.encode([prompt])
    read = [*read_shape(folder).begins_with, *given]
    count = tokens or max(1, min(TOKENS, model.max_len - len(read)))
    with as_typed(OPTIONS):
        written = list(write(model, read, count, temperature=temperature, seed=seed))
    text = tokenizer.decode([*given, *written])
    if as_json:
        print_json({"prompt": prompt, "tokens": written, "text": text})
    else:
        typer.echo(text)
