import json
from itertools import permutations

import numpy as np
import pytest
from small import GRID, TASK, TRAIN, small_study

from recollect.errors import UserError
from recollect.mixers.catalogue import mixer
from recollect.models.config import ModelConfig
from recollect.models.init import Init
from recollect.studies.cell import Cell
from recollect.studies.grid import models_grid
from recollect.studies.labels import recipe
from recollect.studies.narrow import narrow, override
from recollect.studies.search import FixedGrid, LearningRateSearch
from recollect.studies.shipped import STUDIES, register_study
from recollect.studies.study import Study
from recollect.tasks.batch import Batch
from recollect.tasks.mqar import MQAR
from recollect.tasks.task import Task
from recollect.training.config import Seeds, TrainConfig, TrialConfig

LONGER = MQAR(seq_len=32, num_kv_pairs=4, vocab_size=64)


class Named(Task):
    label: str = "n"
    vocab_size: int = 4
    max_len: int = 4
    chance: float = 0.25
    size: int = 1

    def sample(self, n: int, seed: int) -> Batch:
        return TASK.sample(n, seed)


def study(**changes) -> Study:
    models = models_grid(
        ["attention", mixer("hyena", filter_order=8)], d_model=[8, 16], n_layers=[1, 2]
    )
    return small_study().replace(tasks=(TASK, LONGER), models=models, **changes)


def test_cells_are_every_task_with_every_model():
    cells = study().cells()
    assert len(cells) == 2 * 8
    assert len({cell.id for cell in cells}) == len({cell.label for cell in cells}) == 16
    assert cells[0].label == "mqar-16x2-v64 attention d_model=8 n_layers=1"
    assert cells[0].chance == 0.5


@pytest.mark.parametrize("rate", [1e-3, 1, 0.1 + 0.2, 3.16e-3])
def test_a_cell_knows_the_keys_of_its_trials_from_its_json(rate):
    changed = study(train_overrides={LONGER.label: {"batch_size": 4}}, test_tasks=(LONGER,))
    for cell in changed.cells():
        stored = Cell(**json.loads(json.dumps(cell.model_dump(mode="json"))))
        assert (stored, stored.id) == (cell, cell.id)
        config = TrialConfig(**stored.trial(rate, 7))
        assert config.key == stored.key(rate, 7)
        assert config.train.learning_rate == rate
        assert config.seeds == Seeds.of(7)


def test_cells_are_the_same_whatever_searches_them():
    other = study(search=LearningRateSearch(), seeds=(5,), name="other")
    assert [cell.id for cell in other.cells()] == [cell.id for cell in study().cells()]
    assert other.cells()[0].id != other.replace(train=TrainConfig()).cells()[0].id


def test_overrides_belong_to_their_task():
    changed = study(train_overrides={LONGER.label: {"batch_size": 4}})
    sizes = {cell.task: cell.template["train"]["batch_size"] for cell in changed.cells()}
    assert sizes == {TASK.label: TRAIN.batch_size, LONGER.label: 4}


def test_a_task_is_no_further_test_of_itself():
    tests = {c.task: len(c.template["test_tasks"]) for c in study(test_tasks=(LONGER,)).cells()}
    assert tests == {TASK.label: 1, LONGER.label: 0}


def test_recipe_names_what_is_not_the_default():
    assert recipe(ModelConfig(mixer="attention", d_model=8)) == ""
    model = ModelConfig(mixer="attention", d_model=8, mlp="gelu", init=Init(std=0.1))
    assert recipe(model) == "mlp=gelu, init.std=0.1"
    linear = mixer("torch.nn:Linear", in_features=8, out_features=8)
    foreign = model.replace(mixer=["attention", linear])
    assert recipe(foreign) == "mlp=gelu, init.std=0.1, initialisation=own"
    reset = foreign.replace(init=Init(foreign="reset"))
    assert recipe(reset) == "mlp=gelu, initialisation=recipe"


def test_a_study_takes_its_name_first():
    named = Study("mine", tasks=[TASK], models=models_grid(["attention"], d_model=[8]))
    assert named.name == "mine"
    assert named.seeds == (42, 123, 777)


def test_a_single_value_stands_for_a_list_of_one():
    several = models_grid(["attention"], d_model=[64], n_layers=[1])
    assert models_grid("attention", d_model=64, n_layers=1) == several
    assert models_grid(mixer("attention"), d_model=np.array([64]), n_layers=np.int64(1)) == several
    assert len(models_grid([["attention", "hyena"]], d_model=range(8, 33, 8))) == 4
    ((one,), search) = (several, FixedGrid(rates=(1e-2,)))
    single = Study("s", tasks=TASK, models=one, seeds=3, test_tasks=LONGER, search=search)
    listed = Study("s", tasks=[TASK], models=several, seeds=[3], test_tasks=[LONGER], search=search)
    assert single == listed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"d_model": "64"}, "d_model='64': expected a whole number or a list of them, such as 64"),
        ({"d_model": 64.0}, "d_model=64.0: expected a whole number"),
        ({"d_model": []}, r"d_model=\[\]: expected a whole number"),
        ({"d_model": [8, True]}, r"d_model=\[8, True\]: expected a whole number"),
        ({"d_model": 8, "n_layers": 1.5}, "n_layers=1.5: expected a whole number"),
        ({"d_model": 0}, "d_model=0"),
        ({"d_model": 8, "mixers": 5}, "mixers=5: expected mixers, such as 'mamba'"),
    ],
)
def test_a_wrong_grid_is_a_user_error(values, message):
    with pytest.raises(UserError, match=message):
        models_grid(**{"mixers": "attention"} | values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": (TASK, TASK)}, "task mqar-16x2-v64 occurs twice"),
        ({"tasks": (Named(), Named(size=2))}, "two tasks with different settings have the label n"),
        ({"models": models_grid(["attention"], d_model=[8, 8])}, "occurs twice"),
        ({"seeds": (1, 1)}, "seed 1 occurs twice"),
        ({"seeds": ()}, "seeds"),
        ({"tasks": ()}, "tasks"),
        ({"models": ()}, "models"),
        ({"train_overrides": {"mqar-16x3": {}}}, "did you mean 'mqar-16x2-v64'"),
        ({"train_overrides": {TASK.label: {"step": 3}}}, "did you mean 'steps'"),
        ({"train_overrides": {TASK.label: {"learning_rate": 1.0}}}, "the search chooses"),
        ({"sead": (1,)}, "did you mean 'seeds'"),
    ],
)
def test_wrong_studies_are_user_errors(changes, message):
    with pytest.raises(UserError, match=message):
        Study(**{**small_study().__dict__, **changes})


def test_models_that_cannot_be_built_are_found_before_training():
    heads = models_grid([mixer("attention", n_heads=3)], d_model=[8])
    with pytest.raises(UserError, match="n_heads"):
        small_study(models=heads).check()


def test_test_tasks_need_the_vocabulary():
    with pytest.raises(UserError, match="vocab_size=128"):
        small_study(test_tasks=(MQAR(seq_len=16, num_kv_pairs=2, vocab_size=128),)).cells()


@pytest.mark.parametrize(
    ("part", "cells"),
    [
        ({}, 16),
        ({"mixers": ["attention"]}, 8),
        ({"mixers": ["hyena"]}, 8),
        ({"mixers": ["hyena(filter_order=8)", "attention"]}, 16),
        ({"tasks": ["16x2"]}, 8),
        ({"tasks": ["mqar"]}, 16),
        ({"widths": [8], "depths": [2], "tasks": [TASK.label]}, 2),
    ],
)
def test_narrowing_selects_cells(part, cells):
    narrowed = narrow(study(train_overrides={LONGER.label: {"batch_size": 4}}), **part)
    assert {c.label for c in narrowed.cells()} <= {c.label for c in study().cells()}
    assert len(narrowed.cells()) == cells


def test_seeds_are_narrowed_from_the_first():
    assert narrow(study(), seeds=1).seeds == (1,)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"mixers": ["atention"]}, "did you mean 'attention'"),
        ({"tasks": ["64x4"]}, "unknown task '64x4'"),
        ({"widths": [9]}, "choose from 16, 8"),
        ({"depths": [3]}, "unknown depth '3'"),
        ({"seeds": 3}, "seeds=3"),
        ({"seeds": 0}, "seeds=0"),
    ],
)
def test_what_a_study_does_not_have_is_a_user_error(part, message):
    with pytest.raises(UserError, match=message):
        narrow(study(), **part)


def test_a_part_may_be_empty_only_by_error():
    models = [*models_grid(["attention"], d_model=[8]), *models_grid(["hyena"], d_model=[16])]
    with pytest.raises(UserError, match="no model with"):
        narrow(small_study(models=tuple(models)), mixers=["attention"], widths=[16])


@pytest.mark.parametrize(
    ("setting", "read", "value"),
    [
        ("train.steps=500", lambda s: s.train.steps, 500),
        ("steps = 500", lambda s: s.train.steps, 500),
        ("stop_accuracy=null", lambda s: s.train.stop_accuracy, None),
        ("stop_accuracy=None", lambda s: s.train.stop_accuracy, None),
        ("betas=[0.8, 0.9]", lambda s: s.train.betas, (0.8, 0.9)),
        ("model.mlp=gelu", lambda s: {m.mlp for m in s.models}, {"gelu"}),
        ("init.std=0.5", lambda s: {m.init.std for m in s.models}, {0.5}),
        ("init.foreign=reset", lambda s: {m.init.foreign for m in s.models}, {"reset"}),
        ("task.power=1", lambda s: {t.power for t in s.tasks}, {1.0}),
        ("search.rates=[0.1]", lambda s: s.search, FixedGrid(rates=(0.1,))),
    ],
)
def test_single_values_can_be_set(setting, read, value):
    assert read(override(study(), [setting])) == value


@pytest.mark.parametrize(
    "settings",
    [
        ["task.num_kv_pairs=10", "task.seq_len=64", "task.vocab_size=128"],
        ["search.low=0.2", "search.high=1"],
        ["schedule_unit=epoch", "train_examples=64", "warmup=0"],
        ["model.canon=ACD", "model.mlp=gelu"],
    ],
)
def test_settings_that_fit_only_together_may_come_in_any_order(settings):
    searching = small_study().replace(search=LearningRateSearch())
    found = [override(searching, order) for order in permutations(settings)]
    assert all(each == found[0] for each in found)
    with pytest.raises(UserError, match="did you mean"):
        override(searching, ["train.stpes=2", *settings])


def test_the_last_value_of_a_key_counts():
    """Also if an earlier one fits only after others were set."""
    settings = ["num_kv_pairs=16", "task.num_kv_pairs=2", "seq_len=64", "vocab_size=128"]
    assert [task.num_kv_pairs for task in override(small_study(), settings).tasks] == [2]


def test_what_is_set_by_hand_holds_for_every_task():
    changed = study(train_overrides={LONGER.label: {"batch_size": 4, "steps": 6}})
    for setting in ("train.batch_size=2", "power=1.0"):
        changed = override(changed, [setting])
    trains = [cell.template["train"] for cell in changed.cells()]
    assert {train["batch_size"] for train in trains} == {2}
    assert {train["steps"] for train in trains} == {8, 6}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.step=3", "did you mean 'train.steps'"),
        ("dropuot=0.1", "did you mean 'model.dropout'"),
        ("steps", "expected key=value"),
        ("train.steps=many", "steps='many'"),
        ("search.refine=1", "unknown key 'search.refine'"),
        ("learning_rate=0.1", "the search chooses it"),
        ("search.window=false", r"rc\.BestRateSearch\(\)"),
        ("search.kind=best-rate", r"rc\.BestRateSearch\(\)"),
        ("seeds=[1,2]", "--seeds N` takes the first N"),
        ("model.d_model=8", "occurs twice"),
    ],
)
def test_wrong_settings_are_user_errors(setting, message):
    with pytest.raises(UserError, match=message):
        override(study(), [setting])


def test_an_ambiguous_key_names_its_meanings():
    class Steps(LearningRateSearch):
        steps: int = 3

    with pytest.raises(UserError, match=r"search\.steps or train\.steps"):
        override(small_study(search=Steps()), ["steps=3"])


def test_shipped_studies_register_once():
    @register_study("a study of the tests")
    def shipped(scale: str) -> Study:
        return small_study(title=scale)

    assert STUDIES["a study of the tests"]("paper").title == "paper"
    with pytest.raises(ValueError, match="already registered"):
        register_study("a study of the tests")(shipped)


def test_the_search_survives_the_disk():
    for search in (GRID, LearningRateSearch(refine=2)):
        cell = small_study(search=search).cells()[0]
        assert Cell(**cell.model_dump(mode="json")).search == search
