"""`recollect train-lm`: train a language model on a text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    "use another folder": "use another --out",
}
"""Options by the names that error messages use."""
INSTEAD = {
    "train.batch_size": ("--batch", "the number of steps"),
    "model.d_model": ("--width", "the number of heads"),
    "model.mixer": ("--mixer", "the number of heads"),
}
"""Settings on which others depend: the option that sets them, and what it sets with them."""
MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


def amount(text: str) -> int:
    """Parse a number of tokens: 5000000, 5M or 0.5B.

    Raises:
        typer.BadParameter: for anything else.
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
            help="JSON lines, Parquet, a folder of many files, datasets:NAME or python-stdlib. A"
            " hash of each document assigns it to train, valid or test.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder of the store results.db and the trained model."),
    ],
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="tiny, small, 70m, 150m, 360m or 1.4b.")
    ] = "tiny",
    mixer: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A mixer, mixer(option=value,...), file.py:Class or layer pattern; several,"
            " separated by commas, alternate over the layers.",
        ),
    ] = "attention",
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="N|NAME",
            help="Vocabulary size of a tokenizer to train on the text, or an existing tokenizer: a"
            " file, a folder, or a name on the hub.",
        ),
    ] = None,
    end_of_text: Annotated[
        bool,
        typer.Option(
            help="Put the tokenizer's end-of-text token after each document, or join documents"
            " directly."
        ),
    ] = True,
    tokens: Annotated[
        int | None, typer.Option(metavar="N", parser=amount, help="Training tokens, such as 5M.")
    ] = None,
    context: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Tokens that the model reads at a time.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Sequences per step, over all processes."),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Sequences that each process holds in memory at a time; gradients are"
            " accumulated.",
        ),
    ] = None,
    layers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Number of layers.")
    ] = None,
    width: Annotated[int | None, typer.Option(metavar="N", min=1, help="Width (d_model).")] = None,
    heads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Heads of the mixers that have them; default: heads of width 64 for a mixer whose"
            " default is one head, else the mixer's default. One head of such a mixer: --heads 1.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="Peak learning rate.")
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Steps between validations.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a value of model or train, such as train.warmup=0.1.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the data order and the initial weights.")
    ] = 42,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda", help="Where to train; a GPU uses bf16.")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Train a language model, or resume a stopped training.

    The preset gives all other settings. On several GPUs: torchrun --nproc-per-node 8 -m
    recollect.cli train-lm ... Tokens and counts are cached in $RECOLLECT_TEXT, or recollect-text.
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
    given = {
        "train.steps": tokens,
        "train.learning_rate": learning_rate,
        "train.eval_every": eval_every,
        "model.n_layers": layers,
    }
    for setting in settings or []:
        _check_setting(setting, {key for key, value in given.items() if value is not None})
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
        config = _override(config, settings or [])
        assert isinstance(config.task, Text)
        if is_first():
            print_reading(config.task.data.corpus)
        rows = at_once or max(1, TOKENS_AT_ONCE // size.context)
        with watching(config) as watch:
            log = train_language_model(config, out, rows=rows, device=device, watch=watch)
    if is_first():
        _print(log[-1], text, out, as_json)


def _preset(name: str, **asked: Any) -> Preset:
    """A preset, with the given values in place of its own."""
    from recollect.language.presets import PRESETS

    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return replace(PRESETS[name], **{k: v for k, v in asked.items() if v is not None})


def _mixers(text: str) -> Any:
    """Parse mixers for `ModelConfig`."""
    from recollect.cli.find import parse_mixer

    found = [parse_mixer(part) for part in names(text)]
    return found[0] if len(found) == 1 else found


def _check_setting(setting: str, given: Collection[str]) -> None:
    """Refuse a setting that an option also sets, or on which others depend.

    Args:
        setting: as typed after `--set`.
        given: keys that options set.
    """
    key = setting.partition("=")[0].strip()
    if key in INSTEAD:
        option, dependent = INSTEAD[key]
        raise UserError(f"--set {setting}: use {option}, which also sets {dependent}")
    if key in given:
        raise UserError(f"--set {setting}: another option also sets {key}; leave one of them out")


def _override(config: TrialConfig, settings: Sequence[str]) -> TrialConfig:
    """Change settings of a config; of several values of a key the last counts."""
    from recollect.studies.narrow import in_any_order, parse_setting

    by_key = dict(map(parse_setting, settings))
    for group in (key.partition(".")[0] for key in by_key):
        if group not in ("model", "train"):
            raise unknown("part of a setting", group, ("model", "train"))
    return in_any_order(config, by_key.items(), lambda config, item: config.replace_at(*item))


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
