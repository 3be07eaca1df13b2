"""Mixers with faulty steps or states."""
# ruff: noqa: ARG002  # to ignore the state is what is wrong with some of them

import json
from functools import partial

import torch
import torch.nn.functional as F
from sound import Average
from torch import nn


class ForgetfulStep(Average):
    """The parallel form has a convolution, the step form does not."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.previous = nn.Parameter(torch.randn(d_model))

    def forward(self, x):
        return super().forward(x + self.previous * F.pad(x, (0, 0, 1, -1)))


class OverwritingStep(Average):
    def step(self, x_t, state):
        state["sum"] += x_t
        state["count"] += 1
        return self.proj(state["sum"] / state["count"]), state


class StepWithMemory(Average):
    """The state is kept in the module."""

    def initial_state(self, batch_size):
        self.sum, self.count = 0, 0
        return {}

    def step(self, x_t, state):
        self.sum, self.count = self.sum + x_t, self.count + 1
        return self.proj(self.sum / self.count), {}


class StepOfAnotherShape(Average):
    def step(self, x_t, state):
        y_t, state = super().step(x_t, state)
        return y_t[:, None], state


class RaisingStep(Average):
    def step(self, x_t, state):
        raise KeyError("sum")


class KeepsAll(Average):
    """All inputs so far, summed again at each step."""

    def initial_state(self, batch_size):
        return []

    def step(self, x_t, state):
        state = [*state, x_t.clone()]
        return self.proj(torch.stack(state).mean(0)), state


class ForgetsLate(KeepsAll):
    """It keeps the last 300 tokens."""

    def step(self, x_t, state):
        return super().step(x_t, state[-299:])


class HoldsOn(Average):
    """A view of the last sum, which keeps all earlier ones alive."""

    def initial_state(self, batch_size):
        return self.proj.weight.new_zeros(batch_size, 1, self.proj.in_features)

    def step(self, x_t, state):
        held = state if state._base is None else state._base
        held = torch.cat([held, held[:, -1:] + x_t[:, None]], 1)
        return self.proj(held[:, -1] / (held.shape[1] - 1)), held[:, -1:]


class RoomForAll(Average):
    """Room for the longest sequence from the start."""

    def __init__(self, d_model, max_len):
        super().__init__(d_model)
        self.max_len = max_len

    def initial_state(self, batch_size):
        past = self.proj.weight.new_zeros(batch_size, self.max_len, self.proj.in_features)
        return {"count": 0, "past": past}

    def step(self, x_t, state):
        past, count = state["past"].clone(), state["count"] + 1
        past[:, count - 1] = x_t
        return self.proj(past.sum(1) / count), {"count": count, "past": past}


class Doubling(Average):
    """Room that doubles when it is full."""

    def initial_state(self, batch_size):
        past = self.proj.weight.new_zeros(batch_size, 1, self.proj.in_features)
        return {"count": 0, "past": past}

    def step(self, x_t, state):
        past, count = state["past"], state["count"] + 1
        past = F.pad(past, (0, 0, 0, past.shape[1])) if count > past.shape[1] else past.clone()
        past[:, count - 1] = x_t
        return self.proj(past.sum(1) / count), {"count": count, "past": past}


class Opaque(Average):
    """A state whose storage cannot be measured."""

    def initial_state(self, batch_size):
        return iter(())

    def step(self, x_t, state):
        return self.proj(x_t), state


class KeepsNumbers(KeepsAll):
    """All inputs so far, as Python numbers."""

    def step(self, x_t, state):
        state = [*state, x_t.tolist()]
        return self.proj(x_t.new_tensor(state).mean(0)), state


class KeepsText(KeepsNumbers):
    """As text."""

    def initial_state(self, batch_size):
        return "[]"

    def step(self, x_t, state):
        y_t, state = super().step(x_t, json.loads(state))
        return y_t, json.dumps(state)


class KeepsAClosure(Average):
    """All inputs so far, inside a function that returns them."""

    def initial_state(self, batch_size):
        return list

    def step(self, x_t, state):
        past = [*state(), x_t.clone()]
        return self.proj(torch.stack(past).mean(0)), lambda: past


class KeepsAPartial(KeepsAClosure):
    """Inside a partial."""

    def initial_state(self, batch_size):
        return partial(list)

    def step(self, x_t, state):
        y_t, kept = super().step(x_t, state)
        return y_t, partial(list, kept())


class FillsARing(Average):
    """A mean of 16 inputs, whose window is overwritten once it is full."""

    WINDOW = 15

    def forward(self, x):
        past = F.pad(x, (0, 0, self.WINDOW, 0)).unfold(1, self.WINDOW + 1, 1)
        return self.proj(past.mean(-1))

    def initial_state(self, batch_size):
        return self.proj.weight.new_zeros(batch_size, 0, self.proj.in_features)

    def step(self, x_t, state):
        y_t = self.proj((state.sum(1) + x_t) / (self.WINDOW + 1))
        if state.shape[1] < self.WINDOW:
            return y_t, torch.cat([state, x_t[:, None]], 1)
        state.copy_(torch.cat([state[:, 1:], x_t[:, None]], 1))
        return y_t, state


class KeepsAHandle(Average):
    """The state is a number that names an entry of a table in the module."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.table = {}

    def initial_state(self, batch_size):
        self.table[-1] = super().initial_state(batch_size)
        return -1

    def step(self, x_t, state):
        y_t, new = super().step(x_t, self.table[state])
        self.table[len(self.table)] = new
        return y_t, len(self.table) - 1


class MovesToTheModule(Average):
    """From token 20 on the sum is in the module."""

    def step(self, x_t, state):
        count, total = state["count"], state["sum"]
        if count >= 20:
            total = self.kept
        self.kept = total + x_t
        y_t = self.proj(self.kept / (count + 1))
        return y_t, {"count": count + 1, "sum": self.kept if count < 19 else self.kept[:, :0] * 1}


class KeepsAnAttribute(Average):
    """The sum is an attribute of a small tensor."""

    def initial_state(self, batch_size):
        state = self.proj.weight.new_zeros(batch_size, 1)
        state.sum_ = self.proj.weight.new_zeros(batch_size, self.proj.in_features)
        return state

    def step(self, x_t, state):
        new = state + 1
        new.sum_ = state.sum_ + x_t
        return self.proj(new.sum_ / new), new


class KeepsBits(Average):
    """The signs of the last 50 inputs, as one integer of constant length."""

    KEPT = 50

    def forward(self, x):
        old = F.pad((x > 0).to(x.dtype), (0, 0, self.KEPT, 0))[:, : x.shape[1]]
        return self.proj(x + old)

    def initial_state(self, batch_size):
        return [1 << self._bits] * batch_size

    def step(self, x_t, state):
        oldest, new = [], []
        for row, bits in zip((x_t > 0).tolist(), state, strict=True):
            last = bits >> (self._bits - len(row))
            oldest.append([float(last >> i & 1) for i in range(len(row))])
            signs = sum(bit << i for i, bit in enumerate(row))
            new.append(1 << self._bits | (bits << len(row)) % (1 << self._bits) | signs)
        return self.proj(x_t + x_t.new_tensor(oldest)), new

    @property
    def _bits(self):
        return self.KEPT * self.proj.in_features


class KeepsFloats(Average):
    """The mean over channels, as Python numbers."""

    def forward(self, x):
        return self.proj(x) + x.mean(-1, keepdim=True).cumsum(1)

    def initial_state(self, batch_size):
        return [0.0] * batch_size

    def step(self, x_t, state):
        new = [old + mean for old, mean in zip(state, x_t.mean(-1).tolist(), strict=True)]
        return self.proj(x_t) + x_t.new_tensor(new)[:, None], new


class KeepsHalf(Average):
    """The last input, in bfloat16."""

    def forward(self, x):
        return self.proj(F.pad(x, (0, 0, 1, -1)).bfloat16().to(x.dtype))

    def initial_state(self, batch_size):
        return self.proj.weight.new_zeros(batch_size, self.proj.in_features).bfloat16()

    def step(self, x_t, state):
        return self.proj(state.to(x_t.dtype)), x_t.bfloat16()


class KeepsATokensInput(Average):
    """The last input of each token id, which no output needs."""

    def forward(self, x):
        return self.proj(x)

    def initial_state(self, batch_size):
        return [{}] * batch_size

    def step(self, x_t, state, token):
        new = [old | {int(i): x.clone()} for old, i, x in zip(state, token, x_t, strict=True)]
        return self.proj(x_t), new
