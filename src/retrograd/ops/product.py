"""Matrix products and the dense layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..kernels.activation import ACTIVATIONS, FROM_INPUT, FROM_OUTPUT, USUAL_ALPHA
from ..kernels.spec import Array
from ..tape import Node, state
from ..tensor import Tensor
from .activation import leaky_relu, times_slope
from .rule import OUTPUT, Op, Operand, method, operands
from .shape import broadcast_to, reshape, sum_arrays_to, sum_to, transpose, unsqueeze


class MatMul(Op):
    """Of operands with two axes or more; leading axes broadcast."""

    name = "matmul"
    saves = (0, 1)

    def forward(self, k: Any, a: Array, b: Array) -> Array:
        return k.matmul(a, b)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = self.saved(ctx)
        return (
            sum_to(_matmul(g, transpose(b, -2, -1)), a.shape) if ctx.needs(0) else None,
            sum_to(_matmul(transpose(a, -2, -1), g), b.shape) if ctx.needs(1) else None,
        )

    def jvp(self, ctx: Node, ta: Tensor | None, tb: Tensor | None) -> Tensor:
        a, b = self.saved(ctx)
        if ta is None or tb is None:
            return _matmul(a, tb) if ta is None else _matmul(ta, b)
        return _matmul(ta, b) + _matmul(a, tb)

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array | None, Array | None]:
        a, b = ctx.arrays
        return (
            sum_arrays_to(k, k.matmul(g, _swapped(k, b)), a.shape) if ctx.needs(0) else None,
            sum_arrays_to(k, k.matmul(_swapped(k, a), g), b.shape) if ctx.needs(1) else None,
        )


def _swapped(k: Any, a: Array) -> Array:
    return k.transpose(a, (*range(a.ndim - 2), a.ndim - 1, a.ndim - 2))


class Linear(Op):
    """y = activation(z), z = x @ w.T + b, of a matrix x, in one kernel; its three cotangents in another. Where the
    derivative is taken at z, that is an output too."""

    fresh = True

    def __init__(self, activation: str) -> None:
        self.name = "linear" if activation == "identity" else f"linear_{activation}"
        self.activation = activation
        self.saves = (0, 1) if activation == "identity" else (0, 1, OUTPUT if activation in FROM_OUTPUT else OUTPUT - 1)

    def forward(
        self, k: Any, x: Array, w: Array, b: Array | None, alpha: float = 0.0, need_z: bool = False
    ) -> Array | tuple[Array, Array]:
        return k.linear_forward(x, w, b, self.activation, alpha, need_z)

    def vjp(
        self, ctx: Node, g: Tensor | None, gz: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, w, *saved = self.saved(ctx)
        if saved and g is not None:
            g = times_slope(g, saved[0], self.activation, self._alpha(ctx))
        if gz is not None:
            g = gz if g is None else g + gz
        return _transposed(g, x, w, (ctx.needs(0), ctx.needs(1), ctx.needs(2)))

    def jvp(self, ctx: Node, tx: Tensor | None, tw: Tensor | None, tb: Tensor | None) -> Tensor | tuple[Tensor, Tensor]:
        x, w, *saved = self.saved(ctx)
        t = _moved(x, w, tx, tw, tb)
        ty = times_slope(t, saved[0], self.activation, self._alpha(ctx)) if saved else t
        return (ty, t) if ctx.outputs == 2 else ty

    def vjp_kernels(
        self, k: Any, ctx: Node, g: Array | None, gz: Array | None = None
    ) -> tuple[Array | None, ...] | None:
        if gz is not None:
            return None
        x, w, *saved = ctx.arrays
        dx, dw, db = ctx.wanted
        needs = dx is not None, dw is not None, db is not None
        return k.linear_backward(g, x, w, saved[0] if saved else None, self.activation, self._alpha(ctx), *needs)

    def jvp_kernels(
        self, k: Any, ctx: Node, tx: Array | None, tw: Array | None, tb: Array | None
    ) -> Array | tuple[Array, Array] | None:
        if tx is None and tw is None:
            return None
        x, w, *saved = ctx.arrays
        if ctx.outputs == 2:
            tz = k.linear_tangent(x, w, None, tx, tw, tb)
            return k.activation_backward(tz, saved[0], self.activation, self._alpha(ctx)), tz
        return k.linear_tangent(x, w, saved[0] if saved else None, tx, tw, tb, self.activation, self._alpha(ctx))

    def dual(
        self, k: Any, arrays: list[Any], tangents: list[Any], alpha: float = 0.0, need_z: bool = False
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]] | None:
        x, w, b = arrays
        tx, tw, tb = tangents
        if tx is None and tw is None:
            return None
        if not need_z:
            y, t = k.linear_jvp(x, w, b, tx, tw, tb, self.activation, alpha)
            return (y,), (t,)
        z, tz = k.linear_jvp(x, w, b, tx, tw, tb)
        y = k.activation_forward(z, self.activation, alpha)
        return (y, z), (k.activation_backward(tz, z, self.activation, alpha), tz)

    def _alpha(self, ctx: Node) -> float:
        return ctx.attributes.get("alpha", 0.0)


def _moved(x: Tensor, w: Tensor, tx: Tensor | None, tw: Tensor | None, tb: Tensor | None) -> Tensor:
    """The tangent of x @ w.T + b."""
    if tx is not None:
        t = _linear["identity"](tx, w, tb)
        return t if tw is None else t + _linear["identity"](x, tw, None)
    if tw is not None:
        return _linear["identity"](x, tw, tb)
    return broadcast_to(tb, (x.shape[0], w.shape[0]))


class LinearTransposed(Op):
    """The cotangents of a dense layer's three operands, those of them that are needed: linear in g, x and w each, so
    that its own derivatives are made of itself and of the layer."""

    name = "linear_backward"
    saves = (0, 1, 2)
    fresh = True

    def forward(self, k: Any, g: Array, x: Array, w: Array, needs: tuple[bool, bool, bool]) -> tuple[Array, ...]:
        return tuple([a for a in k.linear_backward(g, x, w, None, "identity", 0.0, *needs) if a is not None])

    def vjp(self, ctx: Node, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        g, x, w = self.saved(ctx)
        cx, cw, cb = _spread(cotangents, ctx["needs"])
        dx, dw, _ = _transposed(
            g,
            x if cx is None else cx,
            w if cw is None else cw,
            (ctx.needs(1) and cw is not None, ctx.needs(2) and cx is not None, False),
        )
        return _moved(x, w, cx, cw, cb) if ctx.needs(0) else None, dx, dw

    def jvp(self, ctx: Node, tg: Tensor | None, tx: Tensor | None, tw: Tensor | None) -> tuple[Tensor | None, ...]:
        g, x, w = self.saved(ctx)
        needs = ctx["needs"]
        by_g = (None, None, None) if tg is None else _transposed(tg, x, w, needs)
        by_others = _transposed(
            g,
            x if tx is None else tx,
            w if tw is None else tw,
            (needs[0] and tw is not None, needs[1] and tx is not None, False),
        )
        pairs = zip(by_g, by_others, needs, strict=True)
        return tuple(b if a is None else a if b is None else a + b for a, b, need in pairs if need)

    def jvp_kernels(
        self, k: Any, ctx: Node, tg: Array | None, tx: Array | None, tw: Array | None
    ) -> tuple[Array | None, ...]:
        g, x, w = ctx.arrays
        needs = ctx["needs"]
        made = (None, None, None) if tg is None else k.linear_backward(tg, x, w, None, "identity", 0.0, *needs)
        need_x, need_w = needs[0] and tw is not None, needs[1] and tx is not None
        if need_x or need_w:
            others = k.linear_backward(
                g, x if tx is None else tx, w if tw is None else tw, None, "identity", 0.0, need_x, need_w, False
            )
            made = [b if a is None else a if b is None else k.add(a, b) for a, b in zip(made, others, strict=True)]
        return tuple([t for t, need in zip(made, needs, strict=True) if need])


def _transposed(
    g: Tensor, x: Tensor, w: Tensor, needs: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """g @ w, g.T @ x and g summed over the rows, each where it is needed."""
    if not any(needs):
        return None, None, None
    made = _linear_transposed(g, x, w, needs=needs)
    return _spread(made if type(made) is tuple else (made,), needs)


def _spread(made: tuple[Any, ...], needs: tuple[bool, ...]) -> Any:
    rest = iter(made)
    return tuple([next(rest) if need else None for need in needs])


_matmul = MatMul()
_linear = {activation: Linear(activation) for activation in ACTIVATIONS}
_linear_transposed = LinearTransposed()


@method
def matmul(a: Operand, b: Operand) -> Tensor:
    """The matrix product, by NumPy's rules: (..., m, k) and (..., k, n) give (..., m, n), leading axes broadcast; an
    operand with one axis is a row on the left, a column on the right, and that axis is left out of the result.

    Raises:
        ValueError: an operand has no axes, inner sizes differ, or leading axes do not broadcast.

    Example:
        >>> import retrograd as rg
        >>> rg.matmul(rg.tensor([[1.0, 2.0], [3.0, 4.0]]), rg.tensor([1.0, 10.0]))
        tensor([21., 43.])
    """
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        left, right = a.array, b.array
        if left.ndim == right.ndim == 2 and left.shape[1] == right.shape[0] and left.dtype == right.dtype:
            return _matmul(a, b)
    a, b = operands("matmul", a, b)
    inner = b.shape[0] if b.ndim == 1 else b.shape[-2] if b.ndim else None
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != inner:
        raise ValueError(
            f"matmul: shapes {a.shape} and {b.shape} do not fit; expected (..., m, k) and (..., k, n), "
            "or (k,) for either"
        )
    try:
        np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(f"matmul: leading axes of {a.shape} and {b.shape} do not broadcast") from None
    row, column = a.ndim == 1, b.ndim == 1
    y = _matmul(unsqueeze(a, 0) if row else a, unsqueeze(b, 1) if column else b)
    if not (row or column):
        return y
    return reshape(y, y.shape[:-2] + y.shape[-2:-1] * (not row) + y.shape[-1:] * (not column))


Tensor.__matmul__ = matmul  # type: ignore[method-assign,assignment]
Tensor.__rmatmul__ = lambda b, a: matmul(a, b)  # type: ignore[method-assign,assignment,misc]
mm = bmm = mv = matmul
Tensor.mm = Tensor.bmm = Tensor.mv = matmul  # type: ignore[attr-defined]


def linear(
    input: Operand,
    weight: Operand,
    bias: Operand | None = None,
    activation: str | None = None,
    alpha: float | None = None,
) -> Tensor:
    """A dense layer: activation(input @ weight.T + bias), the product, bias and activation in one pass.

    Args:
        input: (..., in_features).
        weight: (out_features, in_features).
        bias: (out_features,) or None.
        activation: None, or one of identity, relu, leaky_relu, tanh, sigmoid, gelu, gelu_tanh, silu, softplus.
        alpha: the slope of leaky_relu, 0.01 unless given; the sharpness of softplus, 1 unless given.

    Returns:
        (..., out_features).

    Raises:
        ValueError: shapes do not fit, an unknown activation, or a sharpness that is not positive.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.linear(rg.tensor([[1.0, -2.0]]), rg.tensor([[1.0, 1.0], [1.0, 0.0]]), activation="relu")
        tensor([[0., 1.]])
    """
    given = (input, weight) if bias is None else (input, weight, bias)
    x, w, *rest = operands("linear", *given)
    b = rest[0] if rest else None
    if w.ndim != 2 or x.ndim == 0 or x.shape[-1] != w.shape[1]:
        raise ValueError(
            f"linear: input {x.shape} and weight {w.shape} do not fit; expected (..., in_features) and "
            "(out_features, in_features)"
        )
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"linear: bias has shape {b.shape}, expected {w.shape[:1]} to fit weight {w.shape}")
    name = activation or "identity"
    if name not in _linear:
        raise ValueError(f"linear: unknown activation {activation!r}; expected None or one of {', '.join(ACTIVATIONS)}")
    if alpha is None:
        alpha = USUAL_ALPHA.get(name, 0.0)
    elif name == "leaky_relu" and not alpha > 0:
        return leaky_relu(linear(x, w, b), alpha)
    elif name == "softplus" and not alpha > 0:
        raise ValueError(f"linear: the sharpness of softplus is {alpha}, expected a positive number")
    if x.ndim == 2:
        return _layer(name, x, w, b, alpha)
    rows = reshape(x, math.prod(x.shape[:-1]), x.shape[-1])
    return reshape(_layer(name, rows, w, b, alpha), (*x.shape[:-1], w.shape[0]))


def _layer(name: str, x: Tensor, w: Tensor, b: Tensor | None, alpha: float) -> Tensor:
    op = _linear[name]
    if name in FROM_INPUT and state.recording and any(t is not None and t.requires_grad for t in (x, w, b)):
        return op(x, w, b, alpha=alpha, need_z=True)[0]
    return op(x, w, b, alpha=alpha) if alpha else op(x, w, b)
