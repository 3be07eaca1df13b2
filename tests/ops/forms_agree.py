"""How closely the forms of recurrences must agree with their definitions in float64.

Triton's kernels run on a GPU if there is one, and in Triton's interpreter otherwise.
"""

import torch
from test_scan import with_gradients

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FORMS = {"torch": (torch.float64, 1e-10, 1e-10), "triton": (torch.float32, 1e-5, 1e-4)}
"""Type, and the errors of outputs and gradients relative to the largest value."""


def assert_agree(form, fast, definition, inputs, n_outputs):
    """Compare outputs and gradients of the fast form with the definition in float64."""
    dtype, error, error_of_gradients = FORMS[form]
    inputs = [x.detach().to(DEVICE, dtype).requires_grad_() for x in inputs]
    actual = with_gradients(fast, inputs)
    expected = with_gradients(definition, [x.detach().double().requires_grad_() for x in inputs])
    for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert a.shape == e.shape
        assert a.dtype == dtype
        allowed = error if i < n_outputs else error_of_gradients
        assert (a - e).abs().max() <= allowed * e.abs().max()


def a_scan(function):
    return lambda *inputs: (function(*inputs),)
