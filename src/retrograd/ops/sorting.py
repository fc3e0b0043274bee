"""Order along an axis. What is sorted is taken at the sorted indices, which are constants to a derivative."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..kernels.spec import Array
from ..tape import Node
from ..tensor import Tensor
from .along import _add_along_axis, _take_along_axis
from .elementwise import maximum, minimum
from .gather import take_along_axis
from .reduction import amax, amin, require_elements
from .rule import OUTPUT, Op, Operand, as_tensor_operand, method, normalize_axis
from .shape import reshape, squeeze


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
    """The indices along an axis that put x in order, as int64; equal elements stay in order, NaN is the largest.

    Example:
        >>> import retrograd as rg
        >>> rg.argsort(rg.tensor([3.0, 1.0, 2.0]))
        tensor([1, 2, 0])
    """
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

    Example:
        >>> import retrograd as rg
        >>> rg.topk(rg.tensor([3.0, 1.0, 2.0]), 2).values
        tensor([3., 2.])
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

    Example:
        >>> import retrograd as rg
        >>> rg.kthvalue(rg.tensor([3.0, 1.0, 2.0]), 2).values
        tensor(2.)
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


class ExtremumAlong(Op):
    """max or min along an axis: the elements, by the kernel a + name, and their first indices."""

    saves = (OUTPUT - 1,)

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, k: Any, x: Array, axis: int) -> tuple[Array, Array]:
        return tuple(getattr(k, kind + self.name)(x, (axis,), True) for kind in ("a", "arg"))  # type: ignore[return-value]

    def vjp(self, ctx: Node, g: Tensor, _: None) -> tuple[Tensor]:
        axis = ctx["axis"]
        return (_add_along_axis(g, *self.saved(ctx), axis=axis, size=ctx.shapes[0][axis]),)

    def jvp(self, ctx: Node, t: Tensor) -> tuple[Tensor, None]:
        axis = ctx["axis"]
        return _take_along_axis(t, *self.saved(ctx), axis=axis, size=ctx.shapes[0][axis]), None


def _extremum(name: str, x: Operand, dim: Any, keepdim: bool) -> Any:
    over_all, along, of_two = _EXTREMA[name]
    if isinstance(dim, (tuple, list)):
        raise TypeError(f"{name}: dim is {dim}, expected one axis; over several axes it is a{name}()")
    if dim is not None and not isinstance(dim, (int, np.integer)):
        return of_two(x, dim)
    x = as_tensor_operand(name, x)
    if dim is None:
        return over_all(x)
    if x.ndim == 0:
        return Ordered(*(reshape(t, ()) for t in _extremum(name, reshape(x, 1), dim, keepdim)))
    axis = normalize_axis(name, int(dim), x.ndim)
    require_elements(name, x, (axis,))
    values, indices = along(x, axis=axis)
    pair = Ordered(values, indices.detach())
    return pair if keepdim else Ordered(*(squeeze(t, axis) for t in pair))


_EXTREMA = {"max": (amax, ExtremumAlong("max"), maximum), "min": (amin, ExtremumAlong("min"), minimum)}


@method
def max(x: Operand, dim: int | Operand | None = None, keepdim: bool = False) -> Any:
    """The largest element; along an axis also where it stands; or, of two tensors, maximum().

    Args:
        x: any shape.
        dim: None, for the largest of all; an axis; or a tensor that x is compared with.
        keepdim: keep the reduced axis, with size one.

    Returns:
        a tensor, like amax(), or (values, indices) along an axis. The gradient of values goes to the first of equal
        elements; amax() shares it between them.

    Raises:
        ValueError: there is no element. TypeError: several axes are given: those are amax()'s.

    Example:
        >>> import retrograd as rg
        >>> rg.tensor([[3.0, 1.0], [2.0, 4.0]]).max(1)
        Ordered(values=tensor([3., 4.]), indices=tensor([0, 1]))
    """
    return _extremum("max", x, dim, keepdim)


@method
def min(x: Operand, dim: int | Operand | None = None, keepdim: bool = False) -> Any:
    """The smallest element; along an axis also where it stands; or, of two tensors, minimum(). As max().

    Example:
        >>> import retrograd as rg
        >>> rg.min(rg.tensor([[3.0, 1.0], [2.0, 4.0]]), 1).values
        tensor([1., 2.])
    """
    return _extremum("min", x, dim, keepdim)
