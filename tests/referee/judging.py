"""One check of a small mixer."""

from typing import Any

from recollect.referee.check import contexts, judge
from recollect.referee.verdict import Verdict

D = 4


def judged(cls: Any, name: str, max_len: int = 70) -> Verdict:
    """The verdict of a check at width `D`."""
    return judge(name, contexts(cls, d_model=D, max_len=max_len)[0])
