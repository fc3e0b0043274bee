"""Reductions over any axes, and the softmax family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..kernels.spec import Array, reduced
from ..tape import Node
from ..tensor import Tensor
from .elementwise import abs, exp, where
from .elementwise import sqrt as _root
from .rule import OUTPUT, Op, Operand, as_tensor_operand, floating, method, normalize_axes, normalize_axis
from .shape import broadcast_to, reshape

Dim = int | tuple[int, ...] | None


class Sum(Op):
    linear = True

    def forward(self, k: Any, x: Array, axes: tuple[int, ...], keepdim: bool, scale: float = 1.0) -> Array:
        return k.sum(x, axes, keepdim, scale)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        shape = ctx.shapes[0]
        scale = ctx.attributes.get("scale", 1.0)
        g = broadcast_to(reshape(g, reduced(shape, ctx["axes"], True)), shape)
        return (g if scale == 1.0 else g * scale,)

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array]:
        shape = ctx.shapes[0]
        scale = ctx.attributes.get("scale", 1.0)
        if scale != 1.0:
            g = k.multiply(g, np.asarray(scale, g.dtype))
        return (k.broadcast_to(k.reshape(g, reduced(shape, ctx["axes"], True)), shape),)


class Extremum(Op):
    """amax or amin; elements that tie share the gradient equally."""

    saves = (0, OUTPUT)

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, k: Any, x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
        return getattr(k, self.name)(x, axes, keepdim)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        x, y = self.saved(ctx)
        kept = reduced(x.shape, ctx["axes"], True)
        hit = (x == reshape(y, kept)).to(g.dtype)
        return (hit * (reshape(g, kept) / hit.sum(ctx["axes"], keepdim=True)),)

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        x, y = self.saved(ctx)
        hit = (x == reshape(y, reduced(x.shape, ctx["axes"], True))).to(t.dtype)
        return sum(hit * t, **_axes(ctx)) / sum(hit, **_axes(ctx))


class Discrete(Op):
    """argmax, argmin, all or any, by the kernel's name: an index or a boolean, which carries no gradient."""

    differentiable = False

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, k: Any, x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
        return getattr(k, self.name)(x, axes, keepdim)


class LogSumExp(Op):
    name = "logsumexp"
    saves = (0, OUTPUT)

    def forward(self, k: Any, x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
        return k.logsumexp(x, axes, keepdim)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (reshape(g, reduced(ctx.shapes[0], ctx["axes"], True)) * self._weights(ctx),)

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        return sum(self._weights(ctx) * t, **_axes(ctx))

    def _weights(self, ctx: Node) -> Tensor:
        x, y = self.saved(ctx)
        y = reshape(y, reduced(x.shape, ctx["axes"], True))
        return exp(x - where(abs(y) == math.inf, 0.0, y))  # inf - inf is not a number


class Softmax(Op):
    saves = (OUTPUT,)
    fresh = True

    def forward(self, k: Any, x: Array, axis: int) -> Array:
        return k.softmax(x, axis)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (self.jvp(ctx, g),)  # its matrix of derivatives is symmetric

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        (y,) = self.saved(ctx)
        return y * (t - (t * y).sum(ctx["axis"], keepdim=True))

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array]:
        return (k.softmax_backward(g, ctx.arrays[0], ctx["axis"]),)


class LogSoftmax(Op):
    saves = (OUTPUT,)
    fresh = True

    def forward(self, k: Any, x: Array, axis: int) -> Array:
        return k.log_softmax(x, axis)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        (y,) = self.saved(ctx)
        return (g - exp(y) * g.sum(ctx["axis"], keepdim=True),)

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        (y,) = self.saved(ctx)
        return t - (exp(y) * t).sum(ctx["axis"], keepdim=True)

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array]:
        return (k.log_softmax_backward(g, ctx.arrays[0], ctx["axis"]),)


_sum, _logsumexp, _softmax, _log_softmax = Sum(), LogSumExp(), Softmax(), LogSoftmax()
_amax, _amin, _argmax, _argmin = Extremum("amax"), Extremum("amin"), Discrete("argmax"), Discrete("argmin")
_all, _any = Discrete("all"), Discrete("any")


def _axes(ctx: Node) -> dict[str, Any]:
    return {"dim": ctx["axes"], "keepdim": ctx["keepdim"]}


def _count(x: Tensor, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[a] for a in axes)


@method
def sum(x: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The sum over the axes `dim` (all of them for None); over none it is 0. Integers sum as int64.

    Args:
        x: any shape.
        dim: an axis, a tuple of axes, or None.
        keepdim: keep the reduced axes, with size one.

    Example:
        >>> import retrograd as rg
        >>> rg.sum(rg.tensor([[1.0, 2.0], [3.0, 5.0]]), 0)
        tensor([4., 7.])
    """
    x = as_tensor_operand("sum", x)
    return _sum(x, axes=normalize_axes("sum", dim, x.ndim), keepdim=keepdim)


@method
def mean(x: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The mean over the axes `dim`; NaN over none. Arguments as in sum.

    Example:
        >>> import retrograd as rg
        >>> rg.mean(rg.tensor([[1.0, 2.0], [3.0, 5.0]]), 0)
        tensor([2. , 3.5])
    """
    x = floating("mean", x)
    axes = normalize_axes("mean", dim, x.ndim)
    count = _count(x, axes)
    return _sum(x, axes=axes, keepdim=keepdim, scale=1 / count if count else math.nan)


@method
def var(
    x: Operand, dim: Dim = None, correction: float = 1, keepdim: bool = False, unbiased: bool | None = None
) -> Tensor:
    """The variance over the axes `dim`: squared deviations from the mean, summed, over n - correction.

    correction=1 gives the unbiased estimate of a sample's population, 0 the variance of the sample itself;
    `unbiased`, True or False, is another word for them.

    Example:
        >>> import retrograd as rg
        >>> rg.var(rg.tensor([[1.0, 2.0], [3.0, 5.0]]), 0)
        tensor([2. , 4.5])
    """
    x = floating("var", x)
    if unbiased is not None:
        correction = int(unbiased)
    axes = normalize_axes("var", dim, x.ndim)
    freedom = _count(x, axes) - correction
    deviation = x - mean(x, axes, keepdim=True)
    return _sum(deviation * deviation, axes=axes, keepdim=keepdim, scale=1 / freedom if freedom > 0 else math.nan)


@method
def std(
    x: Operand, dim: Dim = None, correction: float = 1, keepdim: bool = False, unbiased: bool | None = None
) -> Tensor:
    """The square root of var, with derivative 0 at a deviation of 0.

    Example:
        >>> import retrograd as rg
        >>> rg.std(rg.tensor([[1.0, 2.0], [3.0, 5.0]]), 0)
        tensor([1.4142, 2.1213])
    """
    v = var(x, dim, correction, keepdim, unbiased)
    flat = v == 0
    return where(flat, 0.0, _root(where(flat, 1.0, v)))


def require_elements(name: str, x: Tensor, axes: tuple[int, ...]) -> None:
    """Raise ValueError where there is none over the axes."""
    if _count(x, axes) == 0:
        raise ValueError(f"{name}: there is no element to reduce over axes {axes} of shape {x.shape}")


def _extremum(name: str, op: Op, x: Operand, dim: Dim, keepdim: bool) -> Tensor:
    x = as_tensor_operand(name, x)
    axes = normalize_axes(name, dim, x.ndim)
    require_elements(name, x, axes)
    return op(x, axes=axes, keepdim=keepdim)


@method
def amax(x: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The largest element over the axes `dim`; NaN where there is one. Ties share the gradient equally.

    Raises:
        ValueError: there is no element.

    Example:
        >>> import retrograd as rg
        >>> rg.amax(rg.tensor([[1.0, 2.0], [3.0, 5.0]]), 0)
        tensor([3., 5.])
    """
    return _extremum("amax", _amax, x, dim, keepdim)


@method
def amin(x: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The smallest element over the axes `dim`; NaN where there is one. Ties share the gradient equally.

    Raises:
        ValueError: there is no element.

    Example:
        >>> import retrograd as rg
        >>> rg.amin(rg.tensor([[1.0, 2.0], [3.0, 5.0]]), 0)
        tensor([1., 2.])
    """
    return _extremum("amin", _amin, x, dim, keepdim)


@method
def argmax(x: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The first index, in C order over the axes `dim`, of the largest element; int64.

    Raises:
        ValueError: there is no element.

    Example:
        >>> import retrograd as rg
        >>> rg.argmax(rg.tensor([[1.0, 2.0], [3.0, 5.0]]), 0)
        tensor([1, 1])
    """
    return _extremum("argmax", _argmax, x, dim, keepdim)


@method
def argmin(x: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """The first index, in C order over the axes `dim`, of the smallest element; int64.

    Raises:
        ValueError: there is no element.

    Example:
        >>> import retrograd as rg
        >>> rg.argmin(rg.tensor([[1.0, 2.0], [3.0, 5.0]]), 0)
        tensor([0, 0])
    """
    return _extremum("argmin", _argmin, x, dim, keepdim)


@method
def all(x: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether every element over the axes `dim` is true.

    Example:
        >>> import retrograd as rg
        >>> rg.all(rg.tensor([[True, False], [True, True]]), 0)
        tensor([ True, False])
    """
    x = as_tensor_operand("all", x)
    return _all(x, axes=normalize_axes("all", dim, x.ndim), keepdim=keepdim)


@method
def any(x: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether some element over the axes `dim` is true.

    Example:
        >>> import retrograd as rg
        >>> rg.any(rg.tensor([[True, False], [True, True]]), 0)
        tensor([ True,  True])
    """
    x = as_tensor_operand("any", x)
    return _any(x, axes=normalize_axes("any", dim, x.ndim), keepdim=keepdim)


@method
def logsumexp(x: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over the axes `dim`, without overflow; -inf over no elements.

    Example:
        >>> import retrograd as rg
        >>> rg.logsumexp(rg.tensor([[1.0, 2.0], [3.0, 5.0]]), 0)
        tensor([3.1269, 5.0486])
    """
    x = floating("logsumexp", x)
    return _logsumexp(x, axes=normalize_axes("logsumexp", dim, x.ndim), keepdim=keepdim)


def _along(name: str, op: Op, x: Operand, dim: Dim) -> Tensor:
    x = floating(name, x)
    if x.ndim == 0:
        return reshape(_along(name, op, reshape(x, 1), dim), ())
    if isinstance(dim, int):
        return op(x, axis=normalize_axis(name, dim, x.ndim))
    # several axes: brought together at the end, taken as one, put back
    axes = normalize_axes(name, dim, x.ndim)
    order = [a for a in range(x.ndim) if a not in axes] + list(axes)
    moved = x.permute(order)
    joined = reshape(moved, *moved.shape[: x.ndim - len(axes)], _count(x, axes))
    return reshape(op(joined, axis=joined.ndim - 1), moved.shape).permute([order.index(a) for a in range(x.ndim)])


@method
def softmax(x: Operand, dim: Dim = -1) -> Tensor:
    """exp(x) over its sum along the axes `dim`, without overflow.

    Example:
        >>> import retrograd as rg
        >>> rg.softmax(rg.tensor([[1.0, 2.0], [3.0, 5.0]]), 0)
        tensor([[0.1192, 0.0474],
                [0.8808, 0.9526]])
    """
    return _along("softmax", _softmax, x, dim)


@method
def log_softmax(x: Operand, dim: Dim = -1) -> Tensor:
    """x - logsumexp(x) along the axes `dim`, without overflow.

    Example:
        >>> import retrograd as rg
        >>> rg.log_softmax(rg.tensor([[1.0, 2.0], [3.0, 5.0]]), 0)
        tensor([[-2.1269, -3.0486],
                [-0.1269, -0.0486]])
    """
    return _along("log_softmax", _log_softmax, x, dim)
