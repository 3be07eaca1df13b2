"""Sizes of language models with the settings they are trained by: the recipe of GPT.

The paper's four scales (Zoology, arXiv 2312.04927) count the parameters of a model of attention
with GPT-2's 50,257 tokens; with other mixers the same width and depth give other numbers. What is
optimised how, and the rates of the large ones, are GPT-3's (arXiv 2005.14165) and, at the smallest
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
"""Of the heads that a mixer has, if nothing else is asked."""
VALIDATIONS = 20
"""In the course of a training, if nothing else is asked."""


@dataclass(frozen=True)
class Preset:
    """A model, and how it is trained.

    Attributes:
        d_model: width.
        n_layers: depth.
        vocab_size: token ids of a tokenizer that is learnt from the text.
        context: tokens that the model reads at a time.
        batch_size: windows of so many tokens in a step, over all processes.
        tokens: the budget.
        learning_rate: the peak of the schedule.
        warmup: share of the steps in which the rate rises.
        short_conv: width of a short convolution before every mixer; 0: none.
        valid_examples: windows of the validation text.
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
    """The model of a preset.

    Args:
        preset: its size.
        mixer: whatever `ModelConfig` takes.
        heads: of every mixer that has heads, and one of them if its options say nothing; those of
            `HEAD_WIDTH` if not given.

    Raises:
        UserError: if the mixer is unknown, or does not fit the size.
    """
    model = ModelConfig(
        mixer=mixer,
        d_model=preset.d_model,
        n_layers=preset.n_layers,
        mlp="gelu",
        short_conv=preset.short_conv,
    )
    count = heads or max(1, preset.d_model // HEAD_WIDTH)
    headed: ModelConfig = model.replace(mixer=[_with_heads(spec, count) for spec in model.mixer])
    return headed


def preset_train(
    preset: Preset,
    *,
    eval_every: int | None = None,
    dtype: Literal["float32", "float64", "bfloat16"] = "float32",
) -> TrainConfig:
    """How a preset is trained.

    Args:
        preset: its size and budget.
        eval_every: steps between validations; a twentieth of all if not given.
        dtype: as `TrainConfig` takes it.

    Raises:
        UserError: for values that make no sense.
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
        eval_every=eval_every or math.ceil(steps / VALIDATIONS),
        stop_accuracy=None,
        dtype=dtype,
    )


def preset_steps(preset: Preset, tokens: int) -> int:
    """In how many steps a preset reads so many tokens, or a few more."""
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
    """The training of a model as a trial.

    Args:
        preset: how it is trained.
        model: what is trained.
        text: on what (`sources.open_corpus`).
        tokenizer: as `Text` takes it; the preset's size if not given.
        end_of_text: whether a token ends each document.
        eval_every: steps between validations; a twentieth of all if not given.
        dtype: as `TrainConfig` takes it.
        seed: of windows and initial weights.

    Raises:
        UserError: for values that make no sense.
    """
    task = Text(
        text=text,
        tokenizer=tokenizer or preset.vocab_size,
        seq_len=preset.context,
        end_of_text=end_of_text,
    )
    return TrialConfig(
        task=task,
        model=model,
        train=preset_train(preset, eval_every=eval_every, dtype=dtype),
        seeds=Seeds.of(seed),
    )


def _with_heads(spec: MixerSpec, heads: int) -> MixerSpec:
    """A mixer with so many heads where it would have one."""
    if spec.options.get("n_heads") != 1:
        return spec
    return MixerSpec(mixer=spec.mixer, options={**spec.options, "n_heads": heads})
