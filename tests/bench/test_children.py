"""Processes of their own: their threads, and their ends."""

import os
import signal

import numba
import pytest
import torch

from recollect.bench.child import MeasurementFailed, in_child
from recollect.bench.machine import measure_machine
from recollect.bench.settings import BenchSettings
from recollect.errors import UserError


def threads():
    yield torch.get_num_threads()
    yield numba.get_num_threads()


def dies():
    yield os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)


def test_threads():
    before = dict(os.environ)
    assert list(in_child(threads, threads=2)) == [2, 2]
    assert dict(os.environ) == before


def test_a_child_that_is_killed():
    items = in_child(dies, threads=1)
    assert next(items) != os.getpid()
    with pytest.raises(MeasurementFailed, match="killed, most often because memory ran out"):
        next(items)


def test_a_machine_that_cannot_be_measured(monkeypatch):
    def die(*_, **__):
        raise MeasurementFailed("its process died")
        yield

    monkeypatch.setattr("recollect.bench.machine.in_child", die)
    with pytest.raises(UserError, match="cannot measure a matrix product on cpu: its process died"):
        measure_machine(BenchSettings(models=(), device="cpu"))


def test_a_child_that_raises():
    with pytest.raises(MeasurementFailed, match=r"^TypeError: "):
        list(in_child(threads, "an argument too many", threads=1))
