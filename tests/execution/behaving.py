"""Mixers that tell what becomes of the process that trains them."""

import os
import signal
from pathlib import Path

from torch import Tensor, nn


class Plain(nn.Module):
    """A user's mixer."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.cumsum(dim=1))


class Raising(Plain):
    """Fails at training, not when it is built."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
        raise ZeroDivisionError("a bug of the mixer")


class Mined(Plain):
    """Ends its process like the system that lacks memory, once, if there is a file at the path."""

    def __init__(self, d_model: int, mine: str) -> None:
        super().__init__(d_model)
        self.mine = Path(mine)

    def forward(self, x: Tensor) -> Tensor:
        if self.mine.exists():
            self.mine.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


class Signing(Plain):
    """Leaves the number of its process in a folder."""

    def __init__(self, d_model: int, folder: str) -> None:
        super().__init__(d_model)
        self.folder = Path(folder)

    def forward(self, x: Tensor) -> Tensor:
        (self.folder / str(os.getpid())).touch()
        return super().forward(x)
