"""Zoology's table 1: what is trained at each scale, and its claims judged on made-up results."""

import math
from functools import cache

import numpy as np
import pandas as pd
import pytest
from torch._subclasses.fake_tensor import FakeTensorMode

from recollect.errors import UserError
from recollect.language.document_sums import DocumentSums
from recollect.language.presets import PRESETS
from recollect.models.language_model import LanguageModel
from recollect.papers.claims import Finding
from recollect.papers.language_plan import LanguagePlan
from recollect.papers.language_results import LanguageResults
from recollect.papers.reproduction import REPRODUCTIONS
from recollect.papers.results import PaperResults
from recollect.papers.zoology_table1 import plans

pytestmark = pytest.mark.slow

ENTRY = REPRODUCTIONS["zoology-table1"]
HYBRIDS = {f"base-conv-{kind}" for kind in ("random", "programmatic", "learned", "attention")}
LAPTOP = {"attention", "long-conv", "hyena", "base-conv", *HYBRIDS} - {"base-conv-learned"}
TABLE1 = {"attention", "long-conv", "h3", "hyena", "rwkv4"}
MODELS = {
    "laptop": [LAPTOP],
    "workstation": [TABLE1 | {"mamba", "base-conv"} | HYBRIDS],
    "paper": [TABLE1, TABLE1, TABLE1 | {"base-conv"} | HYBRIDS, {"attention", "hyena"}],
}
SIZES = {
    "laptop": ["tiny"],
    "workstation": ["70m"],
    "paper": ["70m", "150m", "360m", "1.4b"],
}
GROUPS = [(scale, i) for scale, sizes in SIZES.items() for i in range(len(sizes))]


def of(scale: str):
    return plans(scale, None if scale == "laptop" else "pile.jsonl")


@pytest.mark.parametrize("scale", MODELS)
def test_the_models(scale):
    found = of(scale)
    assert [set(plan.models) for plan in found] == MODELS[scale]
    for plan in found:
        assert next(iter(plan.models)) == "attention"
        for model in plan.models.values():
            assert (model.mlp, model.norm, model.dropout) == ("gelu", "layernorm", 0)
            assert model.short_conv == (0 if scale == "paper" else 3)


@cache
def parameters(scale: str, group: int) -> dict[str, int]:
    """Without memory for them."""
    plan = of(scale)[group]
    with FakeTensorMode():
        built = {
            name: LanguageModel(model, vocab_size=plan.tokenizer, max_len=plan.context, seed=0)
            for name, model in plan.models.items()
        }
    return {name: sum(p.numel() for p in model.parameters()) for name, model in built.items()}


@pytest.mark.parametrize(("scale", "group"), GROUPS)
def test_parameters_are_equal(scale, group):
    counts = parameters(scale, group)
    for name, count in counts.items():
        assert abs(count / counts["attention"] - 1) < 0.04, name


@pytest.mark.parametrize(("scale", "group"), GROUPS)
def test_the_presets(scale, group):
    plan, preset = of(scale)[group], PRESETS[SIZES[scale][group]]
    attention = plan.models["attention"]
    assert (attention.d_model, attention.n_layers) == (preset.d_model, preset.n_layers)
    assert plan.tokenizer == preset.vocab_size
    tokens = plan.train.steps * plan.train.batch_size * plan.context
    if scale == "paper":
        assert plan.context == 2048
        assert tokens == pytest.approx(50e9 if group == 3 else 10e9, rel=1e-3)
        assert plan.train.learning_rate == preset.learning_rate
        assert plan.tuning is None
    else:
        short = plan.tuning.steps * plan.train.batch_size * plan.context
        share = {"laptop": 0.3, "workstation": 0.2}[scale]
        assert short == pytest.approx(share * tokens, rel=0.01)
        rates = [preset.learning_rate * factor for factor in (0.5, 1, 2)]
        assert plan.tuning.search.coarse == pytest.approx(rates)


def test_attention_stands_in_few_layers_at_equal_distances():
    for scale, depth, places in (
        ("laptop", 4, [2]),
        ("workstation", 11, [5]),
        ("paper", 48, [8, 24, 40]),
    ):
        (plan,) = (plan for plan in of(scale) if "base-conv-random" in plan.models)
        for name in HYBRIDS & set(plan.models):
            layers = plan.models[name].layer_mixers()
            found = [i for i, spec in enumerate(layers) if spec.mixer == "sparse-attention"]
            assert (len(layers), found) == (depth, places)
            assert layers[found[0]].options["filler"] is None


def test_a_long_text_must_be_named():
    for scale in ("workstation", "paper"):
        with pytest.raises(UserError, match=f"--scale {scale} needs --text"):
            ENTRY.check(scale)
        ENTRY.check(scale, "datasets:pile")
    with pytest.raises(UserError, match=r"unknown scale 'napkin'.*workstation"):
        ENTRY.check("napkin")
    assert of("laptop")[0].text == "python-stdlib"


def test_printed_logs_are_those_of_the_printed_perplexities():
    for row in ENTRY.language.printed:
        for perplexity, log in (row.overall, row.hits, row.other):
            assert math.log(perplexity) == pytest.approx(log, abs=0.011)


HITS = {
    "attention": 1.05,
    "long-conv": 3.0,
    "hyena": 2.4,
    "h3": 2.3,
    "rwkv4": 2.2,
    "mamba": 1.5,
    "base-conv": 2.6,
    "base-conv-random": 2.2,
    "base-conv-programmatic": 1.2,
    "base-conv-learned": 1.4,
    "base-conv-attention": 0.95,
}
"""Log perplexity on AR hits; the paper's, about."""
BOUNDS = {5: 32, 20: 64, 80: 128}
"""Hits among 1,000 tokens: half, once and twice the paper's share."""
SHARES = (0.7, 0.8, 0.9)
"""Of the gap, at each of these bounds."""


def sums_of(
    plan: LanguagePlan,
    hits: dict[str, float],
    shares: dict[str, tuple[float, ...]],
    documents: int = 80,
    bounds: dict[int, int] = BOUNDS,
) -> DocumentSums:
    """Documents of 1,000 tokens, on which a model's excess over attention varies by a tenth, and by
    a hundredth from seed to seed. At the bound in the middle the gap a hit is that of `hits`."""
    rng = np.random.default_rng(0)
    counts = [1000, *bounds.values()]
    levels = {seed: rng.normal(0, 0.01) for seed in plan.seeds}
    names, losses = [], []
    for model in plan.models:
        share = shares.get(model, SHARES)
        whole = (hits[model] - hits["attention"]) * counts[2] / share[1]
        spread = rng.normal(1, 0.1, documents)
        for seed in plan.seeds_of(model):
            excess = whole * np.array([1.0, *share])[:, None] * (spread + levels[seed])
            names.append(model)
            losses.append(hits["attention"] * np.array(counts)[:, None] + excess)
    tokens = np.repeat(np.array(counts)[:, None], documents, axis=1)
    return DocumentSums(tuple(names), tuple(bounds), tokens, np.array(losses))


def made(scale: str, hits=HITS, shares=None, one_seed=(), **options) -> PaperResults:
    """Every model on three seeds, but for those that are to have one."""
    found = []
    for plan in of(scale):
        repeated = [name for name in plan.models if name not in one_seed]
        plan = plan.replace(seeds=(1, 2, 3), repeated=repeated)
        sums = sums_of(plan, hits, shares or {}, **options)
        found.append(LanguageResults(plan, {"trials": pd.DataFrame()}, sums))
    return PaperResults(language=tuple(found))


def judged(results: PaperResults) -> dict[str, Finding]:
    return {claim.name: claim.finding(results) for claim in ENTRY.claims}


@pytest.mark.parametrize("scale", MODELS)
def test_what_the_paper_measured_bears_its_claims_out(scale):
    for name, finding in judged(made(scale)).items():
        if scale == "laptop" and name == "learned-closes":
            assert finding.verdict == "not run"
            assert "base-conv-learned" in finding.evidence
            continue
        assert finding.verdict == "reproduced", (name, finding.evidence)
        assert finding.measured
        assert any(character.isdigit() for character in finding.evidence)


def test_the_evidence_has_seeds_bounds_and_shares():
    found = judged(made("laptop", HITS | {"base-conv-random": 2.5}))
    of_gap = found["gap-is-hits"].evidence
    assert "share of the gap to attention on AR hits, unclipped: hyena 0.800, 3 seeds" in of_gap
    assert (
        "(hits are 6.4 % of the tokens, seen at most 20 times; same result at 3.2 % and 12.8 %)"
        in of_gap
    )
    closed = found["random-does-not"]
    assert closed.verdict == "reproduced"
    assert "base-conv-random 0.0" in closed.evidence
    assert "3 seeds (hits are 6.4 %" in closed.evidence


@pytest.mark.parametrize("closes", [1.2, 2.5])
def test_one_seed_decides_nothing_about_a_model(closes):
    hits = HITS | {"base-conv-random": closes}
    finding = judged(made("laptop", hits, one_seed=["base-conv-random"]))["random-does-not"]
    assert finding.verdict == "undecided"
    assert "one seed (hits are" in finding.evidence
    assert finding.decides == "one seed each of base-conv-random: 2 more trainings"


def test_seeds_that_are_missing_are_counted_over_all_models():
    results = made("laptop", one_seed=["base-conv", "hyena"])
    finding = judged(results)["convolutions-trail-on-hits"]
    assert finding.decides == "one seed each of hyena, base-conv: 4 more trainings"


def test_a_model_of_several_seeds_contradicts_whatever_the_others_have():
    results = made("laptop", HITS | {"hyena": 1.0}, one_seed=["base-conv"])
    assert judged(results)["convolutions-trail-on-hits"].verdict == "contradicted"


def test_of_a_share_without_a_gap_nothing_is_decided():
    """With a gap of nearly nothing, a few documents would seem to be enough."""
    hits = HITS | {"base-conv": HITS["attention"], "base-conv-programmatic": 1.5}
    for documents in (5, 35):
        results = made("laptop", hits, documents=documents)
        finding = judged(results)["programmatic-closes"]
        assert finding.verdict == "undecided", finding.evidence
        assert "no gap of base-conv-programmatic is established" in finding.decides


def test_a_gap_between_zero_and_the_margin_is_left_there():
    results = made("laptop", HITS | {"hyena": 1.08})
    finding = judged(results)["convolutions-trail-on-hits"]
    assert "hyena lies between the bounds" in finding.decides


def test_what_documents_that_were_not_read_could_turn_is_undecided():
    """Four fifths of the gap: documents without a share of it, 7 % of all, could make it half."""
    finding = judged(made("laptop", shares={"hyena": (0.8,) * 3}, documents=35))["gap-is-hits"]
    assert finding.verdict == "undecided"
    assert "62 documents to test on: 35 may lack a kind of document" in finding.decides
    assert judged(made("laptop", documents=62))["gap-is-hits"].verdict == "reproduced"


@pytest.mark.parametrize(
    ("claim", "hits", "shares", "verdict", "said"),
    [
        ("convolutions-trail-on-hits", {"hyena": 1.0}, {}, "contradicted", "hyena -0.0"),
        ("convolutions-trail-on-hits", {"hyena": 1.1}, {}, "undecided", "hyena 0.0"),
        ("gap-is-hits", {}, {"hyena": (0.1, 0.2, 0.3)}, "contradicted", "hyena 0.200"),
        ("convolutions-trail-on-hits", {"hyena": 1.08}, {}, "undecided", "hyena 0.03"),
        ("gap-is-hits", {"hyena": 1.05}, {}, "undecided", "hyena undefined"),
        ("gap-is-hits", {"hyena": 1.04}, {}, "contradicted", "hyena undefined"),
        ("programmatic-closes", {"base-conv-programmatic": 2.2}, {}, "contradicted", " 0.2"),
        ("programmatic-closes", {"base-conv-programmatic": 1.83}, {}, "undecided", " 0.4"),
        ("programmatic-closes", {"base-conv": 1.0}, {}, "contradicted", "undefined"),
        ("random-does-not", {"base-conv-random": 1.2}, {}, "contradicted", " 0.90"),
        ("random-does-not", {"base-conv-random": 1.83}, {}, "undecided", " 0.4"),
    ],
)
def test_other_results_do_not(claim, hits, shares, verdict, said):
    finding = judged(made("laptop", HITS | hits, shares))[claim]
    assert finding.verdict == verdict, finding.evidence
    assert said in finding.evidence
    assert bool(finding.decides) == (verdict == "undecided")


def test_a_verdict_that_goes_with_the_bound_is_undecided():
    """A third of the gap at one bound, more than all of it at another."""
    shares = dict.fromkeys(("hyena", "base-conv"), (0.33, 0.8, 1.8))
    finding = judged(made("laptop", HITS, shares))["gap-is-hits"]
    assert finding.verdict == "undecided"
    said = "established there, contradicted at 3.2 %, established at 12.8 %"
    assert said in finding.evidence
    assert "the result depends on the bound" in finding.decides


def test_a_text_without_such_shares_decides_nothing():
    bounds = {5: 300, 20: 310, 80: 320}
    finding = judged(made("laptop", bounds=bounds))["convolutions-trail-on-hits"]
    assert finding.verdict == "undecided"
    assert "another text" in finding.decides
    assert "hits are 30.0 % of the tokens" in finding.evidence


def test_too_few_documents_decide_nothing():
    for finding in judged(made("laptop", documents=3)).values():
        assert finding.verdict in ("undecided", "not run")


def test_what_is_tested_is_said_before():
    for claim in ENTRY.claims:
        for part in claim.parts:
            assert "attention" in part.sentence or "BaseConv" in part.sentence
            assert part.why
            assert part.record()["sentence"] == part.sentence
    (trail,) = ENTRY.claims[0].parts
    assert "that make 3.2 %, 6.4 % and 12.8 % of the tokens hits" in trail.sentence
    assert "more than 0.05" in trail.sentence


def test_what_claims_are_about_has_three_seeds_on_a_laptop():
    (plan,) = of("laptop")
    counts = {name: len(plan.seeds_of(name)) for name in plan.models}
    repeated = {"attention", "hyena", "base-conv", "base-conv-programmatic", "base-conv-random"}
    assert counts == {name: 3 if name in repeated else 1 for name in plan.models}
    assert plan.end_of_text
    (study,) = plan.studies()
    assert not set(study.seeds) & set(plan.seeds)


@pytest.mark.parametrize("scale", MODELS)
def test_nothing_is_judged_before_it_is_measured(scale):
    for name, finding in judged(
        PaperResults(language=tuple(LanguageResults(plan, {}) for plan in of(scale)))
    ).items():
        assert finding.verdict == "not run"
        if (scale, name) != ("laptop", "learned-closes"):
            assert "not finished: zoology-table1-" in finding.evidence
