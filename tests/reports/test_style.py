"""A mixer looks the same wherever it can, and unlike any other, for colour-blind readers too."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from recollect.mixers.catalogue import MIXERS
from recollect.reports.style import COLOURS, LOOKS, OWN_COLOURS, dashes, looks
from recollect.reports.titles import title

SHIPPED = sorted(
    (name for name in MIXERS if MIXERS[name].look is not None), key=lambda name: MIXERS[name].look
)

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
VISION = {
    "full": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, seen_by: np.ndarray) -> np.ndarray:
    """CIE L*a*b*, in which 2.3 is a just noticeable difference."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(seen_by @ linear, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart_by_everybody(vision):
    for one, other in combinations((*COLOURS, *OWN_COLOURS), 2):
        distance = np.linalg.norm(lab(one, VISION[vision]) - lab(other, VISION[vision]))
        assert distance > 10, (one, other)


def test_the_looks_of_shipped_mixers_never_change():
    pinned = looks(["attention", "mamba", "hyena", "base-conv", "long-conv"])
    assert {name: (look.colour, look.marker) for name, look in pinned.items()} == {
        "attention": ("#0072B2", "o"),
        "mamba": ("#D55E00", "s"),
        "hyena": ("#009E73", "^"),
        "base-conv": ("#E69F00", "D"),
        "long-conv": ("#CC79A7", "v"),
    }


def test_registered_looks_are_unique():
    numbers = [MIXERS[name].look for name in SHIPPED]
    assert numbers == list(range(len(SHIPPED))), "the next number, or none at all"
    assert len(numbers) <= LOOKS


def test_only_who_would_look_like_another_changes_with_the_company():
    known = SHIPPED[: len(COLOURS)]
    everything = looks([*SHIPPED, "mamba(d_conv=0)"])
    for name in (*known, "mamba(d_conv=0)"):
        assert looks([name])[name] == everything[name]
    assert looks(["retnet", "hyena"])["retnet"] == looks(["retnet"])["retnet"]
    assert looks(["retnet", "mamba"])["retnet"] != looks(["retnet"])["retnet"]


def test_mixers_of_a_figure_differ_in_colour_and_in_marker():
    rng = np.random.default_rng(0)
    most = len(COLOURS) + len(OWN_COLOURS)
    figures = [rng.choice(SHIPPED, most, replace=False) for _ in range(50)]
    variants = [f"mamba(d_conv={width})" for width in range(5)]
    figures += [("hyena", "gla"), ("h3", "h3(x=1)"), ("mamba", *variants, "retnet")]
    for mixers in figures:
        found = looks(mixers)
        assert list(found) == list(mixers)
        assert len({look.colour for look in found.values()}) == len(mixers)
        assert len({look.marker for look in found.values()}) == len(mixers)


def test_no_two_mixers_look_alike():
    own = ["Mine", "Yours", "base-conv+attention"]
    variants = ["mamba(d_conv=0)", "mamba(gate=False)", "Mine [mlp=gelu]"]
    found = looks([*SHIPPED, *own, *variants])
    assert len(set(found.values())) == len(SHIPPED) + len(own) + len(variants)


def test_mixers_of_ones_own_have_colours_of_their_own():
    found = looks(["Mine", "attention", "Yours"])
    assert [found[name].colour for name in ("Mine", "Yours")] == list(OWN_COLOURS[:2])
    assert found["attention"] == looks(["attention"])["attention"]


def test_the_deepest_is_drawn_solid():
    styles = dashes([1, 2, 4, 1])
    assert styles[4] == "-"
    assert len({str(style) for style in styles.values()}) == 3


@pytest.mark.parametrize(
    ("label", "printed"),
    [
        ("mamba(d_conv=0)", "Mamba (d_conv=0)"),
        ("base-conv+attention(window=8)", "BaseConv + Attention (window=8)"),
        ("MyMixer", "MyMixer"),
        ("hyena", "Hyena"),
        ("Hyena", "Hyena (own)"),
        ("mamba [mlp=gelu]", "Mamba [mlp=gelu]"),
        ("MyMixer(x=-1e-05)", "MyMixer (x=-1e-05)"),
    ],
)
def test_titles(label, printed):
    assert title(label) == printed
