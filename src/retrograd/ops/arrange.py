"""Rearranging: reversed, rolled, repeated and padded axes, triangles and diagonals, windows and grids.

All are made of views, joining and indexing, which have the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor
from .elementwise import where
from .index import _index_add
from .reduction import sum
from .rule import Operand, as_tensor_operand, method, normalize_axes, normalize_axis
from .shape import _sizes, broadcast_to, concatenate, flatten, permute, reshape, transpose, unsqueeze

Axes = int | Sequence[int]


def _axes(name: str, dims: Axes, ndim: int) -> tuple[int, ...]:
    """The axes in the order given.

    Raises:
        IndexError: one is out of range. ValueError: one is named twice.
    """
    given = (dims,) if isinstance(dims, int) else tuple(dims)
    normalize_axes(name, given, ndim)
    return tuple(normalize_axis(name, d, ndim) for d in given)


def at(axis: int, part: slice | int | np.ndarray | Tensor) -> tuple[Any, ...]:
    """The key that indexes one axis, and takes those before it whole."""
    return (*(slice(None),) * axis, part)


# Axes


@method
def swapaxes(x: Operand, dim0: int, dim1: int) -> Tensor:
    """x with two axes exchanged: a view; transpose under NumPy's name.

    Example:
        >>> import retrograd as rg
        >>> rg.swapaxes(rg.ones(2, 3, 4), 0, 2).shape
        (4, 3, 2)
    """
    return transpose(as_tensor_operand("swapaxes", x), dim0, dim1)


@method
def moveaxis(x: Operand, source: Axes, destination: Axes) -> Tensor:
    """x with the axes `source` at the places `destination`, the others in their order: a view.

    Example:
        >>> import retrograd as rg
        >>> rg.moveaxis(rg.ones(2, 3, 4), 0, -1).shape
        (3, 4, 2)
    """
    x = as_tensor_operand("moveaxis", x)
    if x.ndim == 0:
        return x
    old, new = _axes("moveaxis", source, x.ndim), _axes("moveaxis", destination, x.ndim)
    if len(old) != len(new):
        raise ValueError(f"moveaxis: source {source} and destination {destination} must name equally many axes")
    rest = iter(a for a in range(x.ndim) if a not in old)
    return permute(x, *(old[new.index(a)] if a in new else next(rest) for a in range(x.ndim)))


movedim = moveaxis


def expand_dims(x: Operand, dim: Axes) -> Tensor:
    """x with new axes of size one at `dim`, as they are counted in the result: a view.

    Example:
        >>> import retrograd as rg
        >>> rg.expand_dims(rg.ones(2, 3), 0).shape
        (1, 2, 3)
    """
    x = as_tensor_operand("expand_dims", x)
    count = 1 if isinstance(dim, int) else len(dim)
    for axis in sorted(_axes("expand_dims", dim, x.ndim + count)):
        x = unsqueeze(x, axis)
    return x


@method
def ravel(x: Operand) -> Tensor:
    """x's elements in C order as a vector.

    Example:
        >>> import retrograd as rg
        >>> rg.ravel(rg.tensor([[1, 2], [3, 4]]))
        tensor([1, 2, 3, 4])
    """
    return flatten(as_tensor_operand("ravel", x))


@method
def unbind(x: Operand, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along an axis, without it: views.

    Example:
        >>> import retrograd as rg
        >>> rg.unbind(rg.tensor([[1, 2], [3, 4]]))
        (tensor([1, 2]), tensor([3, 4]))
    """
    x = as_tensor_operand("unbind", x)
    axis = normalize_axis("unbind", dim, x.ndim)
    return tuple(x[at(axis, i)] for i in range(x.shape[axis]))


@method
def narrow(x: Operand, dim: int, start: int, length: int) -> Tensor:
    """The `length` slices of x along an axis from `start` on: a view.

    Raises:
        ValueError: there are not so many.

    Example:
        >>> import retrograd as rg
        >>> rg.narrow(rg.tensor([1, 2, 3, 4]), 0, 1, 2)
        tensor([2, 3])
    """
    x = as_tensor_operand("narrow", x)
    axis = normalize_axis("narrow", dim, x.ndim)
    first = int(start) + (x.shape[axis] if start < 0 else 0)
    if length < 0 or not 0 <= first <= x.shape[axis] - length:
        raise ValueError(f"narrow: {length} from {start} on are not in dim {dim} of shape {x.shape}")
    return x[at(axis, slice(first, first + length))]


# Order


@method
def flip(x: Operand, dims: Axes | None = None) -> Tensor:
    """x reversed along the axes `dims`, all of them for None: a view.

    Example:
        >>> import retrograd as rg
        >>> rg.flip(rg.tensor([[1, 2], [3, 4]]), 0)
        tensor([[3, 4],
                [1, 2]])
    """
    x = as_tensor_operand("flip", x)
    axes = _axes("flip", tuple(range(x.ndim)) if dims is None else dims, x.ndim)
    return x[tuple(slice(None, None, -1) if a in axes else slice(None) for a in range(x.ndim))] if axes else x


@method
def fliplr(x: Operand) -> Tensor:
    """x reversed along its second axis: a view.

    Example:
        >>> import retrograd as rg
        >>> rg.fliplr(rg.tensor([[1, 2], [3, 4]]))
        tensor([[2, 1],
                [4, 3]])
    """
    return flip(x, 1)


@method
def flipud(x: Operand) -> Tensor:
    """x reversed along its first axis: a view.

    Example:
        >>> import retrograd as rg
        >>> rg.flipud(rg.tensor([[1, 2], [3, 4]]))
        tensor([[3, 4],
                [1, 2]])
    """
    return flip(x, 0)


@method
def roll(x: Operand, shifts: Axes, dims: Axes | None = None) -> Tensor:
    """x moved along the axes `dims` by `shifts`; what leaves at the end comes back at the start. In C order, as one
    axis, where dims is None.

    Raises:
        ValueError: shifts and dims are not equally many.

    Example:
        >>> import retrograd as rg
        >>> rg.roll(rg.tensor([1, 2, 3]), 1)
        tensor([3, 1, 2])
    """
    x = as_tensor_operand("roll", x)
    if dims is None:
        return reshape(roll(flatten(x), shifts, 0), x.shape)
    moves = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    axes = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(moves) != len(axes):
        raise ValueError(f"roll: shifts {shifts} and dims {dims} must be equally many")
    for shift, dim in zip(moves, axes, strict=True):
        axis = normalize_axis("roll", dim, x.ndim)
        cut = -shift % max(1, x.shape[axis])
        if cut:
            x = concatenate([x[at(axis, slice(cut, None))], x[at(axis, slice(cut))]], axis)
    return x


@method
def rot90(x: Operand, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """x turned k times by 90 degrees in the plane of two axes, from the first towards the second: a view.

    Example:
        >>> import retrograd as rg
        >>> rg.rot90(rg.tensor([[1, 2], [3, 4]]))
        tensor([[2, 4],
                [1, 3]])
    """
    x = as_tensor_operand("rot90", x)
    if len(dims) != 2:
        raise ValueError(f"rot90: dims {tuple(dims)} must be two axes")
    a, b = _axes("rot90", dims, x.ndim)
    if k % 2 == 0:
        return flip(x, (a, b)) if k % 4 else x
    return transpose(flip(x, b), a, b) if k % 4 == 1 else flip(transpose(x, a, b), b)


# Repetition


@method
def repeat(x: Operand, *sizes: int | Sequence[int]) -> Tensor:
    """x repeated so many times along each axis, new axes first; `tile` with as many sizes as there are axes, or more.

    Raises:
        ValueError: there are fewer sizes than axes, or one is negative.

    Example:
        >>> import retrograd as rg
        >>> rg.repeat(rg.tensor([1, 2]), 2, 2)
        tensor([[1, 2, 1, 2],
                [1, 2, 1, 2]])
    """
    x = as_tensor_operand("repeat", x)
    times = tuple(int(n) for n in _sizes(sizes))
    if len(times) < x.ndim or min(times, default=0) < 0:
        raise ValueError(
            f"repeat: sizes {times} must be at least as many as the axes of shape {x.shape}, none negative"
        )
    shape = (1,) * (len(times) - x.ndim) + x.shape
    apart = reshape(x, tuple(m for n in shape for m in (1, n)))
    wide = broadcast_to(apart, tuple(m for n, t in zip(shape, times, strict=True) for m in (t, n)))
    return reshape(wide, tuple(n * t for n, t in zip(shape, times, strict=True)))


@method
def tile(x: Operand, *sizes: int | Sequence[int]) -> Tensor:
    """x repeated so many times along its last axes; see repeat.

    Example:
        >>> import retrograd as rg
        >>> rg.tile(rg.tensor([1, 2]), (2, 2))
        tensor([[1, 2, 1, 2],
                [1, 2, 1, 2]])
    """
    x = as_tensor_operand("tile", x)
    times = tuple(_sizes(sizes))
    return repeat(x, (1,) * (x.ndim - len(times)) + times)


@method
def repeat_interleave(x: Operand, repeats: int | Sequence[int] | Tensor, dim: int | None = None) -> Tensor:
    """Each slice of x along an axis repeated, all alike or by a number each; of x in C order where dim is None.

    Example:
        >>> import retrograd as rg
        >>> rg.repeat_interleave(rg.tensor([1, 2]), 2)
        tensor([1, 1, 2, 2])
    """
    x = as_tensor_operand("repeat_interleave", x)
    if dim is None or x.ndim == 0:
        x, dim = flatten(x), 0
    axis = normalize_axis("repeat_interleave", dim, x.ndim)
    times = repeats.numpy() if isinstance(repeats, Tensor) else np.asarray(repeats)
    return x[at(axis, np.repeat(np.arange(x.shape[axis]), times))]


_CONTINUED: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "reflect": lambda i, n: np.minimum(i % max(1, 2 * n - 2), -i % max(1, 2 * n - 2)),
    "replicate": lambda i, n: i.clip(0, n - 1),
    "circular": lambda i, n: i % n,
}
"""Which of an axis of n elements stands at place i, beyond its ends too."""


def pad(x: Operand, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """x with more elements at the ends of its last axes; negative numbers take some away.

    Args:
        x: any shape.
        pad: how many before and after along the last axis, then before and after along the one before it, …
        mode: "constant" for `value` (0 for None), "reflect" for x mirrored at its ends, "replicate" for the
            elements at the ends, "circular" for x over again.
        value: what a constant padding is made of.

    Raises:
        ValueError: an odd number of sizes, more than there are axes, or a mode that is unknown.

    Example:
        >>> import retrograd as rg
        >>> rg.pad(rg.tensor([1.0, 2.0, 3.0]), (2, 1), mode="reflect")
        tensor([3., 2., 1., 2., 3., 2.])
    """
    x = as_tensor_operand("pad", x)
    ends = tuple(int(n) for n in pad)
    if len(ends) % 2 or len(ends) > 2 * x.ndim:
        raise ValueError(f"pad: {ends} must be pairs, at most one for each of the {x.ndim} axes of shape {x.shape}")
    if mode not in (*_CONTINUED, "constant"):
        raise ValueError(f"pad: unknown mode {mode!r}; expected constant, {', '.join(_CONTINUED)}")
    given = list(zip(ends[::2], ends[1::2], strict=True))[::-1]
    pairs = [(0, 0)] * (x.ndim - len(given)) + given
    if mode != "constant":
        for axis, (n, (a, b)) in enumerate(zip(x.shape, pairs, strict=True)):
            if a or b:
                x = x[at(axis, _CONTINUED[mode](np.arange(-a, n + b), n))]
        return x
    x = x[tuple(slice(max(0, -a), n - max(0, -b)) for n, (a, b) in zip(x.shape, pairs, strict=True))]
    shape = tuple(n + max(0, a) + max(0, b) for n, (a, b) in zip(x.shape, pairs, strict=True))
    place = tuple(slice(max(0, a), max(0, a) + n) for n, (a, _) in zip(x.shape, pairs, strict=True))
    padded = _index_add(x, key=place, shape=shape)
    if not value:
        return padded
    outside = np.ones(shape, bool)
    outside[place] = False
    return where(Tensor(outside), value, padded)


@method
def unfold(x: Operand, dim: int, size: int, step: int) -> Tensor:
    """Windows of `size` along an axis, `step` apart: the axis counts them, and a new last axis has their elements.

    Raises:
        ValueError: a window is longer than the axis, or step is not positive.

    Example:
        >>> import retrograd as rg
        >>> rg.unfold(rg.tensor([1, 2, 3, 4]), 0, 2, 1)
        tensor([[1, 2],
                [2, 3],
                [3, 4]])
    """
    x = as_tensor_operand("unfold", x)
    if x.ndim == 0:
        return unfold(reshape(x, 1), 0, size, step)[0]
    axis = normalize_axis("unfold", dim, x.ndim)
    if not 0 <= size <= x.shape[axis] or step < 1:
        raise ValueError(f"unfold: windows of {size}, {step} apart, do not fit dim {dim} of shape {x.shape}")
    starts = np.arange(0, x.shape[axis] - size + 1, step)
    return moveaxis(x[at(axis, starts[:, None] + np.arange(size))], axis + 1, -1)


# Triangles and diagonals


def _triangle(name: str, x: Operand, lower: bool, diagonal: int) -> Tensor:
    x = as_tensor_operand(name, x)
    if x.ndim < 2:
        raise ValueError(f"{name}: expected two axes or more, got shape {x.shape}")
    kept = np.tri(x.shape[-2], x.shape[-1], diagonal if lower else diagonal - 1, dtype=bool)
    return where(Tensor(kept if lower else ~kept), x, np.zeros((), x.dtype))


@method
def tril(x: Operand, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two axes: 0 above the diagonal of that number, which counts up from the main one.

    Raises:
        ValueError: x has less than two axes.

    Example:
        >>> import retrograd as rg
        >>> rg.tril(rg.tensor([[1, 2], [3, 4]]))
        tensor([[1, 0],
                [3, 4]])
    """
    return _triangle("tril", x, True, diagonal)


@method
def triu(x: Operand, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two axes: 0 below the diagonal of that number, which counts up from the main one.

    Raises:
        ValueError: x has less than two axes.

    Example:
        >>> import retrograd as rg
        >>> rg.triu(rg.tensor([[1, 2], [3, 4]]))
        tensor([[1, 2],
                [0, 4]])
    """
    return _triangle("triu", x, False, diagonal)


def _on_diagonal(rows: int, columns: int, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """The indices of the elements of a matrix on a diagonal."""
    first = max(0, -offset)
    places = np.arange(first, max(first, min(rows, columns - offset)))
    return places, places + offset


@method
def diagonal(x: Operand, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A diagonal of the matrices that two axes hold, as the last axis in their place.

    Example:
        >>> import retrograd as rg
        >>> rg.diagonal(rg.tensor([[1, 2], [3, 4]]))
        tensor([1, 4])
    """
    x = as_tensor_operand("diagonal", x)
    a, b = _axes("diagonal", (dim1, dim2), x.ndim)
    x = moveaxis(x, (a, b), (-2, -1))
    key = (..., *_on_diagonal(x.shape[-2], x.shape[-1], offset))
    return x[key]


@method
def diag_embed(x: Operand, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices, in two new axes, that have x's last axis on a diagonal and 0 elsewhere.

    Example:
        >>> import retrograd as rg
        >>> rg.diag_embed(rg.tensor([1, 2]))
        tensor([[1, 0],
                [0, 2]])
    """
    x = as_tensor_operand("diag_embed", x)
    n = x.shape[-1] + abs(offset)
    made = _index_add(x, key=(..., *_on_diagonal(n, n, offset)), shape=(*x.shape[:-1], n, n))
    return moveaxis(made, (-2, -1), (dim1, dim2))


@method
def diag(x: Operand, diagonal: int = 0) -> Tensor:
    """The matrix with the vector x on a diagonal, or the diagonal of the matrix x.

    Raises:
        ValueError: x is neither.

    Example:
        >>> import retrograd as rg
        >>> rg.diag(rg.tensor([[1, 2], [3, 4]])), rg.diag(rg.tensor([1, 2]))
        (tensor([1, 4]), tensor([[1, 0],
                [0, 2]]))
    """
    x = as_tensor_operand("diag", x)
    if x.ndim not in (1, 2):
        raise ValueError(f"diag: expected a vector or a matrix, got shape {x.shape}")
    return diag_embed(x, diagonal) if x.ndim == 1 else x.diagonal(diagonal)


@method
def trace(x: Operand, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The sum of a diagonal of the matrices that two axes hold.

    Example:
        >>> import retrograd as rg
        >>> rg.trace(rg.tensor([[1, 2], [3, 4]]))
        tensor(5)
    """
    return sum(diagonal(x, offset, dim1, dim2), -1)


# Several tensors


def meshgrid(*tensors: Operand, indexing: str = "ij") -> tuple[Tensor, ...]:
    """The vectors, each broadcast to the grid that they span together: views.

    Args:
        tensors: vectors (or tensors without axes), or one list of them.
        indexing: "ij" where the first one runs along the first axis, "xy" where it runs along the second.

    Raises:
        ValueError: another indexing, or a tensor of more axes.

    Example:
        >>> import retrograd as rg
        >>> x, y = rg.meshgrid(rg.tensor([1, 2]), rg.tensor([3, 4, 5]))
        >>> x
        tensor([[1, 1, 1],
                [2, 2, 2]])
        >>> y
        tensor([[3, 4, 5],
                [3, 4, 5]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing is {indexing!r}, expected 'ij' or 'xy'")
    given = [as_tensor_operand("meshgrid", t) for t in tensors]
    if any(t.ndim > 1 for t in given):
        raise ValueError(f"meshgrid: expected vectors, got shapes {[t.shape for t in given]}")
    vectors = [flatten(t) for t in given]
    order = [1, 0, *range(2, len(vectors))] if indexing == "xy" and len(vectors) > 1 else list(range(len(vectors)))
    shape = tuple(vectors[i].size for i in order)
    return tuple(
        broadcast_to(reshape(t, tuple(t.size if j == i else 1 for j in order)), shape) for i, t in enumerate(vectors)
    )


def _each(function: Callable[[Tensor], Tensor], tensors: tuple[Any, ...]) -> Any:
    """The function of one tensor, or of each of several in a tuple."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        return _each(function, tuple(tensors[0]))
    made = tuple(function(as_tensor_operand("atleast", t)) for t in tensors)
    return made[0] if len(made) == 1 else made


def atleast_1d(*tensors: Any) -> Any:
    """Tensors with one axis or more: a number gets one. One tensor, or a tuple of several.

    Example:
        >>> import retrograd as rg
        >>> rg.atleast_1d(rg.tensor(2.0))
        tensor([2.])
    """
    return _each(lambda x: x if x.ndim else reshape(x, 1), tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with two axes or more: new ones come first. One tensor, or a tuple of several.

    Example:
        >>> import retrograd as rg
        >>> rg.atleast_2d(rg.tensor([1.0, 2.0]))
        tensor([[1., 2.]])
    """
    return _each(lambda x: x if x.ndim > 1 else reshape(x, 1, -1), tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with three axes or more: of a matrix the new one comes last. One tensor, or a tuple of several.

    Example:
        >>> import retrograd as rg
        >>> rg.atleast_3d(rg.tensor([1.0, 2.0])).shape
        (1, 2, 1)
    """
    return _each(lambda x: x if x.ndim > 2 else unsqueeze(atleast_2d(x), 2), tensors)


def hstack(tensors: Sequence[Operand]) -> Tensor:
    """The tensors joined along the second axis, vectors along their own.

    Example:
        >>> import retrograd as rg
        >>> rg.hstack([rg.tensor([1, 2]), rg.tensor([3])])
        tensor([1, 2, 3])
    """
    parts = [atleast_1d(t) for t in tensors]
    return concatenate(parts, 0 if parts[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Operand]) -> Tensor:
    """The tensors joined along the first axis, vectors as rows.

    Example:
        >>> import retrograd as rg
        >>> rg.vstack([rg.tensor([1, 2]), rg.tensor([3, 4])])
        tensor([[1, 2],
                [3, 4]])
    """
    return concatenate([atleast_2d(t) for t in tensors], 0)


def dstack(tensors: Sequence[Operand]) -> Tensor:
    """The tensors joined along the third axis.

    Example:
        >>> import retrograd as rg
        >>> rg.dstack([rg.tensor([1, 2]), rg.tensor([3, 4])])
        tensor([[[1, 3],
                 [2, 4]]])
    """
    return concatenate([atleast_3d(t) for t in tensors], 2)


def column_stack(tensors: Sequence[Operand]) -> Tensor:
    """The tensors joined along the second axis, vectors as columns.

    Example:
        >>> import retrograd as rg
        >>> rg.column_stack([rg.tensor([1, 2]), rg.tensor([3, 4])])
        tensor([[1, 3],
                [2, 4]])
    """
    parts = [atleast_1d(t) for t in tensors]
    return concatenate([unsqueeze(t, 1) if t.ndim == 1 else t for t in parts], 1)
