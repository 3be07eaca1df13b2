"""Measured state at d_model 128 against what the papers say a layer carries after 512 tokens."""

import pytest

from recollect.referee.check import measure

pytestmark = pytest.mark.slow

D, TOKENS = 128, 512

NUMBERS = {
    # keys and values, or all inputs of a convolution
    "attention": 2 * D * TOKENS,
    "sliding-window": 2 * D * 63,  # a window of 64; the present one is on its way
    "sparse-attention": 2 * D * TOKENS + TOKENS,  # and the tokens, to tell which occurred before
    "gated-attention": 2 * D * TOKENS,
    "path": 2 * D * TOKENS + 2 * D,  # and the convolution of the directions
    "fox": (2 * D + 2) * TOKENS,  # and how much of each was forgotten, in two heads
    "hymba": (D + 2 * D) * TOKENS + 2 * D * (16 + 3),  # values as wide as Mamba's scan
    "moba": 2 * D * TOKENS,
    "mla": (4 * 32 + 16) * TOKENS,  # four times and half of a head's width
    "long-conv": D * TOKENS,
    "hyena": D * TOKENS + 2 * 3 * D,  # and a short convolution of width 3 on three maps
    "input-dependent-conv": D * TOKENS + TOKENS,
    # heads x head_k_dim x head_v_dim, and the buffer of a convolution of width 4
    "linear-attention": D * (D + 1),  # one head, whose weights are summed beside the values
    "taylor-linear-attention": (1 + 16 + 16 * 17 // 2) * (D + 1),
    "retnet": 4 * 32 * 64,
    "gla": 4 * 16 * 32,
    "mamba2": 4 * 128 * 64 + 3 * (2 * D + 2 * 128),
    "mamba3": 4 * (128 * 64 + 128 + 64 + 32),  # and the last B, the last x, and the angles
    "delta-net": 2 * 64 * 64 + 3 * 3 * D,
    "gated-delta-net": 2 * 64 * 128 + 3 * (2 * D + 2 * D),
    "hgrn2": 128 * D,
    "rwkv6": 2 * 64 * 64 + D,  # and the input before
    "gsa": 4 * 32 * (32 + 32),  # a key and a value in each slot
    "ttt-linear": 2 * 2 * (64 * 64 + 64),  # a model, and what its gradients add up to
    # 512 positions are one block
    "log-linear-mamba2": 4 * 128 * 64 + 3 * (2 * D + 2 * 128),
    "log-linear-gated-delta-net": 2 * 64 * 128 + 3 * (2 * D + 2 * D),
    "mlstm": 4 * (64 * 65 + 1) + 3 * 2 * D,
    "slstm": 4 * D + 3 * D,
    "raven": 4 * 32 * (32 + 32),  # a key and a value in each slot
    "mesa-net": 2 * 4 * 32 * 32 + 3 * 2 * D,
    "kda": 2 * 64 * 64 + 3 * 3 * D,
    "gated-delta-net-2": 2 * 64 * 64 + 3 * 3 * D,
    "gated-delta-product": 2 * 64 * 128 + 3 * (D + 2 * D + 4 * D),  # two keys and values a token
    "comba": 2 * 64 * 128 + 3 * (2 * D + 2 * D),
    "rwkv7": 2 * 64 * 64 + D,  # and the input before
    # channels x states of each, and the buffer of a convolution of width 4
    "mamba": 2 * D * 16 + 3 * 2 * D,
    "s6": D * 16,
    "rg-lru": D + 3 * D,
    "min-gru": 2 * D,
    "min-lstm": 2 * D,
    "gru": D,
    "lstm": 2 * D,
    "rwkv4": 3 * D + D,  # numerator, denominator, exponent; and the input before
    "h3": 64 * D + 63 * D,  # a diagonal and a shift SSM of 64 states; the shift's newest is here
}


@pytest.mark.parametrize("name", NUMBERS)
def test_the_state_is_as_large_as_the_papers_have_it(name):
    state = measure(name, d_model=D)[0].state
    assert state.numbers[TOKENS] == NUMBERS[name]
