"""Count multiply-adds: those of PyTorch's matrix products as they run, those that our ops declare.

Operators that do work but are in neither are listed by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from recollect.ops.cost import Op

aten = torch.ops.aten
COMPLEX = 4
"""Real multiply-adds per complex one."""
Formula = Callable[[tuple[Any, ...], dict[str, Any], Any], int]
"""Multiply-adds of a call as a function of its arguments and its result."""


@dataclass(frozen=True)
class Counted:
    """The multiply-adds of a function call.

    Attributes:
        products: in matrix products (including outer products and `einsum`), convolutions,
            attention and recurrent layers of PyTorch. Attention counts all pairs, including masked
            ones; a complex product counts as four real ones.
        declared: declared by our ops.
        uncounted: names of operators that do work but are not counted: FFTs, scans, sorting,
            foreign kernels. Elementwise operations and sums are not listed.
    """

    products: int
    declared: int
    uncounted: tuple[str, ...]


def counted(work: Callable[[], object]) -> Counted:
    """Count the multiply-adds of a function call, without gradients.

    Kernels that bypass PyTorch's dispatcher are not seen.
    """
    products = _Products()
    declared = _Declared(products)
    with torch.no_grad(), products, declared:
        work()
    return Counted(products.total, declared.total, tuple(sorted(products.uncounted)))


class _Declared(TorchFunctionMode):
    """Sums what our ops declare, and pauses the other count inside of them."""

    def __init__(self, products: _Products) -> None:
        super().__init__()
        self.products = products
        self.total = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, Op):
            return self.products.adjusted(func, args, kwargs)
        self.products.paused += 1  # for the declaration, too, which may compute with tensors
        try:
            self.total += func.multiply_adds(*args, **kwargs)
            return func(*args, **kwargs)
        finally:
            self.products.paused -= 1


class _Products(TorchDispatchMode):
    """Sums the matrix products of PyTorch's operators, unless paused."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = self.paused = 0
        self.uncounted: set[str] = set()

    def adjusted(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a function, and correct the count if PyTorch computes its product differently."""
        before = self.total
        result = func(*args, **kwargs)
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        name = getattr(func, "__name__", "")
        if name in ELEMENTWISE and self.total == before and len(given) > 1 and not self.paused:
            numbers = max(tensor.numel() for tensor in (*given, result))
            self.total += numbers * COMPLEX ** result.is_complex()
        if name in CONVOLUTIONS and any(tensor.is_complex() for tensor in given):
            self.total += (self.total - before) // 3  # PyTorch uses three real convolutions
        return result

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        if isinstance(func, OpOverload) and _formula(func) is None:
            with self:  # under inference mode PyTorch does not split composite operators itself
                whole = func.decompose(*args, **kwargs)
            if whole is not NotImplemented:
                return whole
        result = func(*args, **kwargs)
        self._note(func, args, kwargs, result)
        return result

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        formula = _formula(func)
        if formula is not None:
            first = result if isinstance(result, Tensor) else result[0]
            self.total += formula(args, kwargs, result) * (COMPLEX ** first.is_complex())
        elif not (isinstance(func, OpOverload) and _is_free(func, args, kwargs)):
            packet = getattr(func, "overloadpacket", func)
            self.uncounted.add(str(packet).removeprefix("aten."))


def _formula(func: Any) -> Formula | None:
    """The formula of an operator; an in-place operator has that of its plain form."""
    packet = getattr(func, "overloadpacket", func)
    name = getattr(packet, "__name__", "")
    if packet not in FORMULAS and name.endswith("_") and str(packet).startswith("aten."):
        packet = getattr(aten, name.removesuffix("_"), packet)
    return FORMULAS.get(packet)


def _is_free(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operator is elementwise, a reduction, or only moves, creates or views elements."""
    if func.namespace not in ("aten", "prim", "prims"):
        return False
    name = func.overloadpacket.__name__
    if FREE_TAGS.intersection(func.tags) or name.removesuffix("_") in FREE:
        return True
    returned = [r.alias_info for r in func._schema.returns]
    is_view = any(alias is not None and not alias.is_write for alias in returned)
    given = tree_leaves((args, kwargs))
    return is_view or not any(isinstance(each, Tensor) for each in given)


def _of_pytorch(formula: Callable[..., int]) -> Formula:
    """Convert a formula of PyTorch, which counts a multiply-add as two operations."""
    return lambda args, kwargs, result: formula(*args, **kwargs, out_val=result) // 2


def _attention(args: tuple[Any, ...], _: dict[str, Any], __: Any) -> int:
    """Scores and weighted sums over all pairs; groups of heads may share keys and values."""
    query, key, value = args[:3]
    rows = math.prod(query.shape[:-1])
    return rows * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _recurrent(args: tuple[Any, ...], _: dict[str, Any], __: Any) -> int:
    """Recurrent layers: every weight matrix, of all layers and directions, acts on every input."""
    inputs, *others = args
    weights = [w for w in tree_leaves(others[:2]) if isinstance(w, Tensor) and w.dim() == 2]
    return math.prod(inputs.shape[:-1]) * sum(weight.numel() for weight in weights)


def _matrix_vector(args: tuple[Any, ...], _: dict[str, Any], __: Any) -> int:
    """`mv(matrix, vector)`, `addmv(bias, matrix, vector)`, `dot(vector, vector)`."""
    return int(args[-2].numel())


def _addbmm(args: tuple[Any, ...], _: dict[str, Any], __: Any) -> int:
    """`addbmm(bias, batch1, batch2)`."""
    return int(args[1].numel() * args[2].shape[-1])


def _outer(args: tuple[Any, ...], _: dict[str, Any], __: Any) -> int:
    """`addr(bias, vector, vector)`."""
    return int(args[1].numel() * args[2].numel())


FORMULAS: dict[Any, Formula] = {
    **{packet: _of_pytorch(formula) for packet, formula in flop_registry.items()},
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten.mkldnn_rnn_layer: _recurrent,
    aten._cudnn_rnn: _recurrent,
    **dict.fromkeys((aten.mv, aten.addmv, aten.dot, aten.vdot), _matrix_vector),
    aten.addbmm: _addbmm,
    aten.addr: _outer,
}
ELEMENTWISE = frozenset(("outer", "ger", "einsum", "tensordot", "linalg_vecdot"))
"""Functions that are products but that PyTorch may compute elementwise."""
CONVOLUTIONS = frozenset(f"conv{kind}{dims}d" for kind in ("", "_transpose") for dims in (1, 2, 3))
FREE_TAGS = frozenset(
    (
        torch.Tag.pointwise,
        torch.Tag.reduction,
        torch.Tag.nondeterministic_seeded,
        torch.Tag.inplace_view,
    )
)
MOVING = (
    "clone copy _to_copy lift_fresh contiguous _unsafe_view unsafe_split unsafe_split_with_sizes"
    " unsafe_chunk _reshape_alias cat stack repeat repeat_interleave roll flip tril triu diag_embed"
    " block_diag constant_pad_nd reflection_pad1d replication_pad1d fill zero complex index"
    " index_put _index_put_impl _unsafe_index _unsafe_index_put index_select index_copy index_fill"
    " index_add gather scatter scatter_add scatter_reduce take masked_fill masked_scatter squeeze"
    " masked_select select_scatter slice_scatter diagonal_scatter embedding where nonzero equal"
    " is_nonzero _local_scalar_dense _linalg_check_errors isin empty_like zeros_like ones_like"
    " full_like new_empty new_zeros new_ones new_full new_empty_strided rand_like randn_like"
)
SUMMING = (
    "sum mean prod amax amin aminmax max min argmax argmin any all var std var_mean std_mean"
    " logsumexp norm linalg_vector_norm trace _softmax _log_softmax _safe_softmax native_layer_norm"
    " native_group_norm native_batch_norm _native_batch_norm_legit"
    " _native_batch_norm_legit_no_training cudnn_batch_norm _fused_rms_norm _weight_norm_interface"
    " glu polar log_sigmoid_forward _prelu_kernel _thnn_fused_lstm_cell _thnn_fused_gru_cell"
)
FREE = frozenset((MOVING + " " + SUMMING).split())
"""Operators that move elements, reduce them or are elementwise, but have no tag that says so."""
