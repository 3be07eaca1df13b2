"""Frames as `studies.results` makes them, of a study that nobody had to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import product

import numpy as np
import pandas as pd
import torch

from recollect.analysis.attention_map import AttentionMap
from recollect.analysis.dynamics import WHOLE_LAYER, Observation
from recollect.studies.cell_rows import CELL_COLUMNS, TRIAL_COLUMNS
from recollect.studies.observations import StudyObservations

RATES = (1e-4, 1e-3, 1e-2)
SEEDS = (42, 123)
LOSSES = ("train_loss", "valid_loss")
STEPS = (0, 100, 200)


@dataclass(frozen=True)
class Frames:
    cells: pd.DataFrame
    trials: pd.DataFrame
    history: pd.DataFrame


def in_recipes(recipes: Sequence[str]) -> Frames:
    """Six mixers at one width, each in every recipe."""
    mixers = ("attention", "mamba", "hyena", "h3", "based", "delta-net")
    parts = [make_frames(mixers, widths=(64,)) for _ in recipes]
    frames = [
        pd.concat([f.assign(recipe=recipe) for f, recipe in zip(each, recipes, strict=True)])
        for each in zip(*map(astuple, parts), strict=True)
    ]
    return Frames(*(frame.reset_index(drop=True) for frame in frames))


def make_frames(
    mixers: Sequence[str] = ("attention", "mamba"),
    tasks: Sequence[str] = ("mqar-64x4",),
    widths: Sequence[int] = (64, 128),
    depths: Sequence[int] = (2,),
    search_seeds: Sequence[int] = (),
) -> Frames:
    """Every mixer is best at the middle rate; the lowest is stopped early. Where there are search
    seeds, on which accuracies are lower, the highest rate is tried on these alone."""
    cells, trials, history = [], [], []
    for i, (task, mixer, depth, width) in enumerate(product(tasks, mixers, depths, widths)):
        window = 64.0 if mixer == "griffin" else np.nan
        names = dict(
            zip(CELL_COLUMNS, ("made", task, mixer, width, depth, window, ""), strict=True)
        )
        reached = 0.5 + 0.4 * ((i * 7) % 11) / 10
        cells.append(
            names
            | {
                "finished": True,
                "chance": 0.25,
                "marginal_loss": 8.3,
                "learning_rate": RATES[1],
                "lowest_rate": RATES[0],
                "highest_rate": RATES[2],
                "learnt": True,
                "learnt_searching": 0,
                "searching_seeds": 2,
                "budget": 2000,
                "at_edge": False,
                "window": ">=1.0",
                "window_decades": 1.0,
                "window_low": RATES[1],
                "window_high": RATES[2],
                "window_low_open": False,
                "window_high_open": True,
                "choice_merit": reached,
                "test_accuracy": reached,
                "test_accuracy_min": reached - 0.05,
                "test_accuracy_max": reached + 0.05,
                "seeds": len(SEEDS),
                "parameters": 8192 * width,
                "steps": 200.0,
                "trials": len(RATES) * len(SEEDS),
                "failed": 0,
                "diverged": 0,
            }
        )
        for rate, seed in product(RATES, (*search_seeds, *SEEDS)):
            searching = seed in search_seeds
            if rate == RATES[2] and search_seeds and not searching:
                continue
            accuracy = {RATES[0]: 0.2, RATES[1]: reached, RATES[2]: 0.95 * reached}[rate]
            accuracy += 0.02 * (seed == SEEDS[0]) - 0.3 * searching
            key: dict[str, object] = {"learning_rate": rate, "seed": seed}
            key |= {"key": f"{i}-{rate}-{seed}", "chosen": rate == RATES[1]}
            key |= {"searching": searching}
            status = "stopped" if rate == RATES[0] else "complete"
            outcome = {"status": status, "step": 200, "valid_accuracy": accuracy}
            outcome |= {"test_accuracy": np.nan if status == "stopped" else accuracy}
            trials.append(names | key | outcome | {"valid_loss": 2.0, "seconds": 1.5})
            valid = {"valid_accuracy": accuracy}
            history += [
                names | key | dict.fromkeys(LOSSES, 4.0 / (1 + s)) | {"step": s} | valid
                for s in STEPS
            ]
    return Frames(pd.DataFrame(cells), pd.DataFrame(trials), pd.DataFrame(history))


def with_unlearnt(frames: Frames, mixer: str, width: int) -> Frames:
    """The frames, a mixer at a width on its plateau at every rate."""
    stuck = {"test_accuracy": 0.24, "test_accuracy_min": 0.23, "test_accuracy_max": 0.25}
    stuck |= {"learnt": False, "window": None}
    stuck |= dict.fromkeys(("window_decades", "window_low", "window_high"), np.nan)
    stuck |= dict.fromkeys(("window_low_open", "window_high_open"), None)

    def at(frame: pd.DataFrame) -> pd.Series:
        return (frame["mixer"] == mixer) & (frame["d_model"] == width)

    cells = frames.cells.astype(dict.fromkeys(("window_low_open", "window_high_open"), object))
    for name, value in stuck.items():
        cells[name] = cells[name].mask(at(cells), value)
    accuracies = [
        frame.assign(valid_accuracy=frame["valid_accuracy"].mask(at(frame), 0.24))
        for frame in (frames.trials, frames.history)
    ]
    return Frames(cells, *accuracies)


def with_diverged(frames: Frames, mixer: str) -> Frames:
    """The frames, every trial of a mixer diverged before its first validation."""
    cells, trials = (frame.copy() for frame in (frames.cells, frames.trials))
    lost = cells["mixer"] == mixer
    unknown = [name for name in cells if name.startswith(("learning_", "test_", "window"))]
    cells[unknown] = cells[unknown].astype(object).mask(lost)
    cells["learnt"] &= ~lost
    cells["diverged"] = cells["trials"].where(lost, 0)
    lost = trials["mixer"] == mixer
    trials.loc[lost, ["status", "valid_accuracy", "chosen"]] = ["diverged", 0.0, False]
    return Frames(cells, trials, frames.history[frames.history["mixer"] != mixer])


LENGTH = 8


def make_observations(frames: Frames) -> StudyObservations:
    """Of the trials at the chosen rates: the last layer becomes an induction head."""
    reported = frames.trials["chosen"] & ~frames.trials["searching"]
    trials = frames.trials[reported][list(TRIAL_COLUMNS)]
    tables: dict[str, list[pd.DataFrame]] = {"scores": [], "gaps": [], "pairs": []}
    for _, trial in trials.iterrows():
        for step in STEPS:
            own = dict(trial) | {"step": step}
            looks = product(range(trial["n_layers"]), (WHOLE_LAYER, 0, 1))
            scores = [
                own | {"layer": layer, "head": head, "previous_token": 0.1, "induction": step / 200}
                for layer, head in looks
            ]
            gaps = [own | {"gap": gap, "accuracy": 1 / gap, "answers": 2} for gap in range(2, 9, 2)]
            pairs = [own | {"pair": pair, "accuracy": step / 200, "answers": 4} for pair in (0, 1)]
            for name, rows in (("scores", scores), ("gaps", gaps), ("pairs", pairs)):
                tables[name].append(pd.DataFrame(rows))
    first = trials.drop_duplicates(list(CELL_COLUMNS))
    weights = torch.ones(LENGTH, LENGTH).tril()
    maps = {
        trial.key: AttentionMap(
            tokens=("k1", "v1", "k2", "v2", "k2", ".", "k1", "."),
            queries=torch.tensor([4, 6]),
            keys=torch.tensor([2, 0]),
            matrices=(weights / weights.sum(1, keepdim=True)).expand(trial.n_layers, -1, -1),
        )
        for trial in first.itertuples()
    }
    dynamics = Observation(**{name: pd.concat(parts) for name, parts in tables.items()})
    return StudyObservations(dynamics, first, maps)
