"""Gathering and scattering along an axis by integer indices, and by masks."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from ..tape import state
from ..tensor import Tensor
from .along import _add_along_axis, _put_along_axis, _take_along_axis
from .arrange import at
from .elementary import remainder
from .elementwise import equal, where
from .index import _index_add, _kept, _overwrite, has_numbers
from .rule import Operand, as_tensor_operand, looked_at, method, normalize_axis, operands
from .shape import broadcast_tensors, broadcast_to, flatten, reshape


def _indices(name: str, index: Operand, size: int) -> Tensor:
    """The indices of an axis, as int64.

    Raises:
        TypeError: they are not whole numbers. IndexError: one is out of range.
    """
    index = as_tensor_operand(name, index)
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name}: indices are {index.dtype}, expected whole numbers")
    if has_numbers(index.array) and index.size:
        low, high = int(index.array.min()), int(index.array.max())
        if low < -size or high >= size:
            raise IndexError(f"{name}: index {low if low < -size else high} is out of range for {size} elements")
    return index.to(np.int64)


@method
def take_along_axis(x: Operand, indices: Operand, dim: int | None = -1) -> Tensor:
    """x at `indices` along an axis, at each place of the others, as np.take_along_axis does.

    Args:
        x: any shape.
        indices: whole numbers in [-n, n), n being the size of the axis; their shape and x's broadcast but for it.
        dim: the axis; None for both as vectors, in C order.

    Raises:
        ValueError: the shapes do not fit. IndexError: an index is out of range.

    Example:
        >>> import retrograd as rg
        >>> x = rg.tensor([[2, 1], [3, 4]])
        >>> rg.take_along_axis(x, rg.argsort(x, 1), 1)
        tensor([[1, 2],
                [3, 4]])
    """
    x = as_tensor_operand("take_along_axis", x)
    if dim is None:
        return take_along_axis(flatten(x), flatten(as_tensor_operand("take_along_axis", indices)), 0)
    if x.ndim == 0:
        return reshape(take_along_axis(reshape(x, 1), reshape(as_tensor_operand("take_along_axis", indices), 1)), ())
    axis = normalize_axis("take_along_axis", dim, x.ndim)
    indices = _indices("take_along_axis", indices, x.shape[axis])
    if indices.ndim != x.ndim:
        raise ValueError(f"take_along_axis: indices of shape {indices.shape} need the {x.ndim} axes of shape {x.shape}")
    if x.shape[:axis] + x.shape[axis + 1 :] != indices.shape[:axis] + indices.shape[axis + 1 :]:
        others = [(*t.shape[:axis], 1, *t.shape[axis + 1 :]) for t in (x, indices)]
        lead = np.broadcast_shapes(*others)
        x = broadcast_to(x, (*lead[:axis], x.shape[axis], *lead[axis + 1 :]))
        indices = broadcast_to(indices, (*lead[:axis], indices.shape[axis], *lead[axis + 1 :]))
    return _take_along_axis(x, indices, axis=axis, size=x.shape[axis])


def _corner(name: str, x: Tensor, index: Tensor, axis: int) -> tuple[slice, ...]:
    """What of x the places of `index` lie in: x may be larger, but for the axis itself."""
    if index.ndim != x.ndim or builtins.any(
        n > m for i, (n, m) in enumerate(zip(index.shape, x.shape, strict=True)) if i != axis
    ):
        raise ValueError(f"{name}: index of shape {index.shape} must fit into shape {x.shape}, but for dim {axis}")
    return tuple(slice(None) if i == axis else slice(n) for i, n in enumerate(index.shape))


@method
def gather(x: Operand, dim: int, index: Operand) -> Tensor:
    """x at `index` along an axis, at each place of the index: for dim 0 of a matrix y[i, j] = x[index[i, j], j].

    Raises:
        ValueError: the index is larger than x in another axis. IndexError: an index is out of range.

    Example:
        >>> import retrograd as rg
        >>> rg.gather(rg.tensor([[1, 2], [3, 4]]), 1, rg.tensor([[1], [0]]))
        tensor([[2],
                [3]])
    """
    x, index = as_tensor_operand("gather", x), as_tensor_operand("gather", index)
    if x.ndim == 0 or index.ndim == 0:
        return reshape(gather(reshape(x, -1), dim, reshape(index, -1)), index.shape)
    axis = normalize_axis("gather", dim, x.ndim)
    index = _indices("gather", index, x.shape[axis])
    corner = x[_corner("gather", x, index, axis)]
    return _take_along_axis(corner, index, axis=axis, size=x.shape[axis])


@method
def scatter_add(x: Operand, dim: int, index: Operand, src: Operand) -> Tensor:
    """x with src added at `index` along an axis, the transpose of gather: y[index[i, j], j] += src[i, j] for dim 0.

    Raises:
        ValueError: the index is larger than x in another axis, or than src. IndexError: an index is out of range.

    Example:
        >>> import retrograd as rg
        >>> rg.scatter_add(rg.zeros(3), 0, rg.tensor([0, 2, 0]), rg.tensor([1.0, 2.0, 3.0]))
        tensor([4., 0., 2.])
    """
    x, src = operands("scatter_add", x, src)
    index = as_tensor_operand("scatter_add", index)
    if x.ndim == 0:
        return reshape(scatter_add(reshape(x, 1), dim, reshape(index, -1), reshape(src, -1)), ())
    axis = normalize_axis("scatter_add", dim, x.ndim)
    index = _indices("scatter_add", index, x.shape[axis])
    corner = _corner("scatter_add", x, index, axis)
    added = _add_along_axis(_fitting("scatter_add", src, index), index, axis=axis, size=x.shape[axis])
    return x + (added if added.shape == x.shape else _index_add(added, key=corner, shape=x.shape))


def _fitting(name: str, src: Tensor, index: Tensor) -> Tensor:
    """What of src there is an index for."""
    if src.ndim != index.ndim or builtins.any(n > m for n, m in zip(index.shape, src.shape, strict=True)):
        raise ValueError(f"{name}: index of shape {index.shape} must fit into src of shape {src.shape}")
    return src if src.shape == index.shape else src[tuple(slice(n) for n in index.shape)]


@method
def scatter(x: Operand, dim: int, index: Operand, src: Operand) -> Tensor:
    """x with src in place of what stands at `index` along an axis: y[index[i, j], j] = src[i, j] for dim 0.

    Args:
        x: any shape.
        dim: the axis.
        index: whole numbers in [-n, n), n being the size of the axis. Where one repeats, the last value in C order
            stays, and the derivative by src is that of no index that repeats.
        src: of x's dtype, at least as large as the index; or a number, for all places.

    Raises:
        ValueError: the index is larger than x in another axis, or than src. IndexError: an index is out of range.

    Example:
        >>> import retrograd as rg
        >>> rg.scatter(rg.zeros(2, 3), 1, rg.tensor([[2], [0]]), 1.0)
        tensor([[0., 0., 1.],
                [1., 0., 0.]])
    """
    x = as_tensor_operand("scatter", x)
    index, src = as_tensor_operand("scatter", index), _valued("scatter", x, src)
    if x.ndim == 0:
        return reshape(scatter(reshape(x, 1), dim, reshape(index, -1), reshape(src, -1)), ())
    axis = normalize_axis("scatter", dim, x.ndim)
    index = _indices("scatter", index, x.shape[axis])
    corner = _corner("scatter", x, index, axis)
    values = broadcast_to(src, index.shape) if src.ndim == 0 else _fitting("scatter", src, index)
    if index.shape[:axis] + index.shape[axis + 1 :] == x.shape[:axis] + x.shape[axis + 1 :]:
        return _put_along_axis(x, values, index, axis=axis)
    return _overwrite(x, _put_along_axis(x[corner], values, index, axis=axis), key=corner)


def _valued(name: str, x: Tensor, value: Operand) -> Tensor:
    """What is put into x, in its dtype.

    Raises:
        TypeError: it is a tensor of another dtype.
    """
    tensor = as_tensor_operand(name, value, x)
    if isinstance(value, Tensor) and value.dtype != x.dtype and value.ndim:
        raise TypeError(f"{name}: values are {value.dtype}, expected {x.dtype} like the tensor that they are put into")
    return tensor.to(x.dtype)


@method
def index_select(x: Operand, dim: int, index: Operand) -> Tensor:
    """The slices of x along an axis at the indices, a vector of whole numbers.

    Example:
        >>> import retrograd as rg
        >>> rg.index_select(rg.tensor([[1, 2], [3, 4]]), 1, rg.tensor([1]))
        tensor([[2],
                [4]])
    """
    x = as_tensor_operand("index_select", x)
    if x.ndim == 0:
        return reshape(index_select(reshape(x, 1), 0, index), ())
    axis = normalize_axis("index_select", dim, x.ndim)
    return x[at(axis, flatten(_indices("index_select", index, x.shape[axis])))]


@method
def take(x: Operand, indices: Operand, dim: int | None = None) -> Tensor:
    """x at the indices along an axis; of x in C order where dim is None. As np.take.

    Example:
        >>> import retrograd as rg
        >>> rg.take(rg.tensor([[1, 2], [3, 4]]), rg.tensor([0, 3]))
        tensor([1, 4])
    """
    x = as_tensor_operand("take", x)
    if dim is None:
        x, dim = flatten(x), 0
    axis = normalize_axis("take", dim, x.ndim)
    return x[at(axis, _indices("take", indices, x.shape[axis]))]


@method
def index_add(x: Operand, dim: int, index: Operand, source: Operand, alpha: float = 1) -> Tensor:
    """x with alpha * source's slices along an axis added at the indices, which add up where one repeats.

    Raises:
        ValueError: source has another shape than x[index] along that axis. IndexError: an index is out of range.

    Example:
        >>> import retrograd as rg
        >>> rg.index_add(rg.zeros(3), 0, rg.tensor([0, 2, 0]), rg.tensor([1.0, 2.0, 3.0]))
        tensor([4., 0., 2.])
    """
    x, source = operands("index_add", x, source)
    if x.ndim == 0:
        return reshape(index_add(reshape(x, 1), 0, index, reshape(source, -1), alpha), ())
    axis = normalize_axis("index_add", dim, x.ndim)
    places = flatten(_indices("index_add", index, x.shape[axis]))
    expected = (*x.shape[:axis], places.size, *x.shape[axis + 1 :])
    if source.shape != expected:
        raise ValueError(f"index_add: source has shape {source.shape}, expected {expected}")
    added = source * alpha if alpha != 1 else source
    if has_numbers(places.array):
        state.kernels.look(places.array)
        return x + _index_add(added, key=_kept(at(axis, places.array)), shape=x.shape)
    return x + _add_along_axis(added, _along(places, axis, added.shape), axis=axis, size=x.shape[axis])


def _along(places: Tensor, axis: int, shape: tuple[int, ...]) -> Tensor:
    """A vector of places along an axis, repeated along the others."""
    return broadcast_to(reshape(places, *(-1 if i == axis else 1 for i in range(len(shape)))), shape)


@method
def index_copy(x: Operand, dim: int, index: Operand, source: Operand) -> Tensor:
    """x with source's slices along an axis in place of those at the indices.

    Args:
        x: any shape.
        dim: the axis.
        index: a vector of whole numbers in [-n, n), n being the size of the axis; where one repeats, the last slice
            stays.
        source: of x's dtype; its shape is x's but for the axis, whose size is that of the index.

    Raises:
        ValueError: source has another shape. IndexError: an index is out of range.

    Example:
        >>> import retrograd as rg
        >>> rg.index_copy(rg.zeros(3), 0, rg.tensor([2, 0]), rg.tensor([1.0, 2.0]))
        tensor([2., 0., 1.])
    """
    x = as_tensor_operand("index_copy", x)
    source = _valued("index_copy", x, source)
    if x.ndim == 0:
        return reshape(index_copy(reshape(x, 1), 0, index, reshape(source, -1)), ())
    axis = normalize_axis("index_copy", dim, x.ndim)
    places = flatten(_indices("index_copy", index, x.shape[axis]))
    expected = (*x.shape[:axis], places.size, *x.shape[axis + 1 :])
    if source.shape != expected:
        raise ValueError(f"index_copy: source has shape {source.shape}, expected {expected}")
    return _put_along_axis(x, source, _along(places, axis, expected), axis=axis)


@method
def index_fill(x: Operand, dim: int, index: Operand, value: Operand) -> Tensor:
    """x with one value in the slices along an axis at the indices, a vector of whole numbers.

    Raises:
        ValueError: there are several values. IndexError: an index is out of range.

    Example:
        >>> import retrograd as rg
        >>> rg.index_fill(rg.zeros(2, 3), 1, rg.tensor([0, 2]), 1.0)
        tensor([[1., 0., 1.],
                [1., 0., 1.]])
    """
    x = as_tensor_operand("index_fill", x)
    filling = as_tensor_operand("index_fill", value, x).to(x.dtype)
    if filling.ndim:
        raise ValueError(f"index_fill: value has shape {filling.shape}, expected one number")
    if x.ndim == 0:
        return reshape(index_fill(reshape(x, 1), 0, index, filling), ())
    axis = normalize_axis("index_fill", dim, x.ndim)
    places = flatten(_indices("index_fill", index, x.shape[axis]))
    zeros, ones = (Tensor(make(n, np.float32)) for make, n in ((np.zeros, x.shape[axis]), (np.ones, places.size)))
    named = _put_along_axis(zeros, ones, places, axis=0) > 0
    return where(reshape(named, *(-1 if i == axis else 1 for i in range(x.ndim))), filling, x)


@method
def nonzero(x: Operand, as_tuple: bool = False) -> Any:
    """Where x is not 0, in C order.

    Args:
        x: any shape.
        as_tuple: whether to return a vector for each axis, as np.nonzero does, with which x can be indexed.

    Returns:
        int64 (places, axes), or that tuple.

    Raises:
        RuntimeError: in a compiled step, of what it calculates: how many there are would not be known.

    Example:
        >>> import retrograd as rg
        >>> rg.nonzero(rg.tensor([[0.0, 2.0], [3.0, 0.0]]))
        tensor([[0, 1],
                [1, 0]])
    """
    x = as_tensor_operand("nonzero", x)
    numbers = looked_at("nonzero", x, "rg.where(), or the product with a mask, keeps the shape")
    found = np.nonzero(np.atleast_1d(numbers))
    return tuple(map(Tensor, found)) if as_tuple else Tensor(np.stack(found, axis=1)[:, : x.ndim])


@method
def masked_fill(x: Operand, mask: Operand, value: Operand) -> Tensor:
    """x with `value` where the boolean mask holds; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> x = rg.tensor([1.0, -2.0])
        >>> rg.masked_fill(x, x < 0, 0.0)
        tensor([1., 0.])
    """
    x = as_tensor_operand("masked_fill", x)
    return where(mask, as_tensor_operand("masked_fill", value, x).to(x.dtype), x)


@method
def masked_select(x: Operand, mask: Operand) -> Tensor:
    """The elements of x where the boolean mask holds, in C order, as a vector; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> x = rg.tensor([1.0, -2.0])
        >>> rg.masked_select(x, x > 0)
        tensor([1.])
    """
    x, mask = broadcast_tensors(as_tensor_operand("masked_select", x), as_tensor_operand("masked_select", mask))
    return x[mask]


def embedding(input: Operand, weight: Operand, padding_idx: int | None = None) -> Tensor:
    """The rows of a table (rows, …) at indices of any shape.

    Args:
        input: whole numbers in [-rows, rows).
        weight: the table.
        padding_idx: the index of a row that gets no gradient, in [-rows, rows); None for none.

    Raises:
        IndexError: an index is out of range. TypeError: they are not whole numbers.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.embedding(rg.tensor([1, 0]), rg.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[3., 4.],
                [1., 2.]])
    """
    table = as_tensor_operand("embedding", weight)
    rows = table.shape[0]
    index = _indices("embedding", input, rows)
    found = table[index]
    if padding_idx is None or not found.requires_grad:
        return found
    padding = equal(remainder(index, rows), padding_row("embedding", padding_idx, rows))
    return where(reshape(padding, *index.shape, *(1,) * (table.ndim - 1)), found.detach(), found)


def padding_row(name: str, padding_idx: int, rows: int) -> int:
    """A table's row for padding, counted from the front.

    Raises:
        IndexError: padding_idx is not in [-rows, rows).
    """
    if not -rows <= padding_idx < rows:
        raise IndexError(f"{name}: padding_idx {padding_idx} is out of range for {rows} rows")
    return padding_idx % rows
