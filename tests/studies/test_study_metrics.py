"""A further metric from the trial to the tables, and searches that go by it."""

import math
from pathlib import Path

import pytest
from matplotlib.text import Text
from small import TRAIN, Diverging, run_here, small_study
from torch import Tensor

import recollect as rc
from recollect.errors import UserError
from recollect.reports.study_figures import StudyFrames, study_figure
from recollect.reports.tables import readable
from recollect.studies.events import TrialEnded
from recollect.studies.results import cells_frame, history_frame, metrics_frame, trials_frame
from recollect.studies.store import Store
from recollect.studies.versions import out_of_date
from recollect.tasks.batch import Batch

pytestmark = pytest.mark.slow


@rc.register_metric("likeliest_value")
def likeliest_value(logits: Tensor, batch: Batch) -> Tensor:
    """The highest probability that a model gives at the first query: any model has some."""
    return logits[:, 0].softmax(dim=-1).amax(dim=-1)


@rc.register_metric("entropy", lower_is_better=True, guess=math.log(64))
def entropy(logits: Tensor, batch: Batch) -> Tensor:
    """Of the first answer."""
    log_p = logits[:, 0].log_softmax(dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1)


@rc.register_metric("size")
def size(logits: Tensor, batch: Batch) -> Tensor:
    """No share of anything."""
    return 3 + logits[:, 0].square().mean(dim=-1)


@rc.register_metric("of_small_logits")
def of_small_logits(logits: Tensor, batch: Batch) -> Tensor:
    """Defined where no logit is large, as after training with low rates."""
    return likeliest_value(logits, batch).where(logits.abs().amax() < 1, math.nan)


METRICS = ("likeliest_value", "entropy", "size")


def study(**changes) -> rc.Study:
    return small_study(["attention"], train=TRAIN.replace(metrics=METRICS), **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("metrics") / "results.db") as opened:
        run_here(study(), opened)
        yield opened


def test_tables_have_them(store: Store):
    (cell,) = cells_frame(store, "small").to_dict("records")
    trials, history = trials_frame(store, "small"), history_frame(store, "small")
    reported = trials[trials["chosen"]]
    for name in METRICS:
        assert cell[f"test_{name}"] == pytest.approx(reported[f"test_{name}"].mean())
        assert history[f"valid_{name}"].notna().all()
    long = metrics_frame(store, "small")
    tested = long[(long["split"] == "test") & (long["metric"] == "entropy")]
    assert sorted(tested["value"]) == sorted(trials["test_entropy"])
    assert (long.loc[long["metric"] == "entropy", "error"] > 0).all()
    assert set(history["learning_rate"]) == {1e-3, 1e-2}, "the peak, not the schedule's"


def test_the_table_that_is_read_and_the_figure_have_them(store: Store):
    cells = cells_frame(store, "small")
    headings, (row,) = readable(cells)
    place = headings.index("test entropy (range over seeds)")
    assert row[place].startswith(f"{cells['test_entropy'][0]:.3g}")
    frames = StudyFrames(store, "small")
    figure, _ = study_figure("accuracy", frames, metric="entropy")
    assert "test entropy" in {text.get_text() for text in figure.findobj(Text)}
    with pytest.raises(UserError, match=r"'entropi'.*did you mean 'entropy'"):
        study_figure("accuracy", frames, metric="entropi")
    with pytest.raises(UserError, match="needs the kind 'accuracy'"):
        study_figure("training", frames, metric="entropy")


@pytest.mark.parametrize(
    ("metric", "better"),
    [("likeliest_value", max), ("entropy", min), ("loss", min), ("example_accuracy", max)],
)
def test_a_search_goes_by_a_metric(tmp_path: Path, metric, better):
    """The rate that is chosen is the best by it on validation data."""
    by = rc.FixedGrid(rates=[1e-3, 1e-2, 1e-1], metric=metric)
    with Store(tmp_path / "results.db") as store:
        run_here(study(search=by), store)
        history, trials = history_frame(store, "small"), trials_frame(store, "small")
    last = history[history["step"] == 8].groupby("learning_rate")[f"valid_{metric}"].mean()
    chosen = trials.loc[trials["chosen"], "learning_rate"].unique()
    assert len(chosen) == 1
    if metric in ("entropy", "loss"):
        assert last[chosen[0]] == better(last)
    assert last[chosen[0]] == pytest.approx(better(last), abs=0.1)


def test_the_metric_of_a_search_is_no_part_of_a_key_and_left_out_if_not_given():
    plain, by = study(), study(search=rc.FixedGrid(rates=[1e-3], metric="entropy"))
    assert plain.cells()[0].key(1e-3, 1) == by.cells()[0].key(1e-3, 1)
    assert "metric" not in plain.cells()[0].model_dump(mode="json")["search"]
    assert by.cells()[0].model_dump(mode="json")["search"]["metric"] == "entropy"


@pytest.mark.parametrize("metric", ["loss", "example_accuracy", "likeliest_value", "entropy"])
def test_chance_is_that_of_accuracy_whatever_the_search_goes_by(tmp_path: Path, metric):
    """And what guesses has not learnt, whatever its loss was before."""
    by = rc.FixedGrid(rates=[1e-4], metric=metric)
    with Store(tmp_path / "results.db") as store:
        run_here(study(search=by), store)
        (cell,) = cells_frame(store, "small").to_dict("records")
    assert cell["chance"] == 0.5
    if metric == "loss":
        assert cell["test_loss"] > cell["marginal_loss"]
        assert not cell["learnt"]


def test_an_edited_metric_makes_rows_out_of_date(tmp_path: Path):
    file = tmp_path / "edited_metric.py"
    file.write_text("def mean(logits, batch):\n    return logits.mean(dim=(1, 2))\n")
    train = TRAIN.replace(metrics=(f"{file}:mean",))
    cells = small_study(["attention"], train=train).cells()
    assert out_of_date(cells, [tmp_path]) == []
    file.write_text("def mean(logits, batch):\n    return -logits.mean(dim=(1, 2))\n")
    (message,) = out_of_date(cells, [tmp_path])
    assert "edited_metric.py" in message


def test_frames_take_the_path_of_a_store(store: Store):
    for frame in (cells_frame, trials_frame, history_frame, metrics_frame):
        assert frame(str(store.path), "small").equals(frame(store, "small"))
    with pytest.raises(UserError, match="there is no store"):
        metrics_frame("absent.db", "small")
    with pytest.raises(UserError, match=r"3: expected an rc\.Store, or the path of one"):
        metrics_frame(3, "small")


def test_a_metric_of_the_other_direction_is_refused_before_training(store: Store, tmp_path: Path):
    file = tmp_path / "of_other_direction.py"
    file.write_text("def entropy(logits, batch):\n    return logits.mean(dim=(1, 2))\n")
    other = study().replace(name="other", train=TRAIN.replace(metrics=f"{file}:entropy"))
    with pytest.raises(UserError, match=r"'entropy', lower is better in .* higher is"):
        run_here(other, store)
    assert store.studies() == ["small"]


def test_variants_share_no_name_of_a_metric(tmp_path: Path):
    """One column would hold what two functions measured."""
    ways = []
    for name in ("a", "b"):
        file = tmp_path / f"{name}_metric.py"
        file.write_text(f"def mean(logits, batch):\n    return logits.mean(dim=(1, 2))  # {name}\n")
        ways.append(rc.Variant(train={"metrics": [f"{file}:mean"]}))
    with pytest.raises(UserError, match="two functions have the name 'mean'"):
        small_study(variants=ways).check()


def test_a_search_by_what_the_trials_do_not_have_is_refused(tmp_path: Path):
    with Store(tmp_path / "results.db") as store:
        with pytest.raises(UserError, match=r"'entropi'.*did you mean 'entropy'"):
            run_here(study(search=rc.FixedGrid(rates=[1e-3], metric="entropi")), store)
        assert store.studies() == []


def test_a_search_by_what_is_no_share_is_refused(tmp_path: Path):
    with (
        Store(tmp_path / "results.db") as store,
        pytest.raises(UserError, match=r"maximises size, .*from 0 to 1"),
    ):
        run_here(study(search=rc.FixedGrid(rates=[1e-3], metric="size")), store)


def test_a_rate_whose_metric_is_nan_is_unknown_and_the_study_goes_on(tmp_path: Path):
    by = rc.FixedGrid(rates=[1e-3, 1e-2, 1.0], metric="of_small_logits")
    with Store(tmp_path / "results.db") as store:
        events = run_here(
            small_study(
                ["attention"], train=TRAIN.replace(metrics=("of_small_logits",)), search=by
            ),
            store,
        )
        (cell,) = cells_frame(store, "small").to_dict("records")
        trials = trials_frame(store, "small")
    assert sum(isinstance(event, TrialEnded) for event in events) == 6
    assert (cell["failed"], cell["finished"], cell["done"]) == (2, False, True)
    assert cell["learning_rate"] in (1e-3, 1e-2)
    failed = trials[trials["status"] == "failed"]
    assert set(failed["learning_rate"]) == {1.0}
    assert failed["failure"].str.contains("uses of_small_logits, which is NaN").all()


def test_a_trial_that_diverged_counts_as_the_worst(tmp_path: Path):
    diverging = small_study([Diverging], train=TRAIN.replace(metrics=METRICS))
    with Store(tmp_path / "results.db") as store:
        run_here(study(), store)
        run_here(diverging.replace(name="diverging"), store)
        trials = trials_frame(store, "diverging")
    assert set(trials["status"]) == {"diverged"}
    assert (trials["test_accuracy"] == 0).all()
