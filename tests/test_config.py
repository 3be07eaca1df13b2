"""Configs: what they accept, and what they say of what they do not."""

import numpy as np
import pytest

import recollect as rc

TASK = rc.MQAR(seq_len=8, num_kv_pairs=2, vocab_size=32)


@pytest.mark.parametrize(
    ("config", "name"), [(rc.TrainConfig(), "steps"), (TASK, "seq_len"), (rc.Init(), "unknown")]
)
def test_a_change_of_a_config_names_replace(config, name):
    message = rf"{type(config).__name__} cannot be changed: use \.replace\({name}=\.\.\.\)"
    with pytest.raises(rc.UserError, match=message):
        setattr(config, name, 3)


def test_one_value_is_accepted_where_several_are():
    longer = rc.MQAR(seq_len=16, num_kv_pairs=2, vocab_size=32)
    assert rc.Mixture(tasks=TASK) == rc.Mixture(tasks=[TASK])
    model = rc.ModelConfig(mixer="attention", d_model=8, n_layers=1)
    quick = rc.TrainConfig(steps=1, batch_size=2, valid_examples=2, test_examples=2)
    found = rc.train(model.replace(positions=None), TASK, quick, test_tasks=longer, device="cpu")
    assert list(found.test) == [TASK.label, longer.label]
    one, several = (
        rc.Study("s", tasks=TASK, models=model, seeds=seeds, variants=variants)
        for seeds, variants in (
            (np.int64(1), rc.Variant(train={"steps": 3})),
            ([1], [rc.Variant(train={"steps": 3})]),
        )
    )
    assert one == several
    assert type(one.seeds[0]) is int


@pytest.mark.parametrize("seeds", [True, np.bool_(True), 1.5, np.float64(1.5), "1x"])
def test_what_is_no_seed_is_refused(seeds):
    with pytest.raises(rc.UserError, match="seeds"):
        rc.Study("s", tasks=TASK, models=rc.ModelConfig(mixer="attention", d_model=8), seeds=seeds)
