"""Shapes: views, broadcasting and its transpose, joining and splitting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..kernels.spec import Array
from ..kernels.spec import broadcast as broadcast_shape
from ..tape import Node, state
from ..tensor import Tensor
from .rule import Op, as_tensor_operand, method, normalize_axes, normalize_axis, operands

Shape = Sequence[int]


class Reshape(Op):
    view = True
    linear = True

    def forward(self, k: Any, x: Array, shape: Shape) -> Array:
        return k.reshape(x, shape)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (_reshape(g, shape=ctx.shapes[0]),)

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array]:
        return (k.reshape(g, ctx.shapes[0]),)


class Transpose(Op):
    view = True
    linear = True

    def forward(self, k: Any, x: Array, axes: tuple[int, ...]) -> Array:
        return k.transpose(x, axes)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (_transpose(g, axes=_inverse(ctx["axes"])),)

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array]:
        return (k.transpose(g, _inverse(ctx["axes"])),)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


class BroadcastTo(Op):
    """Repeats; its transpose, SumTo, adds the repetitions up."""

    view = True
    linear = True

    def forward(self, k: Any, x: Array, shape: Shape) -> Array:
        return k.broadcast_to(x, shape)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (sum_to(g, ctx.shapes[0]),)


class SumTo(Op):
    """Sums the axes along which `shape` broadcast to x's shape."""

    linear = True

    def forward(self, k: Any, x: Array, shape: Shape) -> Array:
        return _sum_to(k, x, shape)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (_broadcast_to(g, shape=ctx.shapes[0]),)


class Concatenate(Op):
    linear = True

    def forward(self, k: Any, *arrays: Array, axis: int) -> Array:
        return k.concatenate(arrays, axis)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor, ...]:
        axis, start, parts = ctx["axis"], 0, []
        for shape in ctx.shapes:
            parts.append(g[(slice(None),) * axis + (slice(start, start + shape[axis]),)])
            start += shape[axis]
        return tuple(parts)


_reshape, _transpose, _broadcast_to, _sum_to_op, _concatenate = (
    Reshape(),
    Transpose(),
    BroadcastTo(),
    SumTo(),
    Concatenate(),
)


def _sum_to(k: Any, x: Array, shape: Shape) -> Array:
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 != x.shape[lead + i])
    return k.reshape(k.sum(x, axes, True), shape)


def sum_to(g: Tensor, shape: Shape) -> Tensor:
    """The cotangent of an operand of `shape` that broadcast to g's shape."""
    return g if g.array.shape == shape else _sum_to_op(g, shape=shape)


def sum_arrays_to(k: Any, g: Array, shape: Shape) -> Array:
    """sum_to on arrays, in kernels."""
    return g if g.shape == shape else _sum_to(k, g, shape)


def _sizes(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


@method
def reshape(x: Tensor, *shape: Any) -> Tensor:
    """x's elements in C order under another shape, of sizes or one tuple; one of them may be -1, for what is left.

    Raises:
        ValueError: the number of elements differs.

    Example:
        >>> import retrograd as rg
        >>> rg.reshape(rg.arange(4), 2, -1)
        tensor([[0, 1],
                [2, 3]])
    """
    x = as_tensor_operand("reshape", x)
    asked = _sizes(shape)
    known = math.prod(n for n in asked if n != -1)
    free = asked.count(-1)
    if free > 1 or (free and (known == 0 or x.size % known)) or (not free and known != x.size):
        raise ValueError(f"reshape: {x.size} elements of shape {x.shape} do not fit into {asked}")
    return _reshape(x, shape=tuple(x.size // known if n == -1 else n for n in asked))


@method
def view(x: Tensor, *shape: Any) -> Tensor:
    """reshape without copying.

    Raises:
        ValueError: the number of elements differs, or x's strides cannot express the shape.

    Example:
        >>> import retrograd as rg
        >>> rg.view(rg.arange(4), 2, 2)
        tensor([[0, 1],
                [2, 3]])
    """
    result = reshape(x, *shape)
    if x.size and not state.kernels.share(result.array, x.array):
        raise ValueError(f"view: strides of shape {x.shape} cannot be seen as {result.shape}; use reshape()")
    return result


@method
def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from start_dim to end_dim (inclusive) joined into one.

    Example:
        >>> import retrograd as rg
        >>> rg.flatten(rg.ones(2, 3, 4), 1).shape
        (2, 12)
    """
    x = as_tensor_operand("flatten", x)
    if x.ndim == 0:
        return reshape(x, 1)
    start, end = normalize_axis("flatten", start_dim, x.ndim), normalize_axis("flatten", end_dim, x.ndim)
    if start > end:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    return reshape(x, *x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


@method
def permute(x: Tensor, *dims: Any) -> Tensor:
    """x with its axes in another order, of axes or one tuple: a view.

    Raises:
        ValueError: dims does not name each axis once.

    Example:
        >>> import retrograd as rg
        >>> rg.permute(rg.ones(2, 3, 4), 2, 0, 1).shape
        (4, 2, 3)
    """
    x = as_tensor_operand("permute", x)
    axes = tuple(normalize_axis("permute", d, x.ndim) for d in _sizes(dims))
    if sorted(axes) != list(range(x.ndim)):
        raise ValueError(f"permute: dims {_sizes(dims)} must name each of the {x.ndim} axes of shape {x.shape} once")
    return _transpose(x, axes=axes)


@method
def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """x with two axes exchanged: a view.

    Example:
        >>> import retrograd as rg
        >>> rg.transpose(rg.ones(2, 3, 4), 0, 2).shape
        (4, 3, 2)
    """
    x = as_tensor_operand("transpose", x)
    axes = list(range(x.ndim))
    a, b = normalize_axis("transpose", dim0, x.ndim), normalize_axis("transpose", dim1, x.ndim)
    axes[a], axes[b] = axes[b], axes[a]
    return _transpose(x, axes=tuple(axes))


def _reversed(x: Tensor) -> Tensor:
    """All axes in reverse order: the transpose of a matrix; a view."""
    return _transpose(x, axes=tuple(range(x.ndim))[::-1])


@method
def t(x: Tensor) -> Tensor:
    """The transpose of a matrix; a vector, or a tensor without axes, itself.

    Raises:
        ValueError: x has more than two axes.

    Example:
        >>> import retrograd as rg
        >>> rg.t(rg.tensor([[1, 2], [3, 4]]))
        tensor([[1, 3],
                [2, 4]])
    """
    if x.ndim > 2:
        raise ValueError(f"t: shape {x.shape} has {x.ndim} axes, expected at most 2; transpose() takes two of them")
    return _reversed(x)


Tensor.T = property(_reversed)  # type: ignore[attr-defined]
Tensor.mT = property(lambda x: transpose(x, -2, -1))  # type: ignore[attr-defined]


@method
def numel(x: Tensor) -> int:
    """The number of elements."""
    return x.size


@method
def dim(x: Tensor) -> int:
    """The number of axes."""
    return x.ndim


@method
def view_as(x: Tensor, other: Tensor) -> Tensor:
    """x in the shape of another tensor, as view() gives it."""
    return view(x, other.shape)


@method
def expand_as(x: Tensor, other: Tensor) -> Tensor:
    """x broadcast to the shape of another tensor."""
    return broadcast_to(x, other.shape)


@method
def contiguous(x: Tensor) -> Tensor:
    """x itself where its elements stand in C order, else a copy in which they do; gradients flow through."""
    return x if x.array.flags.carray else x.clone()


@method
def cpu(x: Tensor) -> Tensor:
    """x itself: there is no other place for it."""
    return x


@method
def squeeze(x: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """x without the axes of size one, or those of them that dim names: a view.

    Example:
        >>> import retrograd as rg
        >>> rg.squeeze(rg.ones(1, 2, 1)).shape
        (2,)
    """
    x = as_tensor_operand("squeeze", x)
    axes = normalize_axes("squeeze", dim, x.ndim)
    return _reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in axes))


@method
def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """x with a new axis of size one at dim: a view.

    Example:
        >>> import retrograd as rg
        >>> rg.unsqueeze(rg.ones(2), 0).shape
        (1, 2)
    """
    x = as_tensor_operand("unsqueeze", x)
    axis = normalize_axis("unsqueeze", dim, x.ndim + 1)
    return _reshape(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))


@method
def broadcast_to(x: Tensor, shape: Shape) -> Tensor:
    """x repeated along new axes and those of size one, by zero strides: a view.

    Raises:
        ValueError: x's shape does not broadcast to shape.

    Example:
        >>> import retrograd as rg
        >>> rg.broadcast_to(rg.tensor([1, 2]), (2, 2))
        tensor([[1, 2],
                [1, 2]])
    """
    x = as_tensor_operand("broadcast_to", x)
    shape = tuple(shape)
    lead = len(shape) - x.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(x.shape, shape[lead:], strict=True)):
        raise ValueError(f"broadcast_to: shape {x.shape} does not broadcast to {shape}")
    return _broadcast_to(x, shape=shape)


@method
def expand(x: Tensor, *shape: Any) -> Tensor:
    """broadcast_to with sizes as arguments, -1 leaving a size as it is.

    Example:
        >>> import retrograd as rg
        >>> rg.expand(rg.tensor([[1], [2]]), 2, 2)
        tensor([[1, 1],
                [2, 2]])
    """
    x = as_tensor_operand("expand", x)
    asked = _sizes(shape)
    lead = len(asked) - x.ndim
    return broadcast_to(x, tuple(x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(asked)))


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors, each broadcast to the shape that they have together.

    Example:
        >>> import retrograd as rg
        >>> [t.shape for t in rg.broadcast_tensors(rg.ones(2, 1), rg.ones(3))]
        [(2, 3), (2, 3)]
    """
    tensors = tuple(as_tensor_operand("broadcast_tensors", t) for t in tensors)
    shape = broadcast_shape("broadcast_tensors", *(t.array for t in tensors))
    return tuple(broadcast_to(t, shape) for t in tensors)


def concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors joined along an axis; `cat` is the same.

    Raises:
        ValueError: there is none, or sizes differ in another axis than dim.

    Example:
        >>> import retrograd as rg
        >>> rg.concatenate([rg.tensor([1, 2]), rg.tensor([3])])
        tensor([1, 2, 3])
    """
    if not tensors:
        raise ValueError("concatenate: expected at least one tensor")
    parts = operands("concatenate", *tensors)
    ndim = parts[0].ndim
    if any(t.ndim != ndim for t in parts) or ndim == 0:
        raise ValueError(f"concatenate: shapes {[t.shape for t in parts]} must have equally many axes, at least 1")
    axis = normalize_axis("concatenate", dim, ndim)
    first = parts[0].shape
    if any(t.shape[:axis] + t.shape[axis + 1 :] != first[:axis] + first[axis + 1 :] for t in parts):
        raise ValueError(f"concatenate: shapes {[t.shape for t in parts]} must be equal but for dim {axis}")
    return _concatenate(*parts, axis=axis)


cat = concatenate


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors, of one shape, joined along a new axis.

    Raises:
        ValueError: there is none, or shapes differ.

    Example:
        >>> import retrograd as rg
        >>> rg.stack([rg.tensor([1, 2]), rg.tensor([3, 4])])
        tensor([[1, 2],
                [3, 4]])
    """
    parts = [as_tensor_operand("stack", t) for t in tensors]
    if len({t.shape for t in parts}) != 1:
        raise ValueError(f"stack: expected one or more tensors of one shape, got {[t.shape for t in parts]}")
    return concatenate([unsqueeze(t, dim) for t in parts], normalize_axis("stack", dim, parts[0].ndim + 1))


@method
def split(x: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """x in consecutive pieces along an axis: of a size each (the last may be smaller), or of the sizes given. Views.

    Raises:
        ValueError: the sizes do not add up to the axis, or the size is not positive.

    Example:
        >>> import retrograd as rg
        >>> rg.split(rg.tensor([1, 2, 3]), 2)
        (tensor([1, 2]), tensor([3]))
    """
    x = as_tensor_operand("split", x)
    axis = normalize_axis("split", dim, x.ndim)
    n = x.shape[axis]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size < 1:
            raise ValueError(f"split: split size {size} is not positive")
        sections = [min(size, n - i) for i in range(0, n, size)] or [0]
    else:
        sections = list(split_size_or_sections)
        if sum(sections) != n or min(sections, default=0) < 0:
            raise ValueError(f"split: sections {sections} must add up to the {n} of dim {axis} of shape {x.shape}")
    starts = [sum(sections[:i]) for i in range(len(sections))]
    lead = (slice(None),) * axis
    keys = [(*lead, slice(s, s + m)) for s, m in zip(starts, sections, strict=True)]
    return tuple(x[key] for key in keys)


@method
def chunk(x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """x in `chunks` pieces along an axis, of equal size but for the last.

    Example:
        >>> import retrograd as rg
        >>> rg.chunk(rg.tensor([1, 2, 3]), 2)
        (tensor([1, 2]), tensor([3]))
    """
    axis = normalize_axis("chunk", dim, x.ndim)
    if chunks < 1:
        raise ValueError(f"chunk: {chunks} chunks is not positive")
    return split(x, max(1, -(-x.shape[axis] // chunks)), axis)
