"""The zoo: all mixers and hybrids of the catalogue on one small task, tuned in the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from recollect.mixers.catalogue import MIXERS, MixerSpec, as_spec
from recollect.mixers.patterns import PATTERNS, pattern_name
from recollect.models.config import ModelConfig
from recollect.papers.scale import is_paper
from recollect.studies.search import BestRateSearch
from recollect.studies.shipped import register_study
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

AT_16_TOKENS: Mapping[str, Mapping[str, Any]] = {
    # by default full attention up to 24 tokens
    "moba": {"block_size": 2},
    # by default full attention up to 64 tokens; a pair fits into 4, two layers reach 6 back
    "sliding-window": {"window": 4},
    # by default all gradients in 16 tokens are taken at the initial weights
    "ttt-linear": {"mini_batch": 4},
}
"""Options that suit the length of the zoo's task, of mixers that are another architecture with
their defaults there. They hold in hybrids too."""


@register_study("zoo")
def zoo(scale: str) -> Study:
    """MQAR with 4 pairs in 16 tokens: two layers of each mixer, one period of each hybrid.

    All mixers have the same budget, which lets gated convolutions (BaseConv, H3) leave their
    plateau too: they learn from few repeated examples, but not from new examples in every step. Few
    token ids keep the embedding table small.

    A key and its value are neighbours. Most mixers can combine neighbouring tokens; the others get
    a short convolution before them, so that the comparison is about recall. Options that would make
    a mixer another architecture at 16 tokens, such as a window of 64, are smaller (`AT_16_TOKENS`);
    hybrids are as published but for these. Attention uses RoPE, except in hybrids that have no
    positions, and there is no warm-up, as in `zoology_figure2`.
    """
    is_paper("zoo", scale, published=False)
    return Study(
        "zoo",
        title="What every architecture of the catalogue recalls",
        tasks=[MQAR(seq_len=16, num_kv_pairs=4, vocab_size=64)],
        models=[plain_model(_at_16_tokens(name)) for name in (*MIXERS, *PATTERNS)],
        train=TrainConfig(
            steps=4000,
            batch_size=64,
            train_examples=8000,
            warmup=0.0,
            eval_every=100,
            valid_examples=500,
            stop_accuracy=0.992,  # above 0.99, so that the test result reaches 0.99 too
        ),
        search=BestRateSearch(low=1e-4, high=1e-1, refine=0),
        seeds=(42, 123, 777),
    )


def _at_16_tokens(name: str) -> tuple[MixerSpec, ...]:
    """The layers of a mixer or a hybrid, with options for the zoo's task."""
    layers = PATTERNS[name].layers if name in PATTERNS else (as_spec(name),)
    return tuple(
        each.replace(options={**each.options, **AT_16_TOKENS.get(each.mixer, {})})
        for each in layers
    )


def plain_model(
    kind: str | type[nn.Module] | MixerSpec | Sequence[MixerSpec], d_model: int = 64
) -> ModelConfig:
    """Two layers of a mixer, or one period of a hybrid, in the backbone of the zoo.

    A mixer outside the catalogue gets no short convolution. A hybrid that was published without
    positions has none.
    """
    plain = ModelConfig(mixer=kind, d_model=d_model)
    names = [spec.mixer for spec in plain.mixer]
    if len(names) == 1 and names[0] in MIXERS and not MIXERS[names[0]].looks_back:
        plain = plain.replace(short_conv=3)
    hybrid = pattern_name(plain.mixer)
    if hybrid is not None and not PATTERNS[hybrid.partition("(")[0]].has_positions:
        return plain.replace(positions=None)
    rotates = any(spec.takes("rope") for spec in plain.mixer)
    return plain.replace(positions="rope") if rotates else plain
