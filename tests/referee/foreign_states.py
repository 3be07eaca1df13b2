"""Sound mixers with unusual states."""
# ruff: noqa: ARG002  # signatures are part of what people write

import copy
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from sound import Average
from torch import nn


class Packed(Average):
    """An average whose state is made by `pack` and read by `unpack`."""

    def pack(self, count, total):
        return count, total

    def unpack(self, state):
        return state

    def initial_state(self, batch_size):
        return self.pack(0, self.proj.weight.new_zeros(batch_size, self.proj.in_features))

    def step(self, x_t, state):
        count, total = self.unpack(state)
        count, total = count + 1, total + x_t
        return self.proj(total / count), self.pack(count, total)


class Attributes(Packed):
    """Its state has `count` and `total`."""

    def unpack(self, state):
        return state.count, state.total


@dataclass(slots=True)
class Slotted:
    count: int
    total: torch.Tensor


class Private:
    __slots__ = ("__count", "__total")

    def __init__(self, count, total):
        self.__count, self.__total = count, total

    def read(self):
        return self.__count, self.__total


class Slots(Attributes):
    def pack(self, count, total):
        return Slotted(count, total)


class PrivateSlots(Packed):
    def pack(self, count, total):
        return Private(count, total)

    def unpack(self, state):
        return state.read()


class Deque(Packed):
    def pack(self, count, total):
        return deque([(count, total)], maxlen=1)

    def unpack(self, state):
        return state[0]


class OfASet(Packed):
    def pack(self, count, total):
        return count, {total}

    def unpack(self, state):
        return state[0], next(iter(state[1]))


class Kind(Enum):
    SUM = 1


@dataclass
class Described:
    """A cache like those of libraries, with settings and tensors."""

    count: int
    total: torch.Tensor
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    shape: torch.Size = field(default_factory=torch.Size)
    kind: Kind = Kind.SUM
    cls: type = dict
    activation: object = F.silu
    generator: torch.Generator = field(default_factory=torch.Generator)
    empty: tuple = ()
    nothing: None = None
    bare: object = field(default_factory=object)


class WithSettings(Attributes):
    def pack(self, count, total):
        return Described(count, total)


class Cyclic(Attributes):
    """The state and its owner refer to each other."""

    def pack(self, count, total):
        state = SimpleNamespace(count=count, total=total)
        state.owner = SimpleNamespace(parts=[state])
        return state


class KnowsItsLayer(Attributes):
    """The weights of the layer are not state."""

    def pack(self, count, total):
        return SimpleNamespace(count=count, total=total, layer=self)


class OnNumPy(Packed):
    def pack(self, count, total):
        return count, total.numpy()

    def unpack(self, state):
        return state[0], torch.from_numpy(state[1].copy())


class Chained(Average):
    """Pairs of an input and all those before it: a thousand levels deep."""

    def initial_state(self, batch_size):
        return ()

    def step(self, x_t, state):
        state, seen, rest = (x_t.clone(), state), [], (x_t, state)
        while rest:
            seen.append(rest[0])
            rest = rest[1]
        return self.proj(torch.stack(seen).mean(0)), state


class KeywordsOnly(Packed):
    def initial_state(self, *, batch_size, device=None):
        return super().initial_state(batch_size)

    def step(self, x_t, *, state):
        return super().step(x_t, state)


class LastInput(nn.Module):
    """A token shift, whose state is the input itself."""

    def __init__(self, d_model):
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.proj(F.pad(x, (0, 0, 1, -1)))

    def initial_state(self, batch_size):
        return self.proj.weight.new_zeros(batch_size, self.proj.in_features)

    def step(self, x_t, state):
        return self.proj(state), x_t


class OfTransformers(nn.Module):
    """The convolution of LFM2 with the cache of its library."""

    def __init__(self, d_model):
        super().__init__()
        from transformers.models.lfm2.modeling_lfm2 import Lfm2Config, Lfm2ShortConv

        self.config = Lfm2Config(hidden_size=d_model, num_hidden_layers=1, layer_types=["conv"])
        self.conv = Lfm2ShortConv(self.config, 0)

    def forward(self, x):
        return self.conv(x)

    def initial_state(self, batch_size):
        from transformers import DynamicCache

        return DynamicCache(config=self.config)

    def step(self, x_t, state):
        state = copy.deepcopy(state)
        return self.conv(x_t[:, None], past_key_values=state)[:, 0], state


class StateFirst(Packed):
    """Arguments the other way round."""

    def initial_state(self, batch_size):
        return self.proj.weight.new_zeros(batch_size, self.proj.in_features)

    def forward(self, x):
        return self.proj(-x.cumsum(1))

    def step(self, state, x_t):
        return self.proj(state - x_t), state - x_t


class GivesStateFirst(Average):
    def step(self, x_t, state):
        return tuple(reversed(super().step(x_t, state)))


class GivesEqualShapesReversed(StateFirst):
    """Output and state have equal shapes, and are returned in the wrong order."""

    def step(self, x_t, state):
        return state - x_t, self.proj(state - x_t)


class GivesOutputAlone(Average):
    def step(self, x_t, state):
        return super().step(x_t, state)[0]


class GivesThree(Average):
    def step(self, x_t, state):
        return (*super().step(x_t, state), None)


class OverwritesSlots(Slots):
    def step(self, x_t, state):
        state.total += x_t
        state.count += 1
        return self.proj(state.total / state.count), state


class DrawsFromItsState(WithSettings):
    """A generator in the state moves on."""

    def step(self, x_t, state):
        torch.rand(1, generator=state.generator)
        y_t, new = super().step(x_t, state)
        new.generator = state.generator
        return y_t, new
