"""Presets: sizes of language models with training settings, after GPT's recipe.

The names of the four scales of Zoology (arXiv 2312.04927) are the parameters of an attention model
with GPT-2's 50,257 tokens; other mixers give other numbers at the same width and depth. Optimiser
settings and learning rates of the large presets are GPT-3's (arXiv 2005.14165) and, at the smallest
scale, Pythia's (arXiv 2304.01373).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from recollect.errors import UserError
from recollect.language.text_task import Text
from recollect.mixers.catalogue import MixerSpec
from recollect.models.config import ModelConfig
from recollect.training.config import Seeds, TrainConfig, TrialConfig

HEAD_WIDTH = 64
"""Default width of a mixer's heads."""
VALIDATIONS = 20
"""Default number of validations in a training."""


@dataclass(frozen=True)
class Preset:
    """A model size and its training settings.

    Attributes:
        d_model: width.
        n_layers: depth.
        vocab_size: number of token ids of a tokenizer trained on the text.
        context: tokens that the model reads at a time.
        batch_size: windows per step, over all processes.
        tokens: number of training tokens.
        learning_rate: the peak of the schedule.
        warmup: fraction of the steps during which the rate rises.
        short_conv: width of a short convolution before every mixer; 0: none.
        valid_examples: number of validation windows.
    """

    d_model: int
    n_layers: int
    vocab_size: int
    context: int
    batch_size: int
    tokens: int
    learning_rate: float
    warmup: float = 0.02
    short_conv: int = 0
    valid_examples: int = 128


_LARGE = Preset(
    d_model=640,
    n_layers=8,
    vocab_size=50257,
    context=2048,
    batch_size=256,
    tokens=10 * 10**9,
    learning_rate=1e-3,
)
PRESETS = {
    "tiny": Preset(
        d_model=128,
        n_layers=2,
        vocab_size=1024,
        context=512,
        batch_size=16,
        tokens=8 * 10**6,
        learning_rate=4e-3,
        short_conv=3,
    ),
    "small": Preset(
        d_model=256,
        n_layers=4,
        vocab_size=4096,
        context=512,
        batch_size=32,
        tokens=50 * 10**6,
        learning_rate=2e-3,
        short_conv=3,
    ),
    "70m": _LARGE,
    "150m": replace(_LARGE, d_model=768, n_layers=16, learning_rate=6e-4),
    "360m": replace(_LARGE, d_model=1024, n_layers=24, learning_rate=3e-4),
    "1.4b": replace(
        _LARGE,
        d_model=2048,
        n_layers=26,
        batch_size=512,
        tokens=50 * 10**9,
        learning_rate=2e-4,
    ),
}


def preset_model(preset: Preset, mixer: Any = "attention", heads: int | None = None) -> ModelConfig:
    """Make the model config of a preset.

    Args:
        preset: the preset.
        mixer: as in `ModelConfig`.
        heads: number of heads of all mixers that have the option `n_heads`; None: heads of
            `HEAD_WIDTH` for mixers whose default is one head, and the others keep theirs.

    Raises:
        UserError: if the mixer is unknown, or does not fit the size, or if `heads` is given and no
            mixer has heads or one was given another number of them.
    """
    model = ModelConfig(
        mixer=mixer,
        d_model=preset.d_model,
        n_layers=preset.n_layers,
        mlp="gelu",
        short_conv=preset.short_conv,
    )
    if heads is None:
        mixers = [_with_default_heads(spec, preset.d_model) for spec in model.mixer]
    else:
        mixers = [_with_heads(spec, heads) for spec in model.mixer]
        if not any("n_heads" in spec.options for spec in mixers):
            raise UserError(f"n_heads={heads}: {model.label} has no heads; leave it out")
    return model.replace(mixer=mixers)


def preset_train(
    preset: Preset,
    *,
    eval_every: int | None = None,
    dtype: Literal["float32", "float64", "bfloat16"] = "float32",
) -> TrainConfig:
    """Make the training config of a preset.

    Args:
        preset: the preset.
        eval_every: steps between validations; None: a twentieth of all steps.
        dtype: as in `TrainConfig`.

    Raises:
        UserError: for invalid values.
    """
    if preset.tokens < 1:
        raise UserError(f"tokens={preset.tokens}: expected at least 1")
    steps = preset_steps(preset, preset.tokens)
    return TrainConfig(
        learning_rate=preset.learning_rate,
        steps=steps,
        batch_size=preset.batch_size,
        warmup=preset.warmup,
        betas=(0.9, 0.95),
        grad_clip=1.0,
        valid_examples=preset.valid_examples,
        eval_every=math.ceil(steps / VALIDATIONS) if eval_every is None else eval_every,
        stop_accuracy=None,
        dtype=dtype,
    )


def preset_steps(preset: Preset, tokens: int) -> int:
    """Number of steps in which a preset reads at least `tokens` tokens."""
    return math.ceil(tokens / (preset.batch_size * preset.context))


def preset_trial(
    preset: Preset,
    model: ModelConfig,
    *,
    text: str,
    tokenizer: str | int | None = None,
    end_of_text: bool = True,
    eval_every: int | None = None,
    dtype: Literal["float32", "float64", "bfloat16"] = "float32",
    seed: int = 42,
) -> TrialConfig:
    """Make the trial that trains a model.

    Args:
        preset: the training settings.
        model: the model.
        text: the text (`sources.open_corpus`).
        tokenizer: as in `Text`; None: the preset's vocabulary size.
        end_of_text: whether a token ends each document.
        eval_every: steps between validations; None: a twentieth of all steps.
        dtype: as in `TrainConfig`.
        seed: of windows and initial weights.

    Raises:
        UserError: for invalid values.
    """
    task = Text(
        text=text,
        tokenizer=preset.vocab_size if tokenizer is None else tokenizer,
        seq_len=preset.context,
        end_of_text=end_of_text,
    )
    return TrialConfig(
        task=task,
        model=model,
        train=preset_train(preset, eval_every=eval_every, dtype=dtype),
        seeds=Seeds.of(seed),
    )


def _with_default_heads(spec: MixerSpec, width: int) -> MixerSpec:
    """Set heads of `HEAD_WIDTH` for a mixer whose default is one head, if no number was given."""
    if spec.options.get("n_heads") != 1 or "n_heads" in spec.changed_options:
        return spec
    return spec.replace(options={**spec.options, "n_heads": max(1, width // HEAD_WIDTH)})


def _with_heads(spec: MixerSpec, heads: int) -> MixerSpec:
    """Set the number of heads of a mixer that has the option.

    Raises:
        UserError: if another number was given with the mixer.
    """
    if "n_heads" not in spec.options:
        return spec
    given = spec.changed_options.get("n_heads", heads)
    if given != heads:
        raise UserError(
            f"n_heads={heads}: the mixer {spec.mixer} was given another number of heads, {given};"
            " leave one of them out"
        )
    return spec.replace(options={**spec.options, "n_heads": heads})
