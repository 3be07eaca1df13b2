"""Messages name what was typed."""

import pytest

from recollect.cli.option_names import as_typed, named
from recollect.errors import UserError

OPTIONS = {"seq_len": "--context", "n": "--n", "end_of_text=False": "--no-end-of-text"}


@pytest.mark.parametrize(
    ("message", "typed"),
    [
        ("seq_len=8: too long", "--context 8: too long"),
        ("Text: seq_len=-1: expected more", "--context -1: expected more"),
        ("a (seq_len=8) and n=3", "a (--context 8) and --n 3"),
        ("use end_of_text=False", "use --no-end-of-text"),
        ("end_of_text=False1", "end_of_text=False1"),
        ("model.seq_len=8, max_seq_len=8, --n=3, seq_len", None),
        ("Text: no text", None),
    ],
)
def test_settings_have_the_names_of_options(message, typed):
    assert named(message, OPTIONS) == (typed or message)


def test_only_wrong_input_is_renamed():
    with pytest.raises(UserError, match=r"^--n 3$"), as_typed(OPTIONS):
        raise UserError("n=3")
    with pytest.raises(KeyError, match="n=3"), as_typed(OPTIONS):
        raise KeyError("n=3")
