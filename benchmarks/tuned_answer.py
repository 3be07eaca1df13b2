"""How long a tuned answer takes: three mixers at two widths on MQAR (64, 4), three seeds.

    python benchmarks/tuned_answer.py --store FILE

DeltaNet and Mamba have a short convolution of width 4 of their own, so attention is given one. The
rates that are tried are half a decade apart.

Give it a store of its own, which does not exist yet: what is stored is not trained again, and not
timed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import recollect as rc
from recollect.reports.tables import in_markdown, readable

STUDY = rc.Study(
    "tuned-answer",
    tasks=[rc.MQAR(seq_len=64, num_kv_pairs=4)],
    models=rc.models_grid(
        [rc.mixer("attention", qkv_conv=4), "delta-net", "mamba"], d_model=[32, 64], n_layers=[2]
    ),
    train=rc.TrainConfig(steps=1000, batch_size=64, warmup=0.0, eval_every=50, valid_examples=500),
    search=rc.BestRateSearch(low=3e-3, high=3e-2, refine=0),
    seeds=(42, 123, 777),
)


def main() -> None:
    """Print the table, and the minutes that it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True)
    store = Path(parser.parse_args().store)
    if store.exists():
        parser.error(f"{store} exists: what it holds would not be timed")
    started = time.perf_counter()
    found = rc.run(STUDY, store=store)
    minutes = (time.perf_counter() - started) / 60
    print(in_markdown(*readable(found.cells)))
    print(f"\n{minutes:.1f} minutes")


if __name__ == "__main__":
    main()
