"""A class is what its file says, whatever else has the name of the file or of the class."""

import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

import recollect as rc
from recollect.errors import UserError

pytestmark = pytest.mark.slow

MIXER = """
from torch import nn

class Mine(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x):
        return {scale} * self.linear(x.cumsum(1))
"""


@pytest.fixture
def paths(monkeypatch):
    """The import path, left as it was."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def write(file: Path, scale: int = 1, more: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(more + MIXER.format(scale=scale))
    return file


@pytest.mark.parametrize("name", ["mine", "random", "torch", "my-mixer", "mine.v2"])
@pytest.mark.usefixtures("paths")
def test_two_files_of_one_name_are_two_classes(tmp_path: Path, name):
    files = [write(tmp_path / folder / f"{name}.py", i) for i, folder in enumerate("ab")]
    specs = [rc.mixer(f"{file}:Mine") for file in files]
    assert specs[0].cls is not specs[1].cls
    assert rc.mixer(specs[1].cls) == specs[1]
    stored = [spec.model_dump(mode="json") for spec in specs]
    assert [each["mixer"] for each in stored] == [f"{name}:Mine"] * 2
    assert stored[0]["source"] != stored[1]["source"]
    for spec, each in zip(specs, stored, strict=True):
        assert rc.MixerSpec(**each).cls is spec.cls
        assert pickle.loads(pickle.dumps(spec)).cls is spec.cls


@pytest.mark.usefixtures("paths")
def test_a_class_that_its_name_does_not_find_is_refused(tmp_path: Path):
    def make() -> type[nn.Module]:
        class Made(nn.Module):
            pass

        return Made

    with pytest.raises(UserError, match="top level"):
        rc.mixer(make())
    file = write(tmp_path / "twice.py", 1)
    first = rc.mixer(f"{file}:Mine").cls
    module = sys.modules[first.__module__]
    again = type("Mine", (first,), {"__module__": module.__name__})
    module.Mine = again
    with pytest.raises(UserError, match="was defined again since: import it again"):
        rc.mixer(first)
    assert rc.mixer(again).cls is again


@pytest.mark.usefixtures("paths")
def test_a_class_of_a_module_that_was_loaded_again_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "loaded_twice.py")
    module = importlib.import_module("loaded_twice")
    first = module.Mine
    importlib.reload(module)
    with pytest.raises(UserError, match="loaded_twice:Mine was defined again since"):
        rc.mixer(first)
    assert rc.mixer(module.Mine).cls is module.Mine


def test_a_function_that_its_name_does_not_find_is_told_what_functions_need():
    with pytest.raises(UserError, match="define it with `def` at the top level") as refused:
        rc.TrainConfig(metrics=lambda logits, _: logits[:, 0, 0])
    assert "constructor" not in str(refused.value)


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.usefixtures("paths")
def test_what_lies_beside_a_file_is_what_it_imports(tmp_path: Path, lazily):
    """Or is refused, since a process has one module of a name."""
    name = f"beside_{lazily}"
    statement = f"def f():\n    import {name}\n" if lazily else f"import {name}\n"
    for folder in "ab":
        write(tmp_path / folder / "mine.py", more=statement)
        (tmp_path / folder / f"{name}.py").write_text(f"X = {folder!r}")
    rc.mixer(f"{tmp_path / 'a' / 'mine.py'}:Mine")
    with pytest.raises(UserError, match=f"imports {name} from its own folder"):
        rc.mixer(f"{tmp_path / 'b' / 'mine.py'}:Mine")


@pytest.mark.usefixtures("paths")
def test_a_file_of_a_package_is_part_of_it(tmp_path: Path):
    for folder in "ab":
        package = tmp_path / folder / "my_package" / "inner"
        write(package / "mine.py", more="from .. import scale\n")
        for init in (package, package.parent):
            (init / "__init__.py").write_text("")
        (package.parent / "scale.py").write_text("X = 1")
    spec = rc.mixer(f"{tmp_path / 'a/my_package/inner/mine.py'}:Mine")
    assert spec.mixer == "my_package.inner.mine:Mine" or spec.mixer.endswith("mine.py:Mine")
    assert spec.model_dump()["mixer"] == "my_package.inner.mine:Mine"
    with pytest.raises(UserError, match=r"my_package.* is already imported from"):
        rc.mixer(f"{tmp_path / 'b/my_package/inner/mine.py'}:Mine")


def test_a_class_without_a_source_can_be_trained_but_not_stored(monkeypatch):
    module = type(sys)("typed_in")
    monkeypatch.setitem(sys.modules, "typed_in", module)
    exec(MIXER.format(scale=1).replace("class ", "__name__ = 'typed_in'\nclass "), vars(module))
    task = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)
    train = rc.TrainConfig(steps=1, batch_size=2, valid_examples=2, test_examples=2)
    config = rc.ModelConfig(mixer=module.Mine, d_model=8, n_layers=1)
    assert rc.train(config, task, train).key is None
    with pytest.raises(UserError, match="put the class into a file"):
        rc.Study("typed", tasks=[task], models=[config], train=train)


SCRIPT = """
import recollect as rc
{mixer}
def study():
    return rc.Study(
        "s",
        tasks=[rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)],
        models=rc.models_grid([Mine], d_model=[8], n_layers=[1]),
        train=rc.TrainConfig(
            steps=2, batch_size=2, valid_examples=2, test_examples=2, eval_every=1
        ),
        search=rc.FixedGrid(rates=[1e-2]),
        seeds=[1],
    )

if __name__ == "__main__":
    print(rc.run(study(), store="s.db", workers=1).cells["finished"].all())
"""


@pytest.mark.usefixtures("paths")
def test_a_script_and_a_file_are_one_class_and_workers_find_it(tmp_path: Path):
    """One file has the name of a module of Python; neither is in the current folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script, file = tmp_path / "mine.py", tmp_path / "files" / "statistics.py"
    for each in (script, file):
        each.parent.mkdir(exist_ok=True)
        each.write_text(SCRIPT.format(mixer=MIXER.format(scale=1)))
    cli = ("-m", "recollect.cli", "run", f"{file}:study", "--store", "s.db", "--workers", "1")
    for words, folder in (((script,), tmp_path), (cli, elsewhere)):
        subprocess.run([sys.executable, *words], cwd=folder, check=True)
    for folder, ran in ((tmp_path, script), (elsewhere, file)):
        with rc.Store(folder / "s.db") as store:
            (cell,) = store.cells("s")
            assert len(store.trials(cell)) == 1
        stored = cell.template["model"]["mixer"][0]
        assert stored == rc.mixer(f"{ran}:Mine").model_dump(mode="json")


@pytest.mark.usefixtures("paths")
@pytest.mark.parametrize("statement", ["from wrapped import Mixer", "from wrapped import a, b"])
def test_a_file_with_the_name_of_what_it_wraps_is_refused(tmp_path: Path, monkeypatch, statement):
    """In the current folder, which a script and `python -m` search first."""
    file = tmp_path / "wrapped.py"
    file.write_text(statement)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="has the name of the module wrapped that it imports"):
        rc.mixer(f"{file}:Mixer")
