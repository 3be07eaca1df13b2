"""Shapes and types are checked in the rooms that declare them; no test is left to chance."""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jaxtyping
from jaxtyping import install_import_hook

os.environ["HF_HUB_OFFLINE"] = "1"  # before its import: nothing is fetched while the tests run

os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start: tests run side by side

_check = jaxtyping.jaxtyped


def _check_when_wanted(*function: Any, typechecker: Any) -> Any:
    """Leave an inner function as it is while nothing is checked: each call of the outer one makes
    it anew, and a check takes a millisecond to make."""
    if not function:
        return partial(_check_when_wanted, typechecker=typechecker)
    if jaxtyping.config.jaxtyping_disable and "<locals>" in getattr(
        function[0], "__qualname__", ""
    ):
        return function[0]
    return _check(*function, typechecker=typechecker)


jaxtyping.jaxtyped = _check_when_wanted

# before the first import of the package, or the modules are loaded without their checks
install_import_hook(
    ["recollect.ops", "recollect.mixers", "recollect.models", "recollect.language"],
    "beartype.beartype",
)

import pytest  # noqa: E402
import torch  # noqa: E402

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton's import: kernels run without a GPU

from hypothesis import settings  # noqa: E402

# a shell that starts the tests in the background has them, and what they start, ignore Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("recollect", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("recollect")

torch.set_num_threads(1)  # tests run side by side


def pytest_collection_finish() -> None:
    """The modules and tests stay to the end: the garbage collector need not visit them."""
    gc.collect()
    gc.freeze()


SHAPES_ARE_CHECKED = ("ops", "mixers", "models", "language", "oracles")
"""The tests of these rooms check the shapes and types of every call. The checks double the time of
a small model, and the other tests make the same calls."""


@contextmanager
def _shapes_checked(checked: bool) -> Iterator[None]:
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", not checked)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(autouse=True)
def _shapes(request: pytest.FixtureRequest) -> Iterator[None]:
    room = request.path.relative_to(Path(__file__).parent).parts[0]
    with _shapes_checked(room in SHAPES_ARE_CHECKED):
        yield


@pytest.fixture
def unchecked_shapes(_shapes: None) -> Iterator[None]:
    """For a test that makes calls which others check."""
    with _shapes_checked(False):
        yield


@pytest.fixture(autouse=True)
def _seeded() -> None:
    if torch.cuda.is_available():
        torch.manual_seed(0)
    else:  # the same, without a visit to every kind of accelerator
        torch.default_generator.manual_seed(0)
