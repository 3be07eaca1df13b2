"""Zoology, table 1 and its table of hybrids: how much of the gap between convolutions and attention
on real text is due to recall, and what closes it (Arora, Eyuboglu et al., 2023, arXiv 2312.04927).

The models of a group differ only in the mixer and have about the same number of parameters: smaller
mixers get a larger width, and BaseConv, the smallest, gets more layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from recollect.errors import UserError
from recollect.language.presets import (
    HEAD_WIDTH,
    PRESETS,
    Preset,
    preset_steps,
    preset_train,
)
from recollect.language.sources import STDLIB
from recollect.mixers.catalogue import MixerSpec, mixer
from recollect.models.config import ModelConfig
from recollect.papers.claims import Claim
from recollect.papers.language_claims import ATTENTION
from recollect.papers.language_parts import (
    BASE_CONV,
    GATED,
    closes,
    gap_is_hits,
    trails,
)
from recollect.papers.language_plan import LanguagePlan, Tuning
from recollect.papers.laptop import SEEDS
from recollect.papers.reproduction import (
    LanguageModels,
    PrintedModel,
    Reproduction,
    Unpublished,
    register_reproduction,
)
from recollect.papers.scale import LANGUAGE_SCALES, check_scale
from recollect.studies.search import BestRateSearch

NAME = "zoology-table1"
TITLE = "What of the gap to attention on real text is recall"
RANDOM, PROGRAMMATIC, LEARNED = "base-conv-random", "base-conv-programmatic", "base-conv-learned"
SELECTIONS = {
    RANDOM: "random",
    PROGRAMMATIC: "programmatic",
    LEARNED: "learned",
    "base-conv-attention": "all",
}
"""The selection of positions in each hybrid's attention."""
REPEATED = (ATTENTION, "hyena", BASE_CONV, PROGRAMMATIC, RANDOM)
"""Models that are trained on three seeds on a laptop; the others are trained on one."""


def plans(scale: str, text: str | None) -> tuple[LanguagePlan, ...]:
    """The groups of models at a scale.

    Args:
        scale: "laptop", "workstation" or "paper".
        text: the text; None on a laptop: the sources of Python's standard library.

    Raises:
        UserError: for an unknown scale, or if a required text is missing.
    """
    check_scale(scale, LANGUAGE_SCALES)
    if scale == "laptop":
        return (_laptop(text or STDLIB),)
    if text is None:
        raise UserError(
            f"{NAME} --scale {scale} needs --text: a long one, such as the Pile (JSON lines,"
            " Parquet, a folder of many files or datasets:NAME)"
        )
    return (_workstation(text),) if scale == "workstation" else _paper(text)


def _laptop(text: str) -> LanguagePlan:
    """The laptop's models, which learn recall from few tokens.

    Few token ids make many repetitions within 512 tokens. Every mixer has a short convolution,
    without which attention does not learn to look back from so few tokens. Batches are small,
    because that takes some hundred steps.
    """
    preset = replace(PRESETS["tiny"], tokens=10 * 10**6, batch_size=8, warmup=0.1)
    models = {
        "long-conv": _model(preset, "long-conv"),
        "hyena": _model(preset, "hyena", width=132),
        BASE_CONV: _model(preset, "base-conv", depth=4, width=114),
        # as many positions as programmatic selection: 69 % of the tokens of python-stdlib
        # occurred before in their context
        **_hybrids(preset, Hybrid(4, 104, heads=2, replaced=1, share=0.69)),
    }
    del models[LEARNED]  # from the workstation on
    plan = _plan("laptop", text, preset, models, "float32", _tuned(preset, 3 * 10**6))
    return plan.replace(seeds=SEEDS[:3], repeated=REPEATED)


def _workstation(text: str) -> LanguagePlan:
    """The preset of 70M parameters for a GPU, with shorter contexts and smaller batches than the
    paper's, and short convolutions as on a laptop."""
    preset = replace(PRESETS["70m"], context=1024, batch_size=16, tokens=200 * 10**6, short_conv=3)
    models = {
        **{name: _model(preset, name) for name in ("long-conv", "h3", "hyena", "rwkv4")},
        "mamba": _model(preset, "mamba", width=608),
        BASE_CONV: _model(preset, "base-conv", depth=11),
        **_hybrids(preset, Hybrid(11, 624, heads=13, replaced=1)),
    }
    return _plan("workstation", text, preset, models, "bfloat16", _tuned(preset, 40 * 10**6))


def _paper(text: str) -> tuple[LanguagePlan, ...]:
    """The paper's 17 models, and BaseConv with its hybrids at the published size."""
    found = []
    for size, names in (
        ("70m", ("long-conv", "h3", "hyena", "rwkv4")),
        ("150m", ("long-conv", "h3", "hyena", "rwkv4")),
        ("360m", ("long-conv", "h3", "hyena", "rwkv4")),
        ("1.4b", ("hyena",)),
    ):
        preset = PRESETS[size]
        models = {name: _model(preset, name) for name in names}
        if size == "360m":
            models[BASE_CONV] = _model(preset, "base-conv", depth=48, width=848)
            models |= _hybrids(preset, Hybrid(48, 832, heads=13, replaced=3))
        found.append(_plan(f"paper-{size}", text, preset, models, "bfloat16"))
    return tuple(found)


def _plan(
    group: str,
    text: str,
    preset: Preset,
    models: dict[str, ModelConfig],
    dtype: Literal["float32", "bfloat16"],
    tuning: Tuning | None = None,
) -> LanguagePlan:
    """A plan with attention and other models at the size of a preset."""
    attention = _model(preset, mixer("attention", n_heads=preset.d_model // HEAD_WIDTH))
    return LanguagePlan(
        name=f"{NAME}-{group}",
        title=f"{TITLE} ({group})",
        text=text,
        tokenizer=preset.vocab_size,
        context=preset.context,
        models={ATTENTION: attention, **models},
        train=preset_train(preset, dtype=dtype),
        tuning=tuning,
    )


def _tuned(preset: Preset, tokens: int) -> Tuning:
    """Search half, once and twice the preset's rate, and further while the best is at an end."""
    rate = preset.learning_rate
    search = BestRateSearch(
        low=rate / 2, high=rate * 2, per_decade=3, rungs=(), refine=0, search_seeds=0
    )
    return Tuning(search=search, steps=preset_steps(preset, tokens))


@dataclass(frozen=True)
class Hybrid:
    """BaseConv with attention in some layers.

    Attributes:
        depth: the number of layers.
        width: d_model.
        heads: the heads of attention.
        replaced: the number of layers with attention, at equal distances.
        share: the share of positions that learned and random selection take.
    """

    depth: int
    width: int
    heads: int
    replaced: int
    share: float = 256 / 2048  # learned selection in the paper


def _hybrids(preset: Preset, hybrid: Hybrid) -> dict[str, ModelConfig]:
    """One hybrid per selection. Any token may be a query, since a text has no filler."""
    places = {(2 * i + 1) * hybrid.depth // (2 * hybrid.replaced) for i in range(hybrid.replaced)}
    models = {}
    for name, selection in SELECTIONS.items():
        attention = mixer(
            "sparse-attention",
            selection=selection,
            filler=None,
            share=hybrid.share if selection in ("random", "learned") else None,
            n_heads=hybrid.heads,
        )
        layers = [attention if i in places else mixer("base-conv") for i in range(hybrid.depth)]
        models[name] = _model(preset, layers, depth=hybrid.depth, width=hybrid.width)
    return models


def _model(
    preset: Preset,
    mixers: str | MixerSpec | list[MixerSpec],
    *,
    depth: int | None = None,
    width: int | None = None,
) -> ModelConfig:
    """A model with the preset's size, unless depth or width is given."""
    return ModelConfig(
        mixer=mixers,
        d_model=width or preset.d_model,
        n_layers=depth or preset.n_layers,
        mlp="gelu",
        short_conv=preset.short_conv,
    )


PRINTED = (
    PrintedModel("attention", 125, (11.01, 2.40), (2.16, 0.77), (12.45, 2.52)),
    PrintedModel("long-conv", 128, (16.98, 2.83), (25.62, 3.24), (16.46, 2.80), 0.401),
    PrintedModel("h3", 168, (12.06, 2.49), (6.75, 1.91), (12.60, 2.53), 0.884),
    PrintedModel("hyena", 158, (11.60, 2.45), (5.00, 1.61), (12.28, 2.51), 1.0),
    PrintedModel("rwkv4", 169, (11.64, 2.45), (5.70, 1.74), (12.29, 2.51), 1.0),
    PrintedModel("attention", 360, (9.44, 2.25), (1.98, 0.69), (10.62, 2.36)),
    PrintedModel("long-conv", 360, (13.13, 2.57), (13.27, 2.59), (13.12, 2.57), 0.405),
    PrintedModel("h3", 357, (10.38, 2.34), (4.81, 1.57), (11.00, 2.40), 0.658),
    PrintedModel("hyena", 358, (10.07, 2.31), (3.83, 1.34), (10.75, 2.38), 0.982),
    PrintedModel("rwkv4", 351, (9.79, 2.28), (3.82, 1.34), (10.51, 2.35), 1.0),
    PrintedModel(BASE_CONV, 354, (11.01, 2.40), (5.98, 1.79), (11.52, 2.44)),
    PrintedModel(RANDOM, 365, (12.94, 2.56), (6.17, 1.82), (13.62, 2.61)),
    PrintedModel(PROGRAMMATIC, 365, (9.54, 2.26), (2.35, 0.86), (10.50, 2.35)),
    PrintedModel(LEARNED, 351, (9.59, 2.26), (2.61, 0.96), (10.58, 2.36)),
    PrintedModel("base-conv-attention", 351, (8.59, 2.15), (1.95, 0.67), (8.91, 2.19)),
)
"""Trained on 10B tokens of the Pile; AR hits occur at most 1,250 times in them."""

register_reproduction(
    Reproduction(
        name=NAME,
        title=TITLE,
        paper="Arora, Eyuboglu et al., 2023, arXiv 2312.04927",
        place="table 1 and the table of hybrids",
        functions=(),
        language=LanguageModels(plans, PRINTED),
        differs="Here: models of 0.6M parameters, with a short convolution before every mixer, are"
        " trained on 10M tokens of the sources of Python's standard library, with BPE of 1,024"
        " token ids and a context of 512; learning rates are chosen on 3M tokens each; attention"
        " replaces one of four BaseConv layers; random selection takes as many positions as"
        " programmatic selection, 69 %; learned selection is left out; the test part has 35"
        " documents, too few for shares of a gap of up to 80 %. Paper: 70M to 1.4B parameters, 10B"
        " to 50B tokens of the Pile, a context of 2,048; attention replaces three of 48 layers.",
        figure="perplexity",
        unpublished=(
            Unpublished("tried learning rates", "one per size, that of GPT-3 or Pythia"),
            Unpublished(
                "depth and width of the models, backbone of BaseConv's 48 mixers",
                "those of presets with as many parameters, an MLP after each mixer",
            ),
            Unpublished("which of the 48 mixers are attention", "three at equal distances"),
            Unpublished(
                "share of the positions of the random control",
                "that of learned selection, 256 of 2,048",
            ),
        ),
        claims=(
            Claim(
                "convolutions-trail-on-hits",
                "Gated convolutions trail attention on AR hits.",
                "table 1",
                (trails(*GATED, on_hits=True),),
            ),
            Claim(
                "gap-is-hits",
                "Most of the gap between gated convolutions and attention, on average 82 %, is AR"
                " hits.",
                "table 1",
                (trails(*GATED, on_hits=False), gap_is_hits(*GATED)),
            ),
            Claim(
                "programmatic-closes",
                "Attention at programmatically selected positions closes most of BaseConv's gap on"
                " AR hits (at 360M about 85 %).",
                "section 5 and the table of hybrids",
                (trails(BASE_CONV, on_hits=True), closes(PROGRAMMATIC, most=True)),
            ),
            Claim(
                "learned-closes",
                "So does attention at positions that are selected by learning (75 % by the"
                " printed numbers).",
                "section 5 and the table of hybrids",
                (trails(BASE_CONV, on_hits=True), closes(LEARNED, most=True)),
            ),
            Claim(
                "random-does-not",
                "Attention at random positions does not.",
                "section 5 and the table of hybrids",
                (trails(BASE_CONV, on_hits=True), closes(RANDOM, most=False)),
            ),
        ),
    )
)
