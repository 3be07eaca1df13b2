"""Read the file of `recollect bench mixers --out FILE` for figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from recollect.bench.measurement import Measurement
from recollect.errors import UserError

QUANTITIES = ("decoding", "state")


def read_bench(path: Path) -> pd.DataFrame:
    """Read the decoding speed of one layer: one row per mixer, width and length.

    The columns are `mixer`, `d_model`, `length`, `decoding` in tokens per second, and `state` in
    bytes.

    Raises:
        UserError: if the file cannot be read, was not written by `recollect bench`, or has no
            decoding speed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        measurements = [Measurement(**each) for each in document["measurements"]]
        rows = _rows([each for each in measurements if each.benchmark == "mixers"])
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} was not written by `recollect bench`: expected its --out or --json output"
        ) from error
    if not rows:
        raise UserError(
            f"{path} has no decoding speed: expected a file of `recollect bench mixers`"
        )
    return pd.DataFrame(rows)


def _rows(measurements: list[Measurement]) -> list[dict[str, Any]]:
    found: dict[tuple[str, int, int], dict[str, float]] = {}
    for each in measurements:
        if each.quantity in QUANTITIES:
            place = each.subject, int(each.setting["d_model"]), int(each.setting["length"])
            found.setdefault(place, {})[each.quantity] = float(each.median)
    return [
        {"mixer": mixer, "d_model": width, "length": length} | {q: values[q] for q in QUANTITIES}
        for (mixer, width, length), values in found.items()
    ]
