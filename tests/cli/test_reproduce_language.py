"""`recollect reproduce` of language models: tuned, trained, compared, kept; and one that dies."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import matplotlib.image
import pandas as pd
import pytest

import forked
from recollect.language.model_folder import is_model_folder
from recollect.studies.results import trials_frame
from recollect.studies.store import Store
from recollect.training.device import processor_name

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("tiny_language.py")
NAMES = ("attention", "hyena")


def models_of(folder: Path) -> Path:
    """Where those of the only plan lie."""
    (found,) = (folder / "s-models").iterdir()
    return found


def trained(folder: Path) -> pd.DataFrame:
    """The trials of the trainings at length, by model and seed."""
    with Store(folder / "s.db", must_exist=True) as store:
        trials = trials_frame(store, "tiny-language-laptop-trained")
    names = trials["mixer"].where(trials["mixer"] == "attention", "hyena")
    return trials.assign(model=names).set_index(["model", "seed"]).sort_index()


def run(folder: Path, *words: str) -> CompletedProcess:
    command = ["reproduce", "tiny-language", "--store", "s.db", "--device", "cpu"]
    return forked.run(PROGRAM, *command, *words, folder=folder, env={"RECOLLECT_TEXT": "kept"})


def write_text(folder: Path) -> None:
    stories = ["the cat sat on the mat and saw another cat", "a mat, a cat, a mat", "cat the run"]
    lines = [f"{i} times {stories[i % 3]} {i * 7919}" for i in range(150)]
    text = "".join(json.dumps({"text": line}) + "\n" for line in lines)
    (folder / "story.jsonl").write_text(text)


@pytest.fixture(scope="module")
def died(tmp_path_factory):
    """Run in two processes, of which each that trained the second model was killed."""
    folder = tmp_path_factory.mktemp("died")
    write_text(folder)
    (folder / "fatal").touch()
    return folder, run(folder, "--workers", "2")


@pytest.fixture(scope="module")
def finished(died):
    """The same command once more, for what failed too; and what was trained before."""
    folder, _ = died
    before = trained(folder)
    (folder / "fatal").unlink()
    again = run(folder, "--workers", "0", "--out", "out", "--retry-failed")
    return folder, before, again


def test_a_crash_is_reported_and_loses_nothing_else(died):
    folder, answer = died
    assert answer.returncode == 2
    message = answer.stderr.splitlines()[-1]
    assert message.startswith("Error: 1 trials of tiny-language-laptop-trained failed")
    assert "run the same command with --retry-failed" in message
    assert "was killed" in answer.stderr
    assert "it will be run once more" in answer.stderr
    trials = trained(folder)
    assert list(trials.loc["attention", "status"]) == ["complete", "complete"]
    assert list(trials.loc["hyena", "status"]) == ["failed"]
    assert not (folder / "s-models").exists()


def test_the_same_command_goes_on_where_it_was(finished):
    folder, before, answer = finished
    assert answer.returncode == 0, answer.stderr
    after = trained(folder)
    assert list(after["status"]) == ["complete"] * 3
    columns = ["key", "seconds", "valid_loss"]
    assert before.loc["attention", columns].equals(after.loc["attention", columns])
    assert after.loc["hyena", "key"].tolist() == before.loc["hyena", "key"].tolist()


def test_each_model_has_the_rate_that_its_search_chose(finished):
    folder, _, _ = finished
    models = pd.read_csv(models_of(folder) / "models.csv").set_index("model")
    after = trained(folder)
    for name in NAMES:
        key = after.loc[(name, 42), "key"]
        assert (after.loc[name, "learning_rate"] == models.loc[name, "learning_rate"]).all()
        assert (after.loc[name, "step"] == 12).all()
        assert is_model_folder(models_of(folder) / f"{name}-{key[:8]}")
    assert (models["tokens_read"] == 12 * 8 * 16).all()
    trials = pd.read_csv(models_of(folder) / "trials.csv")
    assert len(trials) >= 2 * 2 + 3, "short ones at two rates at least, and the long ones"
    assert trials["key"].is_unique


def test_the_figures(finished):
    folder, _, _ = finished
    names = {f"tiny-language{end}" for end in ("", "-curve", "-train-count", "-distance")}
    assert {path.stem for path in (folder / "out").iterdir()} == names
    for name in names:
        assert matplotlib.image.imread(folder / "out" / f"{name}.png")[..., :3].std() > 0.05


def test_the_page_is_drawn_from_what_is_kept_alone(finished, tmp_path):
    """Without text and models."""
    folder, _, _ = finished
    (tmp_path / models_of(folder).relative_to(folder)).mkdir(parents=True)
    for path in [folder / "s.db", *models_of(folder).glob("*.*")]:
        (tmp_path / path.relative_to(folder)).write_bytes(path.read_bytes())
    answer = run(tmp_path, "--page", "page.md", "--json")
    assert answer.returncode == 0, answer.stderr
    (entry,) = json.loads(answer.stdout)
    gap = pd.read_csv(models_of(folder) / "gap.csv")
    (kept,) = entry["language"]
    assert [row["log_perplexity"] for row in kept["gap"]] == list(gap["log_perplexity"])
    assert entry["claims"][0]["verdict"] in ("reproduced", "contradicted", "undecided")
    assert list(gap["seeds"][:2]) == [2, 1]
    page = (tmp_path / "page.md").read_text()
    for part in (
        "    recollect reproduce tiny-language --scale laptop\n",
        "](figures/page-tiny-language-distance.png)",
        "| Hyena |",
        "| 358M | 10.07 (2.31) | 3.83 (1.34) |",
        "in training). Of the bounds below, this one",
        "| any |",
        f"({processor_name()}, ",
    ):
        assert part in page
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "page-tiny-language.png",
        "page-tiny-language-curve.png",
        "page-tiny-language-train-count.png",
        "page-tiny-language-distance.png",
    }


def test_another_text_in_the_same_store(finished, tmp_path):
    """The store then has cells of both, under one name."""
    folder, _, _ = finished
    (tmp_path / "s.db").write_bytes((folder / "s.db").read_bytes())
    stories = (folder / "story.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "other.jsonl").write_text("".join(stories[:120]))
    answer = run(tmp_path, "--text", "other.jsonl", "--workers", "0")
    assert answer.returncode == 0, answer.stderr
    trials, before = (pd.read_csv(models_of(each) / "trials.csv") for each in (tmp_path, folder))
    assert len(trials) >= 2 * 2 + 3
    assert not set(trials["key"]) & set(before["key"])
    assert list(pd.read_csv(models_of(tmp_path) / "models.csv")["model"]) == [*NAMES]


def test_tables_of_other_settings_do_not_count(finished):
    folder, _, _ = finished
    answer = run(folder, "--text", "another.jsonl", "--page", "other.md")
    assert answer.returncode == 0, answer.stderr
    assert "not finished: tiny-language-laptop" in answer.stdout
    assert "Nothing has been run." in (folder / "other.md").read_text()
