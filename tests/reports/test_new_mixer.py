"""A new mixer is one file and one decorator: no other list has to name it."""

import pytest
from made_frames import make_frames
from page_store import NAME, made_study, make_store
from torch import nn

from recollect.cli.report_page import page_data
from recollect.mixers.catalogue import MIXERS, register_mixer
from recollect.papers.zoo import plain_model, zoo
from recollect.reports.figures import accuracy_figure
from recollect.reports.style import COLOURS, MARKERS, looks
from recollect.suites.suite import suite_studies


@pytest.fixture
def made(monkeypatch):
    """A mixer in the catalogue, registered without a look."""
    MIXERS.names()  # all others are registered first
    monkeypatch.setattr(MIXERS, "_entries", dict(MIXERS._entries))

    class Made(nn.Module):
        def __init__(self, d_model: int) -> None:
            super().__init__()
            self.proj = nn.Linear(d_model, d_model)

        def forward(self, x):
            return self.proj(x)

    Made.__module__ = "recollect.mixers.made"
    facts = {"family": "made", "title": "Made Mixer", "paper": "2601.00001", "year": 2026}
    register_mixer("made", looks_back=False, **facts)(Made)
    return "made"


def test_the_zoo_has_it_behind_a_short_convolution(made):
    (model,) = [model for model in zoo("laptop").models if model.label == made]
    assert model.short_conv == 3
    assert made in {cell.mixer for cell in zoo("laptop").cells()}


def test_suites_take_it(made):
    studies = suite_studies("tracking", [plain_model(made)], "quick")
    assert {cell.mixer for study in studies for cell in study.cells()} == {made}


def test_its_look_depends_on_its_name_alone(made):
    own = looks([made])[made]
    assert own.colour in COLOURS
    assert own.marker in MARKERS
    company = looks(["Mine", made])
    assert company[made] == own
    shipped = [name for name in MIXERS if name != made]
    assert looks([made, *shipped]) | looks(shipped) == looks([made, *shipped])


def test_figures_and_the_page_print_its_title(made, tmp_path):
    frames = make_frames(("attention", made))
    (drawn,) = accuracy_figure(frames.cells).legends
    assert "Made Mixer" in [text.get_text() for text in drawn.get_texts()]
    make_store(tmp_path / "s.db", made_study(("mamba", made), widths=(32,), seeds=(1,)))
    (page,) = page_data([NAME], tmp_path / "s.db")
    assert "Made Mixer" in str(page)
