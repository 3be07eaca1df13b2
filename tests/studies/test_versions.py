"""Cells of several versions of one mixer in one study."""

import math
import shutil
import sys
from pathlib import Path

import pytest
from small import TASK, TRAIN, small_study

from recollect.identity import load
from recollect.mixers.catalogue import mixer
from recollect.studies.grid import models_grid
from recollect.studies.listing import difference, listing
from recollect.studies.versions import out_of_date, tell_versions_apart
from recollect.tasks.mixture import Mixture
from recollect.tasks.task import TASKS

MINE = """
from torch import nn
import near

class Mine(nn.Module):
    def __init__(self, d_model, k=1):
        super().__init__()

    def forward(self, x):
        return x
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE)
    (folder / "near.py").write_text("X = 1")
    return folder


def cells_of(folder: Path, *widths: int, **options):
    mine = mixer(f"{folder / 'mine.py'}:Mine", **options)
    models = models_grid([mine, [mine, "attention"]], d_model=widths)
    cells = small_study(models=models).cells()
    sys.modules.pop("near", None)  # as another process has it
    sys.path.remove(str(folder))
    return cells


OPTIMIZER = """
from torch import optim

def make(model, config):
    return optim.SGD(model.parameters(), lr=config.learning_rate)
"""


def test_versions_of_an_optimiser_are_told_apart(tmp_path: Path):
    cells = []
    for name, source in (("old", OPTIMIZER + "# plain\n"), ("new", OPTIMIZER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own_opt.py").write_text(source)
        train = TRAIN.replace(optimizer=f"{tmp_path / name / 'own_opt.py'}:make")
        cells += small_study(["attention"], train=train).cells()
    assert {cell.recipe for cell in cells} == {"optimizer=make"}
    marked = [cell.mixer for cell in tell_versions_apart(cells)]
    assert len(set(marked)) == 2
    assert all(name.startswith("attention [optimizer ") for name in marked)
    assert len(out_of_date(cells, [tmp_path / "new"])) == 1
    old, new = cells
    assert listing([new], [], [old]) == [old], "what was run before the edit stays in the table"
    assert difference(new, old) == "another version of the optimizer"


def test_the_last_digit_of_the_chance_level_tells_no_cells_apart():
    """It depends on the machine's processor; parts of a study may run on several machines."""
    one, two = small_study(["attention", "base-conv"]).cells()
    elsewhere = one.replace(chance=math.nextafter(one.chance, 1))
    assert listing([one, two], [two], [elsewhere]) == [one, two]
    assert difference(one, elsewhere) == ""


def test_rows_of_two_versions_are_marked(folder: Path, tmp_path: Path):
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    (old / "mine.py").write_text(MINE.replace("return x", "return 2 * x"))
    cells = (*cells_of(old, 8), *cells_of(folder, 16, k=2))
    marked = tell_versions_apart(cells)
    names = [cell.mixer for cell in marked]
    assert [name.partition(" [source ")[0] for name in names] == [cell.mixer for cell in cells]
    assert names[0][len("Mine") :] == names[1][len("Mine+attention") :]
    assert names[0].partition(" [")[2] != names[2].partition(" [")[2]
    assert [cell.id for cell in marked] == [cell.id for cell in cells]
    assert tell_versions_apart(cells[:2]) == cells[:2]
    assert len(out_of_date(cells, [folder])) == 2
    assert len(out_of_date(cells, [old])) == 2


def test_a_raised_version_of_ours_is_marked():
    (first,) = small_study(["attention"]).cells()
    template = {**first.template, "model": dict(first.template["model"])}
    layer = template["model"]["mixer"][0]
    template["model"]["mixer"] = [layer | {"numerics": layer["numerics"] + 1}]
    second = first.replace(template=template, d_model=16)
    third = first.replace(numerics=first.numerics + 1, d_model=32)
    names = [cell.mixer for cell in tell_versions_apart([first, second, third])]
    assert len(set(names)) == 3
    assert all("trainer" in name and "version" in name for name in names)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("mine.py", MINE + "\n"),
        ("near.py", "X = 2"),
        ("near.py", "raise SystemExit('it runs'"),
        ("mine.py", "raise SystemExit('it runs')"),
    ],
)
def test_an_edit_makes_rows_out_of_date(folder: Path, file, text):
    cells = cells_of(folder, 8)
    assert out_of_date(cells, [folder]) == []
    assert out_of_date(cells, []) == [], "of what is not there it is not known"
    (folder / file).write_text(text)
    messages = out_of_date(cells, [folder])
    assert [each.partition(" is out of date")[0] for each in messages] == [c.label for c in cells]
    assert all(str(folder) in each for each in messages)
    assert TASK.label in messages[0]


TASK_FILE = """
import torch
import recollect as rc

@rc.register_task("edited")
class Edited(rc.Task):
    label: str = "edited"
    vocab_size: int = 64
    max_len: int = 8
    chance: float = 0.125

    def sample(self, n, seed):
        inputs = torch.randint(8, (n, 8), generator=torch.Generator().manual_seed(seed))
        return rc.Batch(inputs, None, inputs)
"""


@pytest.mark.parametrize("place", ["tasks", "test_tasks", "mixture"])
def test_an_edit_of_a_task_makes_rows_out_of_date(tmp_path: Path, monkeypatch, place):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(TASKS, "_entries", {**TASKS._entries})  # other tests see no new task
    file = tmp_path / f"edited_{place}.py"
    file.write_text(TASK_FILE.replace('"edited"', f'"edited-{place}"'))
    own = load(str(file)).Edited()
    task = TASK.replace(vocab_size=64)
    given = {
        "tasks": {"tasks": own},
        "test_tasks": {"tasks": task, "test_tasks": own},
        "mixture": {"tasks": Mixture(tasks=(task, own))},
    }
    cells = small_study(["attention"]).replace(**given[place]).cells()
    assert out_of_date(cells, [tmp_path]) == []
    file.write_text(file.read_text() + "# edited\n")
    assert len(out_of_date(cells, [tmp_path])) == len(cells)
