"""Tables of a probe's results, by task and size.

All are computed from the answers (`probe.probe`). Accuracies come with their 95 % interval
(`analysis.proportion`, `_low` and `_high`) and the chance level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recollect.analysis.proportion import proportion_interval
from recollect.analysis.student_t import student_t
from recollect.language.slices import range_of


def mqar_frame(answers: pd.DataFrame) -> pd.DataFrame:
    """One row for each number of pairs and distance.

    Columns: `pairs`; `distance`, words between pairs and questions; `prompts`, `answers`,
    `prompt_tokens` (the longest); `accuracy`, `accuracy_low`, `accuracy_high`, `chance`.
    """
    return _summary(answers[answers["task"] == "mqar"], ["pairs", "distance"])


def distance_frame(answers: pd.DataFrame) -> pd.DataFrame:
    """One row for each number of pairs and range of distances to the pair, in tokens.

    Columns: those of `mqar_frame`, with `low` and `high` instead of `distance`: the inclusive ends
    of the range. Ranges double.
    """
    of_task = answers[answers["task"] == "mqar"]
    ranges = range_of(of_task["distance_tokens"].to_numpy())
    ends = {"low": 2 ** (ranges - 1), "high": 2**ranges - 1}
    return _summary(of_task.assign(**ends), ["pairs", "low", "high"])


def copy_frame(answers: pd.DataFrame) -> pd.DataFrame:
    """One row for each length of a string.

    Columns: `words`, the length; those of `mqar_frame` for single words; and `strings`, the
    accuracy of whole strings, with `strings_low`, `strings_high` and `strings_chance`.
    """
    of_task = answers[answers["task"] == "copy"]
    whole = of_task.groupby(["words", "prompt"], as_index=False).agg(
        right=("right", "all"), chance=("chance", "prod"), prompt_tokens=("prompt_tokens", "max")
    )
    strings = _summary(whole, ["words"])
    columns = {
        name: name.replace("accuracy", "strings")
        for name in ("accuracy", "accuracy_low", "accuracy_high")
    }
    columns["chance"] = "strings_chance"
    more = strings[["words", *columns]].rename(columns=columns)
    return _summary(of_task, ["words"]).merge(more, on="words")


def repetition_frame(answers: pd.DataFrame) -> pd.DataFrame:
    """One row for each number of repeated words.

    Columns: `length`, their number; those of `mqar_frame`; `first_loss` and `loss`, in nats per
    word at the first and the second occurrence; `score`, the difference of the two, with its 95 %
    interval over prompts (Student's t; NaN with one prompt).
    """
    of_task = answers[answers["task"] == "repetition"]
    losses = of_task.groupby(["length", "prompt"], as_index=False)[["first_loss", "loss"]].mean()
    rows = [{"length": int(length)} | _score(group) for length, group in losses.groupby("length")]
    return _summary(of_task, ["length"]).merge(pd.DataFrame(rows), on="length")


def phonebook_frame(answers: pd.DataFrame) -> pd.DataFrame:
    """One row for each size of the phone book.

    Columns: `entries`; those of `mqar_frame`.
    """
    return _summary(answers[answers["task"] == "phonebook"], ["entries"])


def needle_frame(answers: pd.DataFrame) -> pd.DataFrame:
    """One row for each needle task and size of the haystack.

    Columns: `kind`, the task; `filler`, words of the haystack; those of `mqar_frame`.
    """
    of_task = answers[answers["task"] == "niah"]
    kinds = of_task.groupby("kind", sort=False)
    frames = [_summary(rows, ["filler"]).assign(kind=kind) for kind, rows in kinds]
    frame = pd.concat(frames, ignore_index=True)
    return frame[["kind", *frame.columns.drop("kind")]]


def _score(prompts: pd.DataFrame) -> dict[str, float]:
    """Losses and score of prompts of one length."""
    smaller = (prompts["first_loss"] - prompts["loss"]).to_numpy(np.float64)
    middle, count = float(smaller.mean()), len(smaller)
    reach = np.nan
    if count > 1:
        error = smaller.std(ddof=1) / np.sqrt(count)
        reach = float(student_t(0.975, np.array(count - 1.0)) * error)
    return {
        "first_loss": float(prompts["first_loss"].mean()),
        "loss": float(prompts["loss"].mean()),
        "score": middle,
        "score_low": middle - reach,
        "score_high": middle + reach,
    }


def _summary(answers: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    groups: Any = answers.groupby(by, sort=True)
    rows = [dict(zip(by, map(int, key), strict=True)) | _of(group) for key, group in groups]
    return pd.DataFrame(rows)


def _of(group: pd.DataFrame) -> dict[str, Any]:
    by_prompt = group.groupby("prompt")["right"]
    right, answers = by_prompt.sum().to_numpy(np.int64), by_prompt.size().to_numpy(np.int64)
    low, high = proportion_interval(right, answers)
    return {
        "prompts": len(answers),
        "answers": len(group),
        "prompt_tokens": int(group["prompt_tokens"].max()),
        "accuracy": float(group["right"].mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "chance": float(group["chance"].mean()),
    }
