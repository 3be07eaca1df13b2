"""Figures look the same whatever is set for matplotlib, and print names as they are."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from drawing_script import NAMES, main

from recollect.reports.canvas import Figure, Line2D, drawing
from recollect.reports.panels import place_legend, power_of_ten
from recollect.reports.style import save

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Glyph"),  # the font has no Chinese
]
HOSTILE = """
backend: none_such
text.usetex: True
figure.facecolor: black
axes.facecolor: black
lines.linewidth: 20
savefig.bbox: tight
savefig.transparent: True
font.family: none such
axes.formatter.use_locale: True
"""


def test_settings_of_the_user_change_nothing(tmp_path: Path):
    main(str(tmp_path / "here.svg"))
    (tmp_path / "matplotlibrc").write_text(HOSTILE)
    script = Path(__file__).with_name("drawing_script.py")
    subprocess.run(
        [sys.executable, script, "there.svg"],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "none_such"},
        capture_output=True,
        check=True,
    )
    assert (tmp_path / "there.svg").read_bytes() == (tmp_path / "here.svg").read_bytes()


def test_names_are_printed_as_they_are(tmp_path: Path):
    main(str(tmp_path / "figure.svg"))
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    for name in NAMES[1:]:
        assert name.replace("&", "&amp;") in text
    assert "$10" not in text
    assert "10⁻³" in text


def test_a_style_of_the_user_is_left_as_it_was(tmp_path: Path):
    with matplotlib.rc_context({"font.size": 30, "text.parse_math": True}):
        with drawing({"axes.titlesize": 5}):
            figure = Figure()
            assert figure.subplots().title.get_fontsize() == 5
        place_legend(figure, [Line2D([], [], label="a")])
        save(figure, tmp_path / "figure.png")
        assert matplotlib.rcParams["font.size"] == 30
        assert matplotlib.rcParams["text.parse_math"]


@pytest.mark.parametrize(
    ("value", "text"), [(1e-3, "10⁻³"), (1.0, "10⁰"), (1e12, "10¹²"), (9.999999e-8, "10⁻⁷")]
)
def test_decades_are_text(value, text):
    assert power_of_ten(value) == text
