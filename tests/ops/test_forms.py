"""The GPU forms of recurrences on the CPU: Triton's kernels run in its interpreter."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from forms_agree import DEVICE, FORMS, a_scan, assert_agree
from test_diagonal import arguments as diagonal_arguments
from test_scan import arguments as scan_arguments
from test_wkv import arguments as wkv_arguments
from test_wkv import readable
from torch.func import grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from recollect.ops import _scan_torch, forms
from recollect.ops.delta_rule import delta_rule, delta_rule_definition
from recollect.ops.diagonal import diagonal_scan, diagonal_scan_definition
from recollect.ops.generalized_delta_rule import (
    generalized_delta_rule,
    generalized_delta_rule_definition,
)
from recollect.ops.scan import selective_scan, selective_scan_definition
from recollect.ops.wkv import wkv, wkv_definition
from recollect.training.device import describe_device

pytestmark = pytest.mark.slow

LENGTHS = [1, 21, 64]


@pytest.fixture(params=FORMS)
def form(request, monkeypatch):
    """Make all tensors use one form."""
    monkeypatch.setattr(forms, "form_for", lambda *_: request.param)
    return request.param


def an_average(function):
    """Compute outputs and a final state that does not depend on its scale."""

    def outputs(*inputs):
        y, state = function(*inputs)
        return y, *readable(state)

    return outputs


@pytest.mark.parametrize("length", LENGTHS)
def test_diagonal_scan(form, length):
    inputs = diagonal_arguments(length)
    assert_agree(form, a_scan(diagonal_scan), a_scan(diagonal_scan_definition), inputs, 1)


@pytest.mark.parametrize("length", LENGTHS)
def test_selective_scan(form, length, monkeypatch):
    monkeypatch.setattr(_scan_torch, "STATES", 16 * 3 * 2)  # chunks of 16 positions
    inputs = scan_arguments(length, 3, 2, leading=(1,))
    assert_agree(form, selective_scan, selective_scan_definition, inputs, 2)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_wkv(form, length, size):
    inputs = wkv_arguments(length, size=size, leading=())
    assert_agree(form, an_average(wkv), an_average(wkv_definition), inputs, 3)


def test_wkv_from_a_state(form):
    k, v, w, u = (x.detach() for x in wkv_arguments(12))
    state = wkv_definition(k, v, w, u)[1]
    assert_agree(form, an_average(wkv), an_average(wkv_definition), (k, v, w, u, state), 3)


@pytest.mark.parametrize("decays", [1, 3])
def test_delta_rules_in_longer_chunks(decays, monkeypatch):
    monkeypatch.setattr(forms, "form_for", lambda *_: "torch")
    q, k, v, rate = torch.randn(4, 70, 3)
    k, log_decay = k / k.norm(dim=-1, keepdim=True), -torch.rand(70, decays)
    inputs = (q, k, v, torch.rand(70), log_decay)
    assert_agree("torch", delta_rule, delta_rule_definition, inputs, 2)
    if decays == 3:
        inputs = (q, v, v, k, rate.sigmoid(), log_decay)
        definition = generalized_delta_rule_definition
        assert_agree("torch", generalized_delta_rule, definition, inputs, 2)


def test_channels_and_states_that_fill_several_programs():
    """The kernels' blocks have 32, 16 and 32 channels."""
    scanned = scan_arguments(3, 18, 5, leading=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "form_for", lambda *_: "triton")
        assert_agree("triton", selective_scan, selective_scan_definition, scanned, 2)
        scanned = diagonal_arguments(3, leading=(), channels=35)
        definition = a_scan(diagonal_scan_definition)
        assert_agree("triton", a_scan(diagonal_scan), definition, scanned, 1)
        k, v, _, _ = wkv_arguments(3, leading=(), channels=3)
        k, v = k.repeat(1, 12), v.repeat(1, 12)
        w, u = torch.rand(2, 36)
        assert_agree("triton", an_average(wkv), an_average(wkv_definition), (k, v, w, u), 3)


CASES = {
    "diagonal": (a_scan(diagonal_scan), diagonal_arguments(3, leading=(2, 1))),
    "selective": (selective_scan, scan_arguments(3, 3, 2, leading=(2, 1))),
    "wkv": (lambda *inputs: wkv(*inputs)[:1], wkv_arguments(3, leading=(2, 1))),
}


@pytest.mark.parametrize("case", CASES)
def test_a_population_is_the_models_alone(form, case):
    """The first argument has no dimension of models; of the others, some have it last."""
    function, inputs = CASES[case]
    dtype, error, _ = FORMS[form]
    first, *others = (x.detach().to(DEVICE, dtype) for x in inputs)
    first = first[0]
    others = [x if x.ndim > 1 else x.repeat(2, 1) for x in others]

    def loss(*arguments):
        return sum(x.square().sum() for x in function(*arguments))

    which = tuple(range(len(inputs)))
    mapped = [x.movedim(0, -1) if i % 2 else x for i, x in enumerate(others)]
    in_dims = (None, *(-1 if i % 2 else 0 for i in range(len(others))))
    together = vmap(grad(loss, which), in_dims)(first, *mapped)
    alone = [grad(loss, which)(first, *own) for own in zip(*others, strict=True)]
    for a, e in zip(together, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(a, torch.stack(e), rtol=error, atol=error)


@pytest.mark.filterwarnings("ignore:invalid value")  # of the interpreter, where none is read
def test_a_rate_of_minus_infinity_forgets(form):
    """Also at the end of a chunk that is not full."""
    given = scan_arguments(5, 3, 2, leading=())
    x, delta, A, B, C, _ = (t.detach().float().to(DEVICE) for t in given)
    y, last = selective_scan(x, delta, A - torch.inf, B, C)
    added = (delta * x)[..., None] * B[:, None]
    torch.testing.assert_close(y, (added * C[:, None]).sum(-1))
    torch.testing.assert_close(last, added[-1])


def test_without_triton_recurrences_take_plain_pytorch(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(forms, "triton_runs", forms.triton_runs.__wrapped__)  # asked anew
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100")
    recorded = describe_device(torch.device("cuda"))
    assert recorded == "NVIDIA H100, recurrences by plain PyTorch"


def test_a_triton_that_does_not_compile_is_said_and_left_out(monkeypatch):
    def no_compiler(*_, **__):
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(torch, "ones", no_compiler)
    with pytest.warns(UserWarning, match="plain PyTorch: RuntimeError.*find C compiler"):
        assert not forms.triton_runs.__wrapped__()


class Counted(TorchDispatchMode):
    """Counts operators that are no views, as a GPU would launch kernels."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def launches(function, *shapes):
    """Of a forward and a backward pass."""
    inputs = [torch.ones(shape, requires_grad=True) for shape in shapes]
    with Counted() as counted:
        torch.autograd.grad(sum(x.sum() for x in function(*inputs)), inputs)
    return counted.count


PLAIN = {
    "diagonal": lambda L: launches(a_scan(diagonal_scan), (4, L, 8), (4, L, 8)),
    "selective": lambda L: launches(
        selective_scan, (4, L, 8), (4, L, 8), (8, 2), (4, L, 2), (4, L, 2)
    ),
    "wkv": lambda L: launches(wkv, (4, L, 8), (4, L, 8), (8,), (8,)),
}


@pytest.mark.parametrize("case", PLAIN)
def test_eight_times_the_length_takes_a_few_launches_more(case, monkeypatch):
    """Three more doublings each way, with two operators each; two scans run backwards."""
    monkeypatch.setattr(forms, "form_for", lambda *_: "torch")
    assert PLAIN[case](512) - PLAIN[case](64) <= 3 * (2 + 2 * 2)


def test_the_plain_scan_keeps_states_of_some_chunks_only(monkeypatch):
    monkeypatch.setattr(forms, "form_for", lambda *_: "torch")
    monkeypatch.setattr(_scan_torch, "STATES", 64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        selective_scan(*scan_arguments(64, 2, 8, leading=()))
    assert max(x.numel() for x in kept) == 64 * 8  # B and C


COMPILE = """
import sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from recollect.ops import _triton_diagonal, _triton_memory, _triton_scan, _triton_wkv
from recollect.ops import _triton_recurrent as recurrent, _triton_slots as slots
from recollect.ops import _triton_shifts as shifts
from recollect.ops import _triton_ttt as ttt, _triton_turning as turning
from recollect.ops import _triton_mapped_scores as mapped_scores
from recollect.ops import _triton_level_weights as level_weights, _triton_levels as levels

def compiled(kernel, **constants):
    sizes = "length channels d_state d_k d_v slots rows d vectors n n_angles batch".split()
    sizes += "queries chunks levels".split()
    signature = {
        name: "constexpr" if name in constants else "i32" if name in sizes else "*fp32"
        for name in kernel.arg_names
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    print(len(compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]))

compiled(_triton_diagonal._scan, BACKWARDS=True, CHUNK=1, CHANNELS=32)
for kernel in (_triton_scan._forward, _triton_scan._backward):
    compiled(kernel, CHUNK=1, CHANNELS=16, STATES=16)
for kernel in (_triton_wkv._forward, _triton_wkv._backward):
    compiled(kernel, CHUNK=1, CHANNELS=32)
for kernel, part in ((_triton_memory._forward, {}), (_triton_memory._backward, dict(PART=1))):
    for each in (False, True):
        sizes = dict(CHUNK=1, KEYS=16, COLUMNS=32, **part)
        compiled(kernel, REMOVES=each, BY_CHANNEL=not each, **sizes)
for kernel in (slots._forward, slots._backward):
    compiled(kernel, CHUNK=1, KEYS=16, COLUMNS=32)
compiled(shifts._forward, TAPS=2, STEPS=2, CHANNELS=16)
compiled(shifts._backward, TAPS=2, WIDTH=2, STEPS=2, CHANNELS=16)
for kernel in (turning._forward, turning._backward):
    compiled(kernel, PAIRS=32)
for kernel in (ttt._forward, ttt._backward):
    compiled(kernel, EPS=1e-6, WIDTH=16)
for cell in (recurrent.GRU, recurrent.LSTM, recurrent.SLSTM):
    sizes = dict(KIND=cell.kind, GATES=cell.gates, SUMS=cell.sums, CHUNK=1, WIDTH=8)
    for kernel in (recurrent._forward, recurrent._backward):
        compiled(kernel, **sizes)
compiled(mapped_scores._forward, CHUNK=1, OWN=16, WIDTH=16)
compiled(mapped_scores._backward, CHUNK=1, PART=1, OWN=16, WIDTH=16)
for kernel in (level_weights._forward, level_weights._backward):
    compiled(kernel, CHUNK=16)
for kernel in (levels._forward, levels._backward):
    for each in (False, True):
        compiled(kernel, IS_DECAY=each, KEYS=16, COLUMNS=16)
"""


def test_the_compiler_takes_every_kernel(tmp_path):
    """Compile for an H100: the interpreter accepts code that the compiler rejects."""
    environment = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", COMPILE],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.split()) == 31
