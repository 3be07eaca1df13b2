"""Multiply-adds by the formulas of layers, and the names of uncounted operators."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recollect.ops.convolution import causal_conv
from recollect.referee.counting import counted

B, L, D, H = 2, 6, 4, 3
x = torch.randn(B, L, D)


def recurrent(gates, *, layers=1, directions=1, proj=0):
    """Each direction of a layer has a matrix by its input, one by its last output, and perhaps one
    that projects."""
    out = proj or H
    widths = [D] + [directions * out] * (layers - 1)
    each = [gates * H * (width + out) + proj * H for width in widths]
    return B * L * directions * sum(each)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.LSTM(D, H), recurrent(4)),
        (nn.LSTM(D, H, 2, batch_first=True), recurrent(4, layers=2)),
        (nn.LSTM(D, H, 2, bidirectional=True), recurrent(4, layers=2, directions=2)),
        (nn.LSTM(D, H, 2, proj_size=2), recurrent(4, layers=2, proj=2)),
        (nn.LSTM(D, H, bias=False), recurrent(4)),
        (nn.GRU(D, H, 2, bidirectional=True), recurrent(3, layers=2, directions=2)),
        (nn.RNN(D, H, 3, nonlinearity="relu"), recurrent(1, layers=3)),
    ],
    ids=str,
)
def test_recurrent_layers(layer, expected):
    found = counted(lambda: layer(x))
    assert (found.products, found.declared, found.uncounted) == (expected, 0, ())


def attention(*, mask=None, heads=2, training=False, weights=False):
    layer = nn.MultiheadAttention(D, heads, batch_first=True).train(training)
    return lambda: layer(x, x, x, attn_mask=mask, need_weights=weights)


MASK = torch.ones(L, L, dtype=torch.bool).triu(1)
ATTENTION = B * L * 4 * D * D + 2 * B * L * L * D


@pytest.mark.parametrize(
    "work",
    [
        attention(),
        attention(mask=MASK),
        attention(training=True),
        attention(weights=True, mask=MASK),
        attention(heads=1),
    ],
)
def test_multihead_attention(work):
    assert counted(work).products == ATTENTION


def scaled_dot_product(**options):
    q, k = torch.randn(B, 4, L, D), torch.randn(B, 4, 5, D)
    v = torch.randn(B, 4, 5, 7)
    return lambda: F.scaled_dot_product_attention(q, k, v, **options)


def grouped():
    q, k = torch.randn(B, 4, L, D), torch.randn(B, 2, L, D)
    return lambda: F.scaled_dot_product_attention(q, k, k, enable_gqa=True)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (scaled_dot_product(), B * 4 * L * 5 * (D + 7)),
        (scaled_dot_product(is_causal=True), B * 4 * L * 5 * (D + 7)),
        (scaled_dot_product(attn_mask=torch.ones(L, 5).tril()), B * 4 * L * 5 * (D + 7)),
        (scaled_dot_product(dropout_p=0.1), B * 4 * L * 5 * (D + 7)),
        (grouped(), B * 4 * L * L * 2 * D),
    ],
)
def test_attention_counts_all_pairs(work, expected):
    assert counted(work).products == expected


@pytest.mark.parametrize(
    ("options", "out", "expected"),
    [
        ({"kernel_size": 3}, 5, B * 4 * 5 * D * 3),
        ({"kernel_size": 3, "groups": 2}, 6, B * 4 * 6 * D // 2 * 3),
        ({"kernel_size": 3, "dilation": 2, "groups": D}, D, B * 2 * D * 3),
        ({"kernel_size": 3, "stride": 2, "padding": 1}, 5, B * 3 * 5 * D * 3),
        ({"kernel_size": 4, "padding": "same"}, D, B * 6 * D * D * 4),
    ],
)
def test_convolutions(options, out, expected):
    assert counted(lambda: nn.Conv1d(D, out, **options)(x.mT)).products == expected


MATRIX, VECTOR = torch.randn(D, 5), torch.randn(D)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda: nn.Linear(D, 5)(x), B * L * D * 5),
        (lambda: torch.inference_mode()(nn.Linear(D, 5))(x), B * L * D * 5),
        (lambda: torch.inference_mode()(nn.LSTM(D, H))(x), recurrent(4)),
        (lambda: torch.einsum("bld,de->ble", x, MATRIX), B * L * D * 5),
        (lambda: torch.einsum("bld,bmd->blm", x, x), B * L * L * D),
        (lambda: torch.bmm(x, x.mT), B * L * L * D),
        (lambda: torch.baddbmm(torch.zeros(L, L), x, x.mT), B * L * L * D),
        (lambda: torch.addbmm(torch.zeros(L, L), x, x.mT), B * L * L * D),
        (lambda: torch.addmm(torch.zeros(5), x[0], MATRIX), L * D * 5),
        (lambda: x @ VECTOR, B * L * D),
        (lambda: torch.addmv(torch.zeros(L), x[0], VECTOR), L * D),
        (lambda: VECTOR @ VECTOR, D),
        (lambda: x.to(torch.cfloat) @ MATRIX.to(torch.cfloat), 4 * B * L * D * 5),
        (lambda: torch.tensordot(x, MATRIX, 1), B * L * D * 5),
        (lambda: torch.einsum("bld,d->bl", x, VECTOR), B * L * D),
        (lambda: torch.inner(x, VECTOR), B * L * D),
        (lambda: F.linear(VECTOR, MATRIX.mT), D * 5),
        (lambda: torch.linalg.vecdot(x, x), B * L * D),
        (lambda: torch.outer(VECTOR, x[0, 0]), D * D),
        (lambda: torch.einsum("i,j->ij", VECTOR, x[0, 0]), D * D),
        (lambda: torch.addr(torch.zeros(D, D), VECTOR, VECTOR), D * D),
        (lambda: torch.vmap(torch.dot)(x[0], x[0]), L * D),
        (lambda: torch.zeros(B, L, L).baddbmm_(x, x.mT), B * L * L * D),
        (lambda: torch.zeros(L).addmv_(x[0], VECTOR), L * D),
        (lambda: torch.vdot(*2 * [VECTOR.to(torch.cfloat)]), 4 * D),
        (lambda: torch.outer(*2 * [VECTOR.to(torch.cfloat)]), 4 * D * D),
        (lambda: F.conv1d(x.mT.cfloat(), torch.randn(5, D, 3).cfloat()), 4 * B * 4 * 5 * D * 3),
        (
            lambda: nn.Conv1d(D, D, 2, groups=D, dtype=torch.cfloat)(x.mT.to(torch.cfloat)),
            4 * B * 5 * D * 2,
        ),
    ],
)
def test_matrix_products(work, expected):
    found = counted(work)
    assert (found.products, found.uncounted) == (expected, ())


@pytest.mark.parametrize(
    ("work", "names"),
    [
        (lambda: torch.fft.irfft(torch.fft.rfft(x, dim=1), dim=1), ("_fft_c2r", "_fft_r2c")),
        (lambda: torch.fft.fft(x), ("_fft_r2c",)),
        (lambda: x.cumsum(1) + x.cumprod(1), ("cumprod", "cumsum")),
        (lambda: torch.logcumsumexp(x, 1), ("_logcumsumexp", "logcumsumexp")),
        (lambda: x.sort(1), ("sort",)),
        (lambda: x.topk(2, 1), ("topk",)),
        (lambda: nn.Bilinear(D, D, 3)(x, x), ("_trilinear",)),
        (lambda: torch.linalg.inv(x.mT @ x + torch.eye(D)), ("linalg_inv_ex",)),
        (lambda: scan_of_others(x), ("recollect_tests.scan",)),
    ],
)
def test_work_that_is_not_counted_is_named(work, names):
    found = counted(work).uncounted
    assert found
    assert set(found) <= set(names)


@torch.library.custom_op("recollect_tests::scan", mutates_args=())
def scan_of_others(given: torch.Tensor) -> torch.Tensor:
    """A foreign kernel."""
    return given.cumsum(1)


def test_elementwise_work_and_moves_are_not_named():
    def work():
        y = nn.LayerNorm(D)(F.gelu(x)) * torch.sigmoid(x) + nn.RMSNorm(D)(x).exp()
        y = F.pad(y.roll(1, 1).tril(), (0, 0, 1, 0)).softmax(-1).flip(1)
        y = torch.where(y > 0, F.dropout(y, 0.1), F.glu(y.repeat(1, 1, 2)))
        z = torch.cat([y.mean(1), y.amax(1), y.std(1), y.norm(dim=1), y[:, 0]])
        z = z.gather(1, z.argmax(1, keepdim=True)).expand(-1, D)
        return nn.Embedding(5, D)(z.argmax(-1)), z.masked_fill(z > 0, 1), nn.BatchNorm1d(D)(y.mT)

    assert counted(work) == type(counted(work))(0, 0, ())


def test_our_ops_declare_and_nothing_within_them_is_counted_or_named():
    found = counted(lambda: causal_conv(x.mT, torch.randn(D, L)) @ torch.ones(L, 2))
    assert found.products == B * D * L * 2
    assert found.declared > 0
    assert found.uncounted == ()
