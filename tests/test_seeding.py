import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import recollect as rc
from recollect.seeding import generator_seed
from recollect.training.config import Seeds, TrialConfig

TASK = rc.MQAR(seq_len=8, num_kv_pairs=1, vocab_size=16)
MODEL = rc.ModelConfig(mixer="attention", d_model=8, n_layers=1)
SHORT = rc.TrainConfig(steps=1, batch_size=2, valid_examples=2, test_examples=2, eval_every=1)


def weights(seed: int) -> torch.Tensor:
    return MODEL.build(TASK, seed=seed).embedding.weight


@pytest.mark.parametrize(
    "seeds", [(1, 1 + 2**32), (0, 2**32, 2**63 - 2**32), (-1, 2**32 - 1), (-(2**63), 0, 10**30)]
)
def test_every_bit_of_a_seed_counts(seeds):
    drawn = [weights(seed) for seed in seeds]
    for i, one in enumerate(drawn):
        assert torch.equal(one, weights(seeds[i]))
        assert not any(torch.equal(one, other) for other in drawn[:i])


@given(st.integers(0, 2**32 - 1))
def test_seeds_that_a_generator_reads_whole_stay(seed):
    assert generator_seed(seed) == seed


@given(st.integers(), st.integers(-(2**31), 2**31))
def test_seeds_alike_in_their_last_bits_are_told_apart(seed, turns):
    other = seed + turns * 2**32
    alike = generator_seed(seed) % 2**32 == generator_seed(other) % 2**32
    assert alike == (turns == 0)


@pytest.mark.parametrize("seed", [2**63, 2**64 + 1, -(2**63) - 1, 10**30])
def test_a_seed_that_no_store_holds_is_refused_before_training(seed):
    refused = pytest.raises(rc.UserError, match=rf"the seed {seed} cannot be stored: .*2\^63")
    with refused:
        rc.train(MODEL, TASK, SHORT, seed=seed, device="cpu")
    with refused:
        rc.Study("large", tasks=[TASK], models=[MODEL], seeds=[1, seed])
    with pytest.raises(rc.UserError, match=rf"^Study: seeds.0: the seed {seed} cannot .* - 1$"):
        rc.Study("large", tasks=[TASK], models=[MODEL], seeds=[seed])


def test_the_extreme_seeds_are_trained_and_stored(tmp_path):
    seeds = [1, 1 + 2**32, 2**63 - 1, -1, -(2**63)]
    search = rc.FixedGrid(rates=[1e-2])
    study = rc.Study("s", tasks=[TASK], models=[MODEL], train=SHORT, search=search, seeds=seeds)
    (row,) = rc.run(study, store=tmp_path / "store.db", workers=0).cells.to_dict("records")
    assert row["seeds"] == len(seeds)
    (cell,) = study.cells()
    train = SHORT.replace(learning_rate=1e-2)
    keys = [TrialConfig(task=TASK, model=MODEL, train=train, seeds=Seeds.of(s)).key for s in seeds]
    assert keys == [cell.key(1e-2, seed) for seed in seeds]
