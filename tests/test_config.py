"""Configs: what they accept, and what they say of what they do not."""

import pytest

import recollect as rc

TASK = rc.MQAR(seq_len=8, num_kv_pairs=2, vocab_size=16)


@pytest.mark.parametrize(
    ("config", "name"), [(rc.TrainConfig(), "steps"), (TASK, "seq_len"), (rc.Init(), "unknown")]
)
def test_a_change_of_a_config_names_replace(config, name):
    message = rf"{type(config).__name__} cannot be changed: use \.replace\({name}=\.\.\.\)"
    with pytest.raises(rc.UserError, match=message):
        setattr(config, name, 3)
