"""The parts found in a state, and parts that cannot be read."""

import threading
import weakref
from collections import OrderedDict, UserDict, deque
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recollect.referee.verdict import Unmeasurable
from recollect.referee.walk import snapshot, walk


class Cache:
    def __init__(self):
        self.keys, self.seen = [torch.zeros(5)], 3


class Callable(Cache):
    def __call__(self):
        return self.keys


def of_some(inner):
    """A container of a kind that is drawn."""
    kinds = st.sampled_from([list, tuple, deque, lambda items: UserDict(enumerate(items))])
    return st.builds(lambda kind, items: kind(items), kinds, st.lists(inner, max_size=3))


containers = st.recursive(st.booleans(), of_some, max_leaves=8)


@given(containers)
def test_every_tensor_is_found_once(shape):
    """Each True stands for a tensor."""
    placed = []

    def fill(part):
        if isinstance(part, bool):
            placed.append(torch.zeros(1) if part else None)
            return placed[-1]
        if isinstance(part, UserDict):
            return UserDict({key: fill(item) for key, item in part.items()})
        return type(part)(fill(item) for item in part)

    found = walk(fill(shape)).tensors
    tensors = [each for each in placed if each is not None]
    assert sorted(map(id, found)) == sorted(map(id, tensors))


def test_paths_are_those_of_python():
    found = walk({"cache": Cache()})
    assert list(found.leaves) == ["state['cache'].keys[0]", "state['cache'].seen"]
    assert list(walk([Callable()]).leaves) == ["state[0].keys[0]", "state[0].seen"]
    marked = OrderedDict(a=torch.ones(1))
    marked.note = torch.zeros(1)
    assert list(walk(marked).leaves) == ["state['a']", "state.note"]


def test_arrays_share_their_memory():
    array = np.zeros(3)
    (tensor,) = walk([array]).tensors
    tensor[0] = 1
    assert array[0] == 1
    assert len(walk(np.array([torch.zeros(1), None], dtype=object)).tensors) == 1


class Owner(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(7))
        self.inner = nn.BatchNorm1d(2)
        self.last = torch.zeros(2)


def test_weights_are_no_state_and_attributes_are():
    assert list(walk(Owner()).leaves)[:1] == ["state._modules['inner'].num_features"]
    (tensor,) = walk(Owner()).tensors
    assert tensor.shape == (2,)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (iter([1]), "list_iterator"),
        ((x for x in ()), "generator"),
        (partial(print, 1), "partial"),
        ([].append, "builtin_function_or_method"),
        (Cache().__init__, "method"),
        (lambda part=[]: part, "function"),
        (threading.Lock(), "lock"),
        (weakref.ref(Cache), "ReferenceType"),
        (torch.zeros(2, 2).to_sparse(), "tensor of layout torch.sparse_coo"),
    ],
)
def test_what_cannot_be_read_is_named_by_path_and_type(part, kind):
    found = walk({"a": torch.zeros(1), "b": (part,)})
    assert found.opaque == {"state['b'][0]": kind}
    assert len(found.tensors) == 1
    with pytest.raises(Unmeasurable, match=rf"state\['b'\]\[0\] holds a {kind}"):
        found.require_readable()


def test_what_holds_no_tensor_is_read():
    plain = [torch.device("cpu"), torch.float32, torch.strided, torch.Size([2]), 1j, b"x", dict]
    plain += [torch.Generator(), np.float64(1), object(), range(3), nn.functional.gelu, len]
    assert not walk(plain).opaque


def test_a_cycle_is_followed_once_and_reported():
    cyclic = {"part": [torch.zeros(1)]}
    cyclic["part"].append(cyclic)
    found = walk(cyclic)
    assert found.cycles == ["state['part'][1]"]
    assert len(found.tensors) == 1
    shared = [torch.zeros(1)]
    assert not walk([shared, shared]).cycles


def test_a_snapshot_keeps_what_is_overwritten_later():
    state = {"sum": torch.zeros(2), "dice": torch.Generator().manual_seed(1)}
    before = snapshot(walk(state))
    state["sum"].add_(1)
    torch.rand(1, generator=state["dice"])
    after = snapshot(walk(state))
    assert all(not torch.equal(before[path], after[path]) for path in before)
