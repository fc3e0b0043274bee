"""Order along an axis. What is sorted is taken at the sorted indices, which are constants to a derivative."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..kernels.spec import Array
from ..tape import Node
from ..tensor import Tensor
from .along import _add_along_axis, _take_along_axis
from .arrange import moveaxis
from .elementary import isnan, lerp
from .elementwise import maximum, minimum, where
from .gather import take_along_axis
from .reduction import amax, amin, require_elements
from .rule import OUTPUT, Op, Operand, as_tensor_operand, floating, looked_at, method, normalize_axis
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
def unique(
    x: Operand, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The different elements of x, in ascending order; or the different slices along an axis.

    Args:
        x: any shape.
        sorted: they always are.
        return_inverse: whether to return too where each element of x stands among them.
        return_counts: whether to return too how often each occurs.
        dim: the axis of the slices; None for elements.

    Returns:
        a vector, or with dim as many axes as x has; or a tuple of it, the inverse (of x's shape, or a vector with dim)
        and the counts, as asked for, of int64. It has no derivative. Each NaN is different from the others.

    Raises:
        RuntimeError: in a compiled step, of what it calculates: how many there are would not be known.

    Example:
        >>> import retrograd as rg
        >>> rg.unique(rg.tensor([3, 1, 3]), return_inverse=True, return_counts=True)
        (tensor([1, 3]), tensor([1, 0, 1]), tensor([1, 2]))
    """
    x = as_tensor_operand("unique", x)
    axis = None if dim is None else normalize_axis("unique", dim, x.ndim)
    numbers = looked_at("unique", x, "rg.sort() keeps the shape")
    found, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True, axis=axis, equal_nan=False)
    asked = [found]
    if return_inverse:
        asked.append(inverse.reshape(x.shape if axis is None else -1))
    if return_counts:
        asked.append(counts)
    return Tensor(found) if len(asked) == 1 else tuple(map(Tensor, asked))


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


@method
def median(x: Operand, dim: int | None = None, keepdim: bool = False) -> Any:
    """The element in the middle, the lower one of two: of all, or along an axis with its index; NaN where there is one.

    Raises:
        ValueError: there is no element.

    Example:
        >>> import retrograd as rg
        >>> rg.median(rg.tensor([3.0, 1.0, 2.0]))
        tensor(2.)
    """
    x = as_tensor_operand("median", x)
    if dim is None:
        return median(reshape(x, -1), 0).values
    if x.ndim == 0:
        return Ordered(*(reshape(t, ()) for t in median(reshape(x, 1), dim)))
    axis = normalize_axis("median", dim, x.ndim)
    require_elements("median", x, (axis,))
    values, indices = sort(x, axis)
    ahead, middle = (slice(None),) * axis, (x.shape[axis] - 1) // 2
    middle_one, last = ((*ahead, slice(i, i + 1) if keepdim else i) for i in (middle, -1 % x.shape[axis]))
    spoilt = isnan(values[last])
    return Ordered(*(where(spoilt, t[last], t[middle_one]) for t in (values, indices)))


@method
def quantile(
    x: Operand, q: Any, dim: int | None = None, keepdim: bool = False, interpolation: str = "linear"
) -> Tensor:
    """What a share q of the elements along an axis, or of all, lies below; NaN where one of them is.

    Args:
        x: floating, any shape.
        q: a number in [0, 1], or a vector of them, which becomes the first axis of the result.
        dim: the axis; None for all elements.
        keepdim: keep the axis, or all of them, with size 1.
        interpolation: between the two elements around the place q (n - 1): "linear", "midpoint", or one of them,
            "lower", "higher" or "nearest".

    Raises:
        ValueError: there is no element, q is out of range, or an unknown interpolation.

    Example:
        >>> import retrograd as rg
        >>> rg.quantile(rg.tensor([0.0, 1.0, 2.0, 4.0]), 0.5)
        tensor(1.5)
    """
    x, shares = floating("quantile", x), np.asarray(q, np.float64)
    if interpolation not in _PLACES:
        raise ValueError(f"quantile: unknown interpolation {interpolation!r}; expected one of {', '.join(_PLACES)}")
    if shares.ndim > 1 or not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"quantile: q is {q}, expected a number in [0, 1] or a vector of them")
    rows, axis = (reshape(x, -1), 0) if dim is None else (x, normalize_axis("quantile", dim, x.ndim or 1))
    rows = reshape(rows, 1) if rows.ndim == 0 else rows
    require_elements("quantile", rows, (axis,))
    count = rows.shape[axis]
    values = moveaxis(sort(rows, axis).values, axis, 0)
    place = np.atleast_1d(shares) * (count - 1)
    below, above = (values[np.asarray(i, np.int64)] for i in _PLACES[interpolation](place))
    part = (place % 1 if interpolation == "linear" else np.full(place.shape, 0.5)).astype(x.dtype)
    found = lerp(below, above, Tensor(part.reshape(-1, *(1,) * (values.ndim - 1))))
    found = where(isnan(values[count - 1]), values[count - 1], found)
    if x.ndim == 0:
        found = reshape(found, -1)
    elif keepdim:
        found = reshape(found, -1, *((1,) * x.ndim if dim is None else (*x.shape[:axis], 1, *x.shape[axis + 1 :])))
    return found if shares.ndim else found[0]


_PLACES: dict[str, Any] = {
    "linear": lambda place: (np.floor(place), np.ceil(place)),
    "midpoint": lambda place: (np.floor(place), np.ceil(place)),
    "lower": lambda place: (np.floor(place), np.floor(place)),
    "higher": lambda place: (np.ceil(place), np.ceil(place)),
    "nearest": lambda place: (np.rint(place), np.rint(place)),
}
"""Between which two sorted elements a quantile lies."""


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
