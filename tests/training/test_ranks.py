"""How a batch is shared among processes."""

import os
import subprocess
import sys

import pytest
import ranks_script
import torch
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import UserError
from recollect.training.ranks import ALONE, Ranks, own_device


@given(n=st.integers(1, 300), count=st.integers(1, 40))
def test_every_example_is_for_one_process(n, count):
    if n < count:
        with pytest.raises(UserError, match=f"{n} examples for {count} processes"):
            Ranks(0, count).rows(n)
        return
    shares = [list(range(n))[Ranks(rank, count).rows(n)] for rank in range(count)]
    assert [example for share in shares for example in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_there_is_nothing_to_add_up():
    tensor = torch.tensor([1.0, 2.0])
    ALONE.add_up([tensor])
    assert tensor.tolist() == [1.0, 2.0]


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert own_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.delenv("LOCAL_RANK")
    assert own_device(torch.device("cuda")) == torch.device("cuda")


def test_each_process_has_dropout_masks_of_its_own(tmp_path):
    """Those of the first are the ones of a process alone."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*launcher, ranks_script.__file__, str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        check=True,
        capture_output=True,
    )
    first, second = (torch.load(tmp_path / rank) for rank in "01")
    assert torch.equal(first, ranks_script.mask())
    share = (first == second).double().mean()
    assert 0.3 < share < 0.7, "independent masks agree in half"
