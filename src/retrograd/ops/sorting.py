"""Order along an axis. What is sorted is taken at the sorted indices, which are constants to a derivative."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..kernels.spec import Array
from ..tensor import Tensor
from .gather import take_along_axis
from .rule import Op, Operand, as_tensor_operand, method, normalize_axis
from .shape import reshape


class Ordered(NamedTuple):
    """Elements along an axis in order, and the indices at which they stood."""

    values: Tensor
    indices: Tensor


class ArgSort(Op):
    name = "argsort"
    differentiable = False

    def forward(self, k: Any, x: Array, axis: int, descending: bool) -> Array:
        return k.argsort(x, axis, descending)


_argsort = ArgSort()


@method
def argsort(x: Operand, dim: int = -1, descending: bool = False) -> Tensor:
    """The indices along an axis that put x in order, as int64; equal elements stay in order, NaN is the largest."""
    x = as_tensor_operand("argsort", x)
    if x.ndim == 0:
        return reshape(argsort(reshape(x, 1), dim), ())
    return _argsort(x, axis=normalize_axis("argsort", dim, x.ndim), descending=bool(descending))


@method
def sort(x: Operand, dim: int = -1, descending: bool = False) -> Ordered:
    """x in ascending (or descending) order along an axis, and the indices that do it; equal elements stay in order.

    Example:
        >>> import retrograd as rg
        >>> rg.sort(rg.tensor([3.0, 1.0, 2.0]))
        Ordered(values=tensor([1., 2., 3.]), indices=tensor([1, 2, 0]))
    """
    x = as_tensor_operand("sort", x)
    indices = argsort(x, dim, descending)
    return Ordered(take_along_axis(x, indices, dim), indices)


@method
def topk(x: Operand, k: int, dim: int = -1, largest: bool = True) -> Ordered:
    """The k largest (or smallest) elements along an axis, in order, and their indices.

    Raises:
        ValueError: there are fewer than k.
    """
    x = as_tensor_operand("topk", x)
    if x.ndim == 0:
        return Ordered(*(reshape(t, t.shape[1:] if k else (0,)) for t in topk(reshape(x, 1), k, dim, largest)))
    axis = normalize_axis("topk", dim, x.ndim)
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"topk: k is {k}, but dim {dim} of shape {x.shape} has {x.shape[axis]} elements")
    indices = argsort(x, axis, descending=largest)[(slice(None),) * axis + (slice(k),)]
    return Ordered(take_along_axis(x, indices, axis), indices)


@method
def kthvalue(x: Operand, k: int, dim: int = -1, keepdim: bool = False) -> Ordered:
    """The k-th smallest element along an axis, k counting from 1, and its index.

    Raises:
        ValueError: there are fewer than k.
    """
    x = as_tensor_operand("kthvalue", x)
    if x.ndim == 0:
        return Ordered(*(reshape(t, ()) for t in kthvalue(reshape(x, 1), k)))
    axis = normalize_axis("kthvalue", dim, x.ndim)
    if not 1 <= k <= x.shape[axis]:
        raise ValueError(f"kthvalue: k is {k}, expected 1 to {x.shape[axis]}, the size of dim {dim} of shape {x.shape}")
    place = (slice(None),) * axis + (slice(k - 1, k) if keepdim else k - 1,)
    values, indices = sort(x, axis)
    return Ordered(values[place], indices[place])
