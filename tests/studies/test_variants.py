"""A study that compares ways of training."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from small import GRID, TASK, TRAIN, run_here, small_study, untimed
from torch import nn

import recollect as rc
from recollect.errors import UserError
from recollect.papers.deciding import narrowed, with_all_rates
from recollect.papers.optimizers import optimizers
from recollect.papers.windows import figure1, figure7
from recollect.studies.narrow import narrow, override
from recollect.studies.results import cells_frame
from recollect.studies.search import FixedGrid
from recollect.studies.store import Store
from recollect.studies.transfer import merge
from recollect.training.optimizer_name import OPTIMIZERS

LOW = FixedGrid(rates=(1e-4, 1e-3))
WAYS = (
    rc.Variant(),
    rc.Variant(train={"optimizer": "lion", "weight_decay": 1.0}, search=LOW),
)


class Sums(nn.Module):
    """Has no parameters."""

    def __init__(self, d_model: int) -> None:  # noqa: ARG002
        super().__init__()

    def forward(self, x):
        return x.cumsum(1)


def study(**changes) -> rc.Study:
    return small_study(variants=WAYS, **changes)


def test_every_model_is_trained_in_every_way():
    cells = study().cells()
    assert [(cell.mixer, cell.recipe, cell.search) for cell in cells] == [
        (mixer, recipe, search)
        for mixer in ("attention", "base-conv")
        for recipe, search in (("", GRID), ("optimizer=lion, weight_decay=1.0", LOW))
    ]
    assert cells[::2] == small_study().cells()
    trains = [cell.template["train"] for cell in cells]
    assert [train.get("optimizer") for train in trains] == [None, "lion"] * 2
    assert [train["weight_decay"] for train in trains] == [TRAIN.weight_decay, 1.0] * 2


def test_the_optimiser_of_a_whole_study_is_reported():
    (cell, _) = small_study(train=TRAIN.replace(optimizer="muon")).cells()
    assert cell.recipe == "optimizer=muon"


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ((rc.Variant(), rc.Variant()), "without changes occurs twice: give each variant once$"),
        (
            (rc.Variant(), rc.Variant(search=rc.FixedGrid(rates=[1e-3]))),
            "without changes occurs twice.*; a search alone does not make another variant",
        ),
        (
            (rc.Variant(), rc.Variant(train={"weight_decay": 0.1})),
            "'weight_decay=0.1' have the same settings",
        ),
        (
            (rc.Variant(train={"optimizer": "adamw"}), rc.Variant()),
            "'optimizer=adamw' and .*same settings",
        ),
        ((rc.Variant(train={"step": 3}),), "did you mean 'steps'"),
        ((rc.Variant(train={"optimizer": "schedule-free"}),), "set schedule='constant' first"),
        (
            (rc.Variant(search=rc.LearningRateSearch()), WAYS[1]),
            "the search chooses rates on the seed 9001",
        ),
    ],
)
def test_wrong_variants_are_user_errors(variants, message):
    with pytest.raises(UserError, match=message):
        small_study(variants=variants, seeds=(9001,))


def test_the_search_chooses_the_rate_of_a_variant():
    with pytest.raises(UserError, match="the search chooses the learning_rate"):
        rc.Variant(train={"learning_rate": 0.1})


def test_single_values_are_set_in_all_variants():
    changed = override(study(), ["train.weight_decay=0.5", "search.rates=[0.5]"])
    assert {cell.template["train"]["weight_decay"] for cell in changed.cells()} == {0.5}
    assert {cell.search.rates for cell in changed.cells()} == {(0.5,)}


def test_what_a_study_compares_cannot_be_set():
    variants = [rc.Variant(train={"optimizer": name}) for name in ("adamw", "lion")]
    with pytest.raises(UserError, match=r"train\.optimizer: small compares variants"):
        override(small_study(variants=variants), ["train.optimizer=sgd"])


def test_an_optimiser_that_cannot_be_made_is_found_before_training():
    """Nothing in these layers is for Muon."""
    with pytest.raises(UserError, match="this model has none: use 'adamw'"):
        small_study([Sums], variants=[rc.Variant(train={"optimizer": "muon"})]).check()


def test_parts_with_other_variants_merge_into_the_whole(tmp_path: Path):
    models = study().models[:1]
    both = small_study(models=models, variants=WAYS, seeds=(1,))
    with Store(tmp_path / "a.db") as a, Store(tmp_path / "b.db") as b:
        run_here(both.replace(variants=WAYS[:1]), a, whole=both.cells())
        run_here(both.replace(variants=WAYS[1:]), b, whole=both.cells())
        a.rows("UPDATE studies SET settings = 'one'")
        b.rows("UPDATE studies SET settings = 'one'")
        assert merge(a, b.path).differences == {}
        merged = untimed(cells_frame(a, "small"))
        with Store(tmp_path / "whole.db") as whole:
            run_here(both, whole)
            assert merged.equals(untimed(cells_frame(whole, "small")))


def test_more_runs_of_a_cell_are_of_its_model_in_all_ways():
    everywhere = with_all_rates(study())
    assert len(everywhere.cells()[1].search.rates) >= 7
    label = study().cells()[3].label
    assert [model.label for model in narrowed(study(), {label}).models] == ["base-conv"]


def test_the_study_of_optimisers_has_each_beside_its_equals():
    """All but optimiser, schedule and weight decay are alike, and the decay of a step is the same
    in the middle of each range of rates."""
    cells = optimizers("laptop").cells()
    shrinking = set()
    for cell in cells:
        train = dict(cell.template["train"])
        decay, name = train.pop("weight_decay"), train.pop("optimizer", "adamw")
        middle = (cell.search.low * cell.search.high) ** 0.5
        shrinking.add(f"{middle * decay * (10 if name == 'sgd' else 1):.2g}")
        assert train.pop("schedule") == ("constant" if name == "schedule-free" else "cosine")
        assert train == {k: v for k, v in cells[0].template["train"].items() if k in train}
    assert len(shrinking) == 1
    papers = {cell.id for figure in (figure1, figure7) for cell in figure("laptop").cells()}
    assert {cell.id for cell in cells if cell.recipe == "optimizer=adamw"} <= papers
    assert len(cells) == 4 * len(OPTIMIZERS)
    assert narrow(optimizers("laptop"), mixers=["mamba"]).cells()[0].recipe == "optimizer=adamw"


def test_variants_that_are_one_on_some_task_share_its_trials(tmp_path: Path):
    other = TASK.replace(seq_len=12)
    both = small_study(
        models=study().models[:1],
        tasks=[TASK, other],
        train_overrides={TASK.label: {"batch_size": 16}},
        variants=[rc.Variant(), rc.Variant(train={"batch_size": 16})],
        seeds=(1,),
    )
    assert len({cell.id for cell in both.cells()}) == 3
    with Store(tmp_path / "a.db") as store, ends_within(60):
        run_here(both, store)
        frame = cells_frame(store, "small")
    assert frame["finished"].tolist() == [True] * 4


@contextmanager
def ends_within(seconds: int) -> Iterator[None]:
    """Raise in the block if it takes longer: a run that waits for ever is no result."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
