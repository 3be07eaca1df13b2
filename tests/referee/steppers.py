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
