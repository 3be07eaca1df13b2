"""More seeds for undecided claims: in a fixed order, with the same rates, and only then judged."""

import pytest
from made_store import fill

from recollect.papers.claims import Claim
from recollect.papers.deciding import deciding, more_runs, narrowed, with_all_rates
from recollect.papers.predicates import fails
from recollect.papers.results import PaperResults
from recollect.studies.grid import models_grid
from recollect.studies.search import BestRateSearch, FixedGrid
from recollect.studies.store import Store
from recollect.studies.study import Study
from recollect.tasks.mqar import MQAR
from recollect.training.config import TrainConfig

SHORT, LONG = (MQAR(seq_len=n, num_kv_pairs=2, vocab_size=32) for n in (8, 16))


@pytest.fixture
def study() -> Study:
    return Study(
        "made",
        tasks=[SHORT, LONG],
        models=models_grid(["attention", "mamba"], d_model=[8, 16, 32], n_layers=[1]),
        train=TrainConfig(steps=4, eval_every=2, valid_examples=8, test_examples=8),
        train_overrides={LONG.label: {"steps": 6}},
        search=BestRateSearch(low=1e-3, high=1e-1),
        seeds=(42, 314),
    )


def half(*_) -> float:
    return 0.5


def test_seeds_are_added_in_a_fixed_order(study):
    more = deciding(study)
    assert more.name == "made-decide"
    assert more.seeds == (42, 314, 271, 577, 1009, 1618, 1729, 2718, 4104, 6174)
    assert deciding(study.replace(seeds=range(12))).seeds == tuple(range(12))


def test_a_part_begins_its_search_as_the_whole_does(study):
    """With the smaller widths, whose rates it goes by."""
    more = deciding(study)
    wanted = next(
        cell
        for cell in more.cells()
        if (cell.task, cell.mixer, cell.d_model) == (LONG.label, "mamba", 16)
    )
    part = narrowed(more, [wanted.label])
    assert [(cell.task, cell.mixer, cell.d_model) for cell in part.cells()] == [
        (LONG.label, "mamba", width) for width in (8, 16)
    ]
    assert set(part.cells()[0].model_dump()) == set(wanted.model_dump())
    assert wanted in part.cells()


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        ("json_remove(cell, '$.learned_positions')", False),
        ("json_set(cell, '$.chance', 0.51)", False),
        ("json_set(cell, '$.template.train.batch_size', 7)", True),
    ],
)
def test_settings_must_be_equal_but_not_what_follows_from_them(study, change, matters, tmp_path):
    with Store(tmp_path / "s.db") as store:
        fill(store, study, half)
        store.file.connection.execute(f"UPDATE cells SET cell = {change}")
        found = PaperResults.read(store, [study]).all
    assert {cell.finished for cell in found} == {not matters}


def test_seeds_count_once_all_of_them_are_there(study, tmp_path):
    more = deciding(study)
    part = narrowed(more, [more.cells()[-1].label])
    with Store(tmp_path / "s.db") as store:
        fill(store, study, half)
        before = PaperResults.read(store, [study])
        store.record_study(more.name, "made", part.cells(), more.cells())
        assert [c.cell for c in PaperResults.read(store, [study]).all] == [
            c.cell for c in before.all
        ]
        fill(store, part, half)
        found = PaperResults.read(store, [study])
    seeds = [len(cell.by_seed()) for cell in found.all]
    assert seeds == [2] * 9 + [10] * 3
    assert {cell.study for cell in found.all} == {"made"}
    assert {cell.first_seeds for cell in found.all} == {2}
    assert [cell.before is not None for cell in found.all] == [False] * 9 + [True] * 3
    assert [cell.by_seed() for cell in found.before.all] == [c.by_seed() for c in before.all]
    assert set(found.trials["study"]) == {"made"}
    assert set(before.trials["key"]) <= set(found.trials["key"])


def test_all_rates_are_those_of_the_search_and_beyond(study):
    rates = with_all_rates(study)
    assert rates.name == "made-rates"
    assert rates.seeds == (42, 314, 271, 577, 1009)
    assert rates.search.rates == BestRateSearch().coarse
    assert set(study.search.coarse) < set(rates.search.rates)
    grid = study.replace(search=FixedGrid(rates=[1e-3]))
    assert with_all_rates(deciding(grid)).search.rates == BestRateSearch().coarse
    assert with_all_rates(deciding(grid)).seeds == deciding(study).seeds


def decided(study, accuracy, path):
    """What `--decide` runs, run by run, and what is found in the end."""
    claim = Claim("some", "Mamba fails.", "here", (fails({"mixer.name": "mamba"}),))
    with Store(path) as store:
        fill(store, study, accuracy)
        asked, found = [], claim.finding(PaperResults.read(store, [study]))
        while parts := list(more_runs([study], [found])):
            asked.append({part.name for part, _ in parts})
            for part, whole in parts:
                assert {cell.mixer for cell in part.cells()} == {"mamba"}
                fill(store, part, accuracy, whole=whole)
            found = claim.finding(PaperResults.read(store, [study]))
        return asked, found, PaperResults.read(store, [study])


def test_a_failure_is_decided_by_more_seeds_and_then_by_all_rates(study, tmp_path):
    """Two seeds are too few, and the chosen rate alone says nothing."""

    def accuracy(settings, rate) -> float:
        return 0.99 if settings["mixer.name"] == "attention" else 0.2

    asked, found, results = decided(study, accuracy, tmp_path / "s.db")
    assert asked == [{"made-decide"}, {"made-rates"}]
    assert found.verdict == "reproduced", found.evidence
    assert results.has_more
    assert len(results.run) > len(results.trials)


@pytest.mark.parametrize(("at_last", "verdict"), [(0.2, "reproduced"), (0.9, "undecided")])
def test_where_no_model_solves_the_task_twice_the_steps_are_run(study, at_last, verdict, tmp_path):
    """A failure counts if they bring no gain. All rates are run only where a failure can count."""
    twice = {2 * cell.steps for cell in study.cells()}

    def accuracy(settings, rate) -> float:
        return at_last if settings["train.steps"] in twice else 0.2

    asked, found, results = decided(study, accuracy, tmp_path / "s.db")
    assert asked[0] == {"made-longer"}
    assert asked[1:] == ([{"made-decide"}, {"made-rates"}] if verdict == "reproduced" else [])
    assert found.verdict == verdict, found.evidence
    assert ("a longer budget" in found.decides) == (verdict == "undecided")
    assert {cell.longer.cell.steps for cell in results.all if cell.longer} == twice
    assert set(results.run["key"]) > set(results.trials["key"])
