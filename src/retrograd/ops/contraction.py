"""Contractions: products of tensors summed over axes, in transposes, reshapes and matrix products; and vector norms."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor
from .arrange import diagonal, moveaxis
from .elementwise import abs, multiply, sqrt, square, where
from .product import matmul
from .reduction import Dim, amax, amin, sum
from .rule import Operand, floating, method, normalize_axis, operands
from .shape import broadcast_tensors, broadcast_to, flatten, permute, reshape, stack

Labels = tuple[str, ...]


# Einstein's summation


def einsum(subscripts: str, *tensors: Operand) -> Tensor:
    """The sum of products that Einstein's notation names, as np.einsum: each operand's axes get a letter each; axes
    of one letter go together; letters that do not stand after "->" are summed over.

    Args:
        subscripts: as in "ij,jk->ik"; "..." stands for any further axes, which broadcast; without "->" the letters
            that stand once remain, in alphabetical order.
        tensors: an operand for each part before "->".

    Raises:
        ValueError: the subscripts do not fit the operands.

    Example:
        >>> import retrograd as rg
        >>> a, b = rg.ones(2, 3), rg.ones(3, 4)
        >>> rg.einsum("ij,jk->ki", a, b).shape
        (4, 2)
    """
    given = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    terms = operands("einsum", *given)
    labels, out = _labels(subscripts, terms)
    sizes: dict[str, int] = {}
    for term, names in zip(terms, labels, strict=True):
        for name, n in zip(names, term.shape, strict=True):
            if sizes.setdefault(name, n) != n and 1 not in (n, sizes[name]):
                raise ValueError(f"einsum: {name!r} in {subscripts!r} is both {sizes[name]} and {n}")
            sizes[name] = n if sizes[name] == 1 else sizes[name]
    parts = [_without_repeats(term, names, sizes) for term, names in zip(terms, labels, strict=True)]
    for group in _order(parts, out):
        chosen = [parts.pop(i) for i in sorted(group, reverse=True)][::-1]
        kept = {name for _, names in parts for name in names} | {*out}
        made = _summed(*chosen[0], kept | {name for _, names in chosen[1:] for name in names})
        for i, other in enumerate(chosen[1:], 2):
            later = kept | {name for _, names in chosen[i:] for name in names}
            made = _contracted(made, _summed(*other, later | {*made[1]}), later)
        parts.append(made)
    y, names = parts[0]
    return permute(y, *(names.index(name) for name in out))


def _labels(subscripts: str, terms: list[Tensor]) -> tuple[list[Labels], Labels]:
    """The labels of each operand's axes and of the result's; those of "..." are numbers, counted from the last."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(terms):
        raise ValueError(f"einsum: {subscripts!r} has {len(texts)} operands, got {len(terms)}")
    labels, most = [], 0
    for text, term in zip(texts, terms, strict=True):
        before, dots, after = text.partition("...")
        count = term.ndim - len(before) - len(after)
        if not all(c.isalpha() for c in before + after) or count < 0 or (count and not dots):
            raise ValueError(f"einsum: {text!r} in {subscripts!r} does not fit an operand of shape {term.shape}")
        labels.append((*before, *(str(i) for i in range(count, 0, -1)), *after))
        most = max(most, count)
    dotted = tuple(str(i) for i in range(most, 0, -1))
    if arrow:
        before, dots, after = right.partition("...")
        out = (*before, *(dotted if dots else ()), *after)
    else:
        letters = [name for names in labels for name in names if name.isalpha()]
        out = (*dotted, *sorted(name for name in {*letters} if letters.count(name) == 1))
    unknown = {*out} - {name for names in labels for name in names}
    if unknown or len({*out}) != len(out):
        raise ValueError(f"einsum: the result of {subscripts!r} must have letters of its operands, each once")
    return labels, out


def _without_repeats(x: Tensor, names: Labels, sizes: dict[str, int]) -> tuple[Tensor, Labels]:
    """The operand broadcast to the sizes, and its diagonal where a letter stands twice."""
    x = broadcast_to(x, tuple(sizes[name] for name in names))
    for name in dict.fromkeys(names):
        while names.count(name) > 1:
            a = names.index(name)
            b = names.index(name, a + 1)
            x = moveaxis(diagonal(x, 0, a, b), -1, a)
            names = names[:b] + names[b + 1 :]
    return x, names


def _order(parts: list[tuple[Tensor, Labels]], out: Labels) -> list[tuple[int, ...]]:
    """Which operands to contract one after the other: of three or more, as NumPy's greedy search says."""
    if len(parts) < 3:
        return [tuple(range(len(parts)))]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(name for _, names in parts for name in names))}
    call: list[Any] = []
    for x, names in parts:
        call += [np.broadcast_to(np.empty(()), x.shape), [numbers[name] for name in names]]
    return np.einsum_path(*call, [numbers[name] for name in out], optimize="greedy")[0][1:]


def _summed(x: Tensor, names: Labels, kept: set[str]) -> tuple[Tensor, Labels]:
    gone = tuple(i for i, name in enumerate(names) if name not in kept)
    return (sum(x, gone), tuple(name for name in names if name in kept)) if gone else (x, names)


def _contracted(a: tuple[Tensor, Labels], b: tuple[Tensor, Labels], kept: set[str]) -> tuple[Tensor, Labels]:
    """The product of two operands, summed over the letters that both have and nothing later needs."""
    (x, left), (y, right) = a, b
    shared = [name for name in left if name in right]
    batch, inner = [n for n in shared if n in kept], [n for n in shared if n not in kept]
    rows, columns = [n for n in left if n not in shared], [n for n in right if n not in shared]
    x = permute(x, *(left.index(name) for name in (*batch, *rows, *inner)))
    y = permute(y, *(right.index(name) for name in (*batch, *inner, *columns)))
    lead, m, n = x.shape[: len(batch)], x.shape[len(batch) : len(batch) + len(rows)], y.shape[len(shared) :]
    made = (*batch, *rows, *columns)
    if not inner:
        return reshape(x, *lead, *m, *(1 for _ in n)) * reshape(y, *lead, *(1 for _ in m), *n), made
    size = math.prod(x.shape[len(batch) + len(rows) :])
    z = matmul(reshape(x, *lead, math.prod(m), size), reshape(y, *lead, size, math.prod(n)))
    return reshape(z, *lead, *m, *n), made


# Products over axes


def tensordot(a: Operand, b: Operand, dims: int | tuple[Sequence[int], Sequence[int]] = 2) -> Tensor:
    """The product of a and b summed over pairs of axes: the last `dims` of a with the first of b, or those given as
    (axes of a, axes of b). As np.tensordot.

    Raises:
        ValueError: the axes' sizes differ.

    Example:
        >>> import retrograd as rg
        >>> rg.tensordot(rg.ones(2, 3, 4), rg.ones(3, 4, 5), 2).shape
        (2, 5)
    """
    a, b = operands("tensordot", a, b)
    if isinstance(dims, int):
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left, right = (
            [normalize_axis("tensordot", d, t.ndim) for d in ([axes] if isinstance(axes, int) else axes)]
            for t, axes in zip((a, b), dims, strict=True)
        )
    if [a.shape[i] for i in left] != [b.shape[i] for i in right]:
        raise ValueError(f"tensordot: axes {left} of shape {a.shape} and {right} of {b.shape} do not fit")
    rows = [i for i in range(a.ndim) if i not in left]
    columns = [i for i in range(b.ndim) if i not in right]
    inner = math.prod(a.shape[i] for i in left)
    x = reshape(permute(a, *rows, *left), math.prod(a.shape[i] for i in rows), inner)
    y = reshape(permute(b, *right, *columns), inner, math.prod(b.shape[i] for i in columns))
    return reshape(matmul(x, y), *(a.shape[i] for i in rows), *(b.shape[i] for i in columns))


def inner(a: Operand, b: Operand) -> Tensor:
    """The products of a and b summed over the last axis of each; a plain product where one has no axes.

    Example:
        >>> import retrograd as rg
        >>> rg.inner(rg.tensor([[1.0, 2.0]]), rg.tensor([3.0, 4.0]))
        tensor([11.])
    """
    a, b = operands("inner", a, b)
    return tensordot(a, b, ([-1], [-1])) if a.ndim and b.ndim else multiply(a, b)


def outer(a: Operand, b: Operand) -> Tensor:
    """The matrix of the products of the elements of two vectors (anything else in C order).

    Example:
        >>> import retrograd as rg
        >>> rg.outer(rg.tensor([1, 2]), rg.tensor([1, 10]))
        tensor([[ 1, 10],
                [ 2, 20]])
    """
    a, b = operands("outer", a, b)
    return reshape(a, -1, 1) * reshape(b, 1, -1)


@method
def dot(a: Operand, b: Operand) -> Tensor:
    """The sum of the products of two vectors.

    Raises:
        ValueError: they are no vectors of one size.

    Example:
        >>> import retrograd as rg
        >>> rg.dot(rg.tensor([1.0, 2.0]), rg.tensor([3.0, 4.0]))
        tensor(11.)
    """
    a, b = operands("dot", a, b)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"dot: expected two vectors of one size, got shapes {a.shape} and {b.shape}")
    return matmul(a, b)


def vdot(a: Operand, b: Operand) -> Tensor:
    """The sum of the products of the elements of a and b, in C order.

    Example:
        >>> import retrograd as rg
        >>> rg.vdot(rg.tensor([[1.0, 2.0]]), rg.tensor([3.0, 4.0]))
        tensor(11.)
    """
    a, b = operands("vdot", a, b)
    return dot(flatten(a), flatten(b))


def vecdot(a: Operand, b: Operand, dim: int = -1) -> Tensor:
    """The sum of the products of a and b over an axis; shapes broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.vecdot(rg.tensor([[1.0, 2.0], [3.0, 4.0]]), rg.tensor([1.0, 10.0]))
        tensor([21., 43.])
    """
    return sum(multiply(a, b), dim)


def kron(a: Operand, b: Operand) -> Tensor:
    """Kronecker's product: b over and over, times each element of a. Missing axes of either come first.

    Example:
        >>> import retrograd as rg
        >>> rg.kron(rg.tensor([1, 2]), rg.tensor([1, 10]))
        tensor([ 1, 10,  2, 20])
    """
    a, b = operands("kron", a, b)
    ndim = max(a.ndim, b.ndim)
    left, right = ((1,) * (ndim - t.ndim) + t.shape for t in (a, b))
    x = reshape(a, tuple(m for n in left for m in (n, 1)))
    y = reshape(b, tuple(m for n in right for m in (1, n)))
    return reshape(x * y, tuple(n * m for n, m in zip(left, right, strict=True)))


def cross(a: Operand, b: Operand, dim: int = -1) -> Tensor:
    """The vector product of the three-vectors along an axis; shapes broadcast.

    Raises:
        ValueError: the axis does not have three elements.

    Example:
        >>> import retrograd as rg
        >>> rg.cross(rg.tensor([1.0, 0.0, 0.0]), rg.tensor([0.0, 1.0, 0.0]))
        tensor([0., 0., 1.])
    """
    a, b = broadcast_tensors(*operands("cross", a, b))
    axis = normalize_axis("cross", dim, a.ndim)
    if a.shape[axis] != 3:
        raise ValueError(f"cross: dim {dim} of shape {a.shape} must have 3 elements")
    (a0, a1, a2), (b0, b1, b2) = a.unbind(axis), b.unbind(axis)
    return stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis)


# Norms


def vector_norm(x: Operand, ord: float = 2, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """sum(|x|**ord)**(1/ord) over the axes `dim`; for inf and -inf the largest and the smallest |x|, for 0 how many are
    not 0. Its derivative by an element that is 0 is 0, and by all of them where the norm is.

    Raises:
        ValueError: there is no element, and ord is inf or -inf.

    Example:
        >>> import retrograd as rg
        >>> rg.linalg.vector_norm(rg.tensor([3.0, 4.0]))
        tensor(5.)
    """
    x = floating("norm", x)
    ord = float(ord)
    if ord == 0:
        return sum((x != 0).to(x.dtype), dim, keepdim)
    if ord == 1:
        return sum(abs(x), dim, keepdim)
    if builtins.abs(ord) == math.inf:
        return (amax if ord > 0 else amin)(abs(x), dim, keepdim)
    zero = x == 0
    powers = square(x) if ord == 2 else where(zero, 0.0 if ord > 0 else math.inf, abs(where(zero, 1.0, x)) ** ord)
    total = sum(powers, dim, keepdim)
    flat = (total == 0) | (total == math.inf)
    root = sqrt if ord == 2 else lambda t: t ** (1 / ord)
    return where(flat, root(total.detach()), root(where(flat, 1.0, total)))


Tensor.norm = vector_norm  # type: ignore[attr-defined]
