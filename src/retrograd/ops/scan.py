"""Products over axes, and scans: what has been added or multiplied so far along an axis.

Products are trees, and their scans are Hillis and Steele's ("Data parallel algorithms", Communications of the ACM
29(12), 1986), of log2(n) multiplications of whole arrays: exact derivatives of any order where elements are 0, which a
division by the element would not give.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..kernels.spec import Array, reduced
from ..tape import Node
from ..tensor import Tensor
from .arrange import at
from .creation import ones
from .elementary import logaddexp
from .reduction import Dim
from .rule import Op, Operand, as_tensor_operand, floating, method, normalize_axes, normalize_axis
from .shape import concatenate, permute, reshape, transpose


class CumulativeSum(Op):
    name = "cumsum"
    linear = True

    def forward(self, k: Any, x: Array, axis: int, reverse: bool) -> Array:
        return k.cumsum(x, axis, reverse)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (self(g, axis=ctx["axis"], reverse=not ctx["reverse"]),)


_cumsum = CumulativeSum()


def _counted(name: str, x: Operand) -> Tensor:
    """The operand; booleans and integers as int64, as they add up and multiply."""
    x = as_tensor_operand(name, x)
    return x if x.dtype.kind == "f" else x.to(dtypes.int64)


@method
def cumsum(x: Operand, dim: int) -> Tensor:
    """The sums along an axis up to and with each element. Integers and booleans sum as int64.

    Example:
        >>> import retrograd as rg
        >>> rg.cumsum(rg.tensor([1.0, 2.0, 3.0]), 0)
        tensor([1., 3., 6.])
    """
    x = _counted("cumsum", x)
    if x.ndim == 0:
        return x
    return _cumsum(x, axis=normalize_axis("cumsum", dim, x.ndim), reverse=False)


def _scanned(name: str, x: Tensor, dim: int, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """combine(…combine(x0, x1)…, xi) along an axis, for an associative function."""
    if x.ndim == 0:
        return x
    axis = normalize_axis(name, dim, x.ndim)
    step = 1
    while step < x.shape[axis]:
        kept, before, after = (x[at(axis, part)] for part in (slice(step), slice(None, -step), slice(step, None)))
        x = concatenate([kept, combine(before, after)], axis)
        step *= 2
    return x


@method
def cumprod(x: Operand, dim: int) -> Tensor:
    """The products along an axis up to and with each element. Integers and booleans multiply as int64.

    Example:
        >>> import retrograd as rg
        >>> rg.cumprod(rg.tensor([1.0, 2.0, 3.0]), 0)
        tensor([1., 2., 6.])
    """
    return _scanned("cumprod", _counted("cumprod", x), dim, lambda a, b: a * b)


@method
def logcumsumexp(x: Operand, dim: int) -> Tensor:
    """log(cumsum(exp(x))) along an axis, without overflow.

    Example:
        >>> import retrograd as rg
        >>> rg.logcumsumexp(rg.zeros(3), 0).exp()
        tensor([1., 2., 3.])
    """
    return _scanned("logcumsumexp", floating("logcumsumexp", x), dim, logaddexp)


@method
def prod(x: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The product over the axes `dim` (all of them for None); over none it is 1. Integers multiply as int64.

    Args:
        x: any shape.
        dim: an axis, a tuple of axes, or None.
        keepdim: keep the reduced axes, with size one.

    Example:
        >>> import retrograd as rg
        >>> x = rg.tensor([2.0, 0.0, 5.0], requires_grad=True)
        >>> rg.prod(x).backward()
        >>> x.grad
        tensor([ 0., 10.,  0.])
    """
    x = _counted("prod", x)
    axes = normalize_axes("prod", dim, x.ndim)
    shape = reduced(x.shape, axes, keepdim)
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    count = 1
    for a in axes:
        count *= x.shape[a]
    if count == 0:
        return ones(shape, dtype=x.dtype)
    y = reshape(permute(x, *axes, *kept), count, *(x.shape[a] for a in kept))
    while (n := y.shape[0]) > 1:
        half = n // 2
        multiplied = y[:half] * y[half : 2 * half]
        y = concatenate([multiplied, y[2 * half :]]) if n % 2 else multiplied
    return reshape(y, shape)


@method
def diff(x: Operand, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """The differences of neighbours along an axis, n times over, of x with `prepend` before and `append` after it.

    Example:
        >>> import retrograd as rg
        >>> rg.diff(rg.tensor([1.0, 3.0, 6.0]))
        tensor([2., 3.])
    """
    x = as_tensor_operand("diff", x)
    if n == 0:
        return x
    parts = [transpose(t, dim, -1) for t in (prepend, x, append) if t is not None]
    y = concatenate(parts, -1) if len(parts) > 1 else parts[0]
    for _ in range(n):
        y = y[..., 1:] - y[..., :-1]
    return transpose(y, dim, -1)
