"""Draws a figure into a file: drawing_script.py FILE."""

import sys
from pathlib import Path

from made_frames import make_frames

from recollect.reports.figures import learning_rate_figure
from recollect.reports.style import save

NAMES = ("attention", "_Mine$x$", "a$b", "50%_#&\\alpha", "混合器")


def main(path: str) -> None:
    frames = make_frames(NAMES, widths=(64,))
    save(learning_rate_figure(frames.cells, frames.trials), Path(path))


if __name__ == "__main__":
    main(sys.argv[1])
