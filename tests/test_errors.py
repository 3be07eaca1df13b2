"""What is shown of an exception, and what `exit()` in a user's code becomes."""

import pytest

from recollect.errors import CallsExit, in_a_line, no_exit, summary


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("", ""),
        ("shapes differ", "shapes differ"),
        ("\nshapes differ\nuse another\n", "shapes differ"),
        (
            "The following operation failed in the TorchScript interpreter.\n"
            "Traceback of TorchScript (most recent call last):\n  ...\n"
            "RuntimeError: expected Float but found Double\n",
            "The following operation failed in the TorchScript interpreter."
            " RuntimeError: expected Float but found Double",
        ),
        ("Error(s) in loading:\n\tMissing key: a", "Error(s) in loading: Missing key: a"),
    ],
)
def test_the_line_with_the_reason_is_shown(message, shown):
    assert summary(RuntimeError(message)) == shown


def test_a_whole_message_is_shown_in_one_line():
    assert in_a_line(KeyError()) == "KeyError"
    assert in_a_line(RuntimeError("\nshapes\n\tdiffer ")) == "shapes differ"


@pytest.mark.parametrize(("code", "shown"), [(None, r"exit\(\)"), (1, r"exit\(1\)")])
def test_an_exit_is_an_error_like_any_other(code, shown):
    @no_exit
    def leave():
        raise SystemExit(code)

    with pytest.raises(CallsExit, match=shown):
        leave()
