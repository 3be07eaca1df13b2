"""Mixers that differ between training and evaluation, or between a first and a second input."""

import torch
from sound import WithoutStep
from torch import nn
from torch.utils.checkpoint import checkpoint


class LeaksWithGradients(WithoutStep):
    """A leak of the future in values only, when gradients are enabled."""

    def forward(self, x):
        y = self.average(x)
        return y + x.detach().flip(1) if torch.is_grad_enabled() else y


class MixesRowsWithGradients(WithoutStep):
    def forward(self, x):
        y = self.average(x)
        return y + x.detach().mean(0) if x.requires_grad else y


class ShorterWithGradients(WithoutStep):
    """Divides by the length."""

    def forward(self, x):
        y = self.average(x)
        return y / x.shape[1] if self.training else y


class SetByTheFirst(WithoutStep):
    """Centres by the mean of the first batch, in a buffer."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.register_buffer("mean", torch.zeros(d_model))
        self.register_buffer("done", torch.tensor(False))

    def forward(self, x):
        if not self.done:
            self.mean.copy_(x.detach().mean((0, 1)))
            self.done.fill_(True)
        return self.average(x - self.mean)


class SetInTraining(SetByTheFirst):
    """A parameter set from the first batch of training, as in activation norm."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.shift = nn.Parameter(torch.zeros(d_model))

    def forward(self, x):
        if self.training and not self.done:
            self.shift.data = x.detach().mean((0, 1))
            self.done.fill_(True)
        return self.average(x - self.shift)


class SetAndNotCopied(SetByTheFirst):
    def __deepcopy__(self, memo):
        raise TypeError("it cannot be copied")


class PlainList(WithoutStep):
    def __init__(self, d_model):
        super().__init__(d_model)
        self.layers = [nn.Linear(d_model, d_model, bias=False) for _ in range(3)]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.average(x)


class PlainTensor(WithoutStep):
    def __init__(self, d_model):
        super().__init__(d_model)
        self.scale = {"by": torch.ones(d_model, requires_grad=True)}

    def forward(self, x):
        return self.average(x) * self.scale["by"].to(x)


class StartsAnew(WithoutStep):
    """Its initial state has a gradient, and is made in each call: no weight."""

    def forward(self, x):
        return self.average(x) + torch.zeros(x.shape[-1], requires_grad=True).to(x)


class Detached(WithoutStep):
    def forward(self, x):
        return self.average(x.detach())


class Replaced(WithoutStep):
    def __init__(self, d_model):
        super().__init__(d_model)
        self.scale = nn.Parameter(torch.ones(d_model))

    def forward(self, x):
        self.scale = nn.Parameter(self.scale.detach() * 1.0)
        return self.average(x) * self.scale


class Reentrant(WithoutStep):
    def forward(self, x):
        return checkpoint(self.average, x, use_reentrant=True)


class SingleWithoutGradients(WithoutStep):
    def forward(self, x):
        if not torch.is_grad_enabled() and x.dtype != torch.float32:
            raise RuntimeError("expected scalar type Float but found Double")
        return self.average(x)


class SingleWithGradients(WithoutStep):
    def forward(self, x):
        if torch.is_grad_enabled() and x.dtype != torch.float32:
            raise RuntimeError("expected scalar type Float but found Double")
        return self.average(x)


class OtherWindow(WithoutStep):
    """In evaluation only, it ignores inputs more than four positions back."""

    def forward(self, x):
        y = x.cumsum(1)
        if not self.training and x.shape[1] > 4:
            y = torch.cat((y[:, :4], y[:, 4:] - y[:, :-4]), 1)
        return self.average.proj(y)


class ExitsAtBuilding(WithoutStep):
    def __init__(self, d_model):
        super().__init__(d_model)
        raise SystemExit


class ExitsInForward(WithoutStep):
    def forward(self, x):  # noqa: ARG002
        raise SystemExit(3)


class ViewsAsState(nn.Module):
    """Keeps the last input as a view of two."""

    def __init__(self, d_model):
        super().__init__()
        self.d_model, self.proj = d_model, nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.proj(x)

    def initial_state(self, batch_size):
        return self.proj.weight.new_zeros(batch_size, self.d_model)

    def step(self, x_t, state):
        return self.proj(x_t), torch.stack([state, x_t])[1]


class Exit(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, _gradient):
        raise SystemExit


class ExitsInBackward(WithoutStep):
    def forward(self, x):
        return self.average(Exit.apply(x))


class Interrupted(WithoutStep):
    def forward(self, x):  # noqa: ARG002
        raise KeyboardInterrupt


class Talkative(WithoutStep):
    def __init__(self, d_model):
        super().__init__(d_model)
        print("built")

    def forward(self, x):
        print("called")
        return self.average(x)


class SingleState(ViewsAsState):
    """Adds the last input, kept in float32, in its step form; exactly, in the parallel form."""

    def forward(self, x):
        return self.proj(x + torch.nn.functional.pad(x, (0, 0, 1, 0))[:, :-1])

    def initial_state(self, batch_size):
        return torch.zeros(batch_size, self.d_model)

    def step(self, x_t, state):
        return self.proj(x_t + state.to(x_t.dtype)), x_t.float()


class Sum(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.cumsum(1)

    @staticmethod
    def backward(_, grad):
        return grad.flip(1).cumsum(1).flip(1)


class SumAsIfAlone(Sum):
    @staticmethod
    def backward(_, grad):
        return grad


class OwnBackward(WithoutStep):
    """A backward pass of its own, which is right."""

    def forward(self, x):
        return self.average(Sum.apply(x))


class WrongBackward(WithoutStep):
    """It forgets that an input reaches later outputs."""

    def forward(self, x):
        return self.average(SumAsIfAlone.apply(x))
