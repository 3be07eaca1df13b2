"""The zoo: all mixers and hybrids of the catalogue on one small task, tuned in the same way."""

from __future__ import annotations

from torch import nn

from recollect.mixers.catalogue import MIXERS, MixerSpec, as_spec, mixer
from recollect.mixers.patterns import PATTERNS
from recollect.models.config import ModelConfig
from recollect.papers.scale import is_paper
from recollect.studies.search import BestRateSearch
from recollect.studies.shipped import register_study
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

AT_16_TOKENS = {"moba": mixer("moba", block_size=2)}
"""Mixers with options that suit the length of the zoo's task."""


@register_study("zoo")
def zoo(scale: str) -> Study:
    """MQAR with 4 pairs in 16 tokens: two layers of each mixer, one period of each hybrid.

    All mixers have the same budget, which lets gated convolutions (BaseConv, H3) leave their
    plateau too: they learn from few repeated examples, but not from new examples in every step. Few
    token ids keep the embedding table small.

    A key and its value are neighbours. Most mixers can combine neighbouring tokens; the others get
    a short convolution before them, so that the comparison is about recall. MoBA gets blocks of 2,
    since its default is full attention at 16 tokens. Hybrids are as published. Attention uses RoPE,
    except in hybrids that have no positions, and there is no warm-up, as in `zoology_figure2`.
    """
    is_paper("zoo", scale, published=False)
    return Study(
        "zoo",
        title="What every architecture of the catalogue recalls",
        tasks=[MQAR(seq_len=16, num_kv_pairs=4, vocab_size=64)],
        models=[plain_model(AT_16_TOKENS.get(name, name)) for name in (*MIXERS, *PATTERNS)],
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


def plain_model(kind: str | type[nn.Module] | MixerSpec, d_model: int = 64) -> ModelConfig:
    """Two layers of a mixer, or one period of a hybrid, in the backbone of the zoo.

    A mixer outside the catalogue gets no short convolution. A hybrid that was published without
    positions has none.
    """
    name = kind if isinstance(kind, str) else as_spec(kind).mixer
    is_bare = name in MIXERS and not MIXERS[name].looks_back
    plain = ModelConfig(mixer=kind, d_model=d_model, short_conv=3 if is_bare else 0)
    if name in PATTERNS and not PATTERNS[name].has_positions:
        return plain.replace(positions=None)
    rotates = any(spec.takes("rope") for spec in plain.mixer)
    return plain.replace(positions="rope") if rotates else plain
