"""`recollect train-lm`: train a language model on a text."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.option_names import as_typed
from recollect.cli.output import Json, console, names, print_json, print_reading
from recollect.errors import UserError, unknown

if TYPE_CHECKING:
    from recollect.language.presets import Preset
    from recollect.language.validation import Validated
    from recollect.training.config import TrialConfig

OPTIONS = {
    "seq_len": "--context",
    "vocab_size": "--tokenizer",
    "end_of_text=False": "--no-end-of-text",
    "tokens": "--tokens",
    "batch_size": "--batch",
    "d_model": "--width",
    "n_layers": "--layers",
    "n_heads": "--heads",
    "learning_rate": "--learning-rate",
    "eval_every": "--eval-every",
    "task.text": "--text",
    "another content of the text": "another content of --text",
    "task.tokenizer": "--tokenizer",
    "other tokens": "other tokens of --tokenizer",
    "task.seq_len": "--context",
    "task.end_of_text=True in place of None": "--end-of-text in place of --no-end-of-text",
    "task.end_of_text=None in place of True": "--no-end-of-text in place of --end-of-text",
    "train.steps": "steps, from --tokens,",
    "train.batch_size": "--batch",
    "train.learning_rate": "--learning-rate",
    "train.eval_every": "--eval-every",
    "train.dtype": "dtype, from --device,",
    "model.d_model": "--width",
    "model.n_layers": "--layers",
    "model.mixer": "--mixer",
    "model.mixer.options.n_heads": "--heads",
    "seeds.init": "--seed",
    "take another folder": "another --out",
}
"""By the names that messages have for them."""
MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


def amount(text: str) -> int:
    """A number of tokens: 5000000, 5M or 0.5B.

    Raises:
        typer.BadParameter: for anything else; it names the option.
    """
    digits, letter = (text[:-1], text[-1:]) if text[-1:].isalpha() else (text, "")
    try:
        return round(float(digits) * MULTIPLES[letter.lower()])
    except (ValueError, KeyError, OverflowError):
        raise typer.BadParameter(f"{text!r}, expected a number such as 5000000, 5M or 2B") from None


def train_lm(
    text: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="JSON lines, Parquet, a folder of many files, datasets:NAME or python-stdlib; a"
            " hash of each document puts it into train, valid or test.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Holds the store results.db, and the model at last.")
    ],
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="tiny, small, 70m, 150m, 360m or 1.4b.")
    ] = "tiny",
    mixer: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A mixer, mixer(option=value,...), file.py:Class or layer pattern; several"
            " separated by commas take turns.",
        ),
    ] = "attention",
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="N|NAME",
            help="How many token ids to learn from the text, or a tokenizer that is there: a"
            " file, a folder, a name on the hub.",
        ),
    ] = None,
    end_of_text: Annotated[
        bool,
        typer.Option(
            help="Put the tokenizer's end-of-text token behind each document, or join documents"
            " with nothing between."
        ),
    ] = True,
    tokens: Annotated[
        int | None, typer.Option(metavar="N", parser=amount, help="The budget, such as 5M.")
    ] = None,
    context: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Tokens that the model reads at a time.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Windows in a step, over all processes."),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Windows that memory holds at a time in each process; gradients are added up.",
        ),
    ] = None,
    layers: Annotated[int | None, typer.Option(metavar="N", min=1, help="Depth.")] = None,
    width: Annotated[int | None, typer.Option(metavar="N", min=1, help="d_model.")] = None,
    heads: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Of mixers that have heads; of width 64 if left out."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="The peak of the schedule.")
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Steps from a validation to the next.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any setting of model or train: train.warmup=0.1."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of windows and initial weights.")] = 42,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Where it is trained; in bf16 on a GPU.")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Train a language model, or go on where it was stopped.

    The rest of the recipe is the preset's. On several GPUs: torchrun --nproc-per-node 8 -m
    recollect.cli train-lm ... Tokens and counts are kept in $RECOLLECT_TEXT, or recollect-text.
    """
    from recollect.cli.train_progress import watching
    from recollect.files import check_folder
    from recollect.language.kept import kept_folder
    from recollect.language.presets import preset_model, preset_trial
    from recollect.language.text_task import Text
    from recollect.language.train import TOKENS_AT_ONCE, train_language_model
    from recollect.training.device import resolve_device
    from recollect.training.ranks import is_first

    size = _preset(
        preset,
        tokens=tokens,
        context=context,
        batch_size=batch,
        n_layers=layers,
        d_model=width,
        learning_rate=learning_rate,
    )
    for folder in (out, kept_folder()):
        check_folder(folder)
    with as_typed(OPTIONS):
        model = preset_model(size, _mixers(mixer), heads)
        with console(stderr=True).status("opening the text", spinner="line"):
            config = preset_trial(
                size,
                model,
                text=text,
                tokenizer=int(tokenizer) if tokenizer and tokenizer.isdecimal() else tokenizer,
                end_of_text=end_of_text,
                eval_every=eval_every,
                dtype="bfloat16" if resolve_device(device).type == "cuda" else "float32",
                seed=seed,
            )
        given = {
            "train.steps": tokens,
            "train.batch_size": batch,
            "train.learning_rate": learning_rate,
            "train.eval_every": eval_every,
            "model.n_layers": layers,
            "model.d_model": width,
        }
        for setting in settings or []:
            _refuse_twice(setting, {key for key, value in given.items() if value is not None})
            config = _set(config, setting)
        assert isinstance(config.task, Text)
        if is_first():
            print_reading(config.task.data.corpus)
        rows = at_once or max(1, TOKENS_AT_ONCE // size.context)
        with watching(config) as watch:
            log = train_language_model(config, out, rows=rows, device=device, watch=watch)
    if is_first():
        _print(log[-1], text, out, as_json)


def _preset(name: str, **asked: Any) -> Preset:
    """A preset with what was asked in place of its own values."""
    from recollect.language.presets import PRESETS

    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return replace(PRESETS[name], **{k: v for k, v in asked.items() if v is not None})


def _mixers(text: str) -> Any:
    """What is typed, as `ModelConfig` takes it."""
    from recollect.cli.find import parse_mixer

    found = [parse_mixer(part) for part in names(text)]
    return found[0] if len(found) == 1 else found


def _refuse_twice(setting: str, given: Collection[str]) -> None:
    """Refuse a setting that an option gives too."""
    key = setting.partition("=")[0].strip()
    if key in given:
        raise UserError(f"--set {setting}: another option gives {key} too; leave one of them out")


def _set(config: TrialConfig, setting: str) -> TrialConfig:
    """A config with one of its settings changed."""
    from recollect.studies.narrow import parse_setting

    key, value = parse_setting(setting)
    group = key.partition(".")[0]
    if group not in ("model", "train"):
        raise unknown("part of a setting", group, ("model", "train"))
    changed: TrialConfig = config.replace_at(key, value)
    return changed


def _print(last: Validated, text: str, folder: Path, as_json: bool) -> None:
    from recollect.cli.train_progress import validated_text
    from recollect.language.training_folder import STORE_FILE

    if as_json:
        print_json(asdict(last))
        return
    out = console()
    out.print(f"{folder}: {validated_text(last)}", markup=False, soft_wrap=True)
    for line in (
        f"recollect show --store {folder / STORE_FILE} --trials",
        f"recollect sample {folder} --prompt ...",
        f"recollect slice --text {text}@test --train-text {text}@train --model {folder}",
    ):
        out.print(line, style="dim", markup=False)
