"""Equal keys mean equal numbers: small trials give the losses that they gave before.

`python tests/golden/golden_trials.py` writes the file of these losses.
"""

import pytest
from golden_trials import RAISE, REMAKE, agree, losses, read, trials

GOLDEN, TRIALS = read(), trials()


def test_every_trial_has_its_losses():
    assert GOLDEN.keys() == TRIALS.keys(), REMAKE


@pytest.mark.parametrize("name", TRIALS)
def test_keys_are_as_before(name):
    """Stored trials are found by their keys."""
    assert TRIALS[name].key == GOLDEN[name]["key"], (
        f"the key of {name} has changed, so users' stored trials are run again:"
        f" if that is right, {REMAKE}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIALS)
def test_losses_are_as_before(name):
    ours, theirs = losses(TRIALS[name]), GOLDEN[name]["losses"]
    assert agree(ours, theirs), f"the losses of {name} have changed: {RAISE}: {ours} != {theirs}"
