"""Activations, elementwise.

The product with the derivative of each is an op of its own, TimesSlope, with a closed form of the second derivative: so
both modes can be differentiated as often as one likes, and take one fused kernel at first order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..kernels.activation import ACTIVATIONS, FROM_OUTPUT, USUAL_ALPHA
from ..kernels.spec import Array
from ..tape import Node
from ..tensor import Tensor
from .elementwise import exp, where
from .rule import OUTPUT, Op, Operand, floating, method


class Activation(Op):
    """An activation by name; it saves its output or its input, whichever its derivative is a function of."""

    fresh = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.saves = (OUTPUT,) if name in FROM_OUTPUT else (0,)

    def forward(self, k: Any, x: Array, alpha: float = 0.0) -> Array:
        return k.activation_forward(x, self.name, alpha)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor]:
        return (self.jvp(ctx, g),)

    def jvp(self, ctx: Node, t: Tensor) -> Tensor:
        (s,) = self.saved(ctx)
        return times_slope(t, s, self.name, ctx.attributes.get("alpha", 0.0))

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array]:
        return (self.jvp_kernels(k, ctx, g),)

    def jvp_kernels(self, k: Any, ctx: Node, t: Array) -> Array:
        return k.activation_backward(t, ctx.arrays[0], self.name, ctx.attributes.get("alpha", 0.0))


class TimesSlope(Op):
    """A factor times the derivative of an activation, at its output or input as the activation saves it."""

    saves = (0, 1)

    def forward(self, k: Any, g: Array, s: Array, activation: str, alpha: float) -> Array:
        return k.activation_backward(g, s, activation, alpha)

    def vjp(self, ctx: Node, c: Tensor) -> tuple[Tensor | None, Tensor | None]:
        g, s = self.saved(ctx)
        return (
            _times_slope(c, s, **ctx.attributes) if ctx.needs(0) else None,
            c * g * self._curvature(ctx, s) if ctx.needs(1) else None,
        )

    def jvp(self, ctx: Node, tg: Tensor | None, ts: Tensor | None) -> Tensor | None:
        g, s = self.saved(ctx)
        t = None if tg is None else _times_slope(tg, s, **ctx.attributes)
        if ts is None or self._straight(ctx):
            return t
        bend = ts * g * self._curvature(ctx, s)
        return bend if t is None else t + bend

    def jvp_kernels(self, k: Any, ctx: Node, tg: Array | None, ts: Array | None) -> Array | None:
        g, s = ctx.arrays
        t = None if tg is None else k.activation_backward(tg, s, **ctx.attributes)
        if ts is None or self._straight(ctx):
            return t
        bend = k.multiply(k.multiply(ts, g), self._curvature(ctx, Tensor(s)).array)
        return bend if t is None else k.add(t, bend)

    def _straight(self, ctx: Node) -> bool:
        return ctx["activation"] not in _CURVATURE

    def _curvature(self, ctx: Node, s: Tensor) -> Tensor:
        return _CURVATURE.get(ctx["activation"], _flat)(s, ctx["alpha"])


_activations = {name: Activation(name) for name in ACTIVATIONS if name != "identity"}
_times_slope = TimesSlope()


def times_slope(g: Tensor, s: Tensor, activation: str, alpha: float = 0.0) -> Tensor:
    """g times the derivative of an activation, given what it saves: its output for those in FROM_OUTPUT, else its
    input."""
    return _times_slope(g, s, activation=activation, alpha=alpha)


def _flat(s: Tensor, alpha: float) -> Tensor:
    return s * 0.0


def _gelu(x: Tensor, alpha: float) -> Tensor:
    density = exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))
    return density * (2.0 - x * x)


def _gelu_tanh(x: Tensor, alpha: float) -> Tensor:
    # y = x (1 + tanh u) / 2 with u = c (x + a x^3)
    c, a = math.sqrt(2 / math.pi), 0.044715
    t = tanh(c * (x + a * x * x * x))
    du, ddu = c * (1.0 + 3 * a * x * x), 6 * a * c * x
    return (1.0 - t * t) * (du + 0.5 * x * (ddu - 2.0 * t * du * du))


def _silu(x: Tensor, alpha: float) -> Tensor:
    y = sigmoid(x)
    return y * (1.0 - y) * (2.0 + x * (1.0 - 2.0 * y))


def _softplus(x: Tensor, alpha: float) -> Tensor:
    y = sigmoid(alpha * x)
    return alpha * y * (1.0 - y)


_CURVATURE: dict[str, Callable[[Tensor, float], Tensor]] = {
    "tanh": lambda y, alpha: -2.0 * y,
    "sigmoid": lambda y, alpha: 1.0 - 2.0 * y,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "softplus": _softplus,
}
"""The derivative of each slope with respect to what the slope is a function of; 0 for those that are not listed."""


@method
def relu(x: Operand) -> Tensor:
    """max(x, 0), with derivative 0 at 0.

    Example:
        >>> import retrograd as rg
        >>> rg.relu(rg.tensor([-1.0, 0.0, 1.0]))
        tensor([0., 0., 1.])
    """
    return _activations["relu"](floating("relu", x))


@method
def leaky_relu(x: Operand, negative_slope: float = USUAL_ALPHA["leaky_relu"]) -> Tensor:
    """x where x > 0, negative_slope * x elsewhere.

    Example:
        >>> import retrograd as rg
        >>> rg.leaky_relu(rg.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.01,  0.  ,  1.  ])
    """
    x = floating("leaky_relu", x)
    if negative_slope > 0:
        return _activations["leaky_relu"](x, alpha=float(negative_slope))
    return where(x > 0, x, x * negative_slope)  # the output's sign does not tell the input's


@method
def tanh(x: Operand) -> Tensor:
    """The hyperbolic tangent.

    Example:
        >>> import retrograd as rg
        >>> rg.tanh(rg.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.7616,  0.    ,  0.7616])
    """
    return _activations["tanh"](floating("tanh", x))


@method
def sigmoid(x: Operand) -> Tensor:
    """1 / (1 + exp(-x)).

    Example:
        >>> import retrograd as rg
        >>> rg.sigmoid(rg.tensor([-1.0, 0.0, 1.0]))
        tensor([0.2689, 0.5   , 0.7311])
    """
    return _activations["sigmoid"](floating("sigmoid", x))


@method
def gelu(x: Operand, approximate: str = "none") -> Tensor:
    """x Phi(x), Phi being the normal distribution's cumulative function (Hendrycks and Gimpel, arXiv:1606.08415).

    Args:
        x: any shape.
        approximate: "none", or "tanh" for 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    Example:
        >>> import retrograd as rg
        >>> rg.gelu(rg.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.1587,  0.    ,  0.8413])
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate is {approximate!r}, expected 'none' or 'tanh'")
    return _activations["gelu" if approximate == "none" else "gelu_tanh"](floating("gelu", x))


@method
def silu(x: Operand) -> Tensor:
    """x sigmoid(x) (Elfwing, Uchibe and Doya, arXiv:1702.03118).

    Example:
        >>> import retrograd as rg
        >>> rg.silu(rg.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.2689,  0.    ,  0.7311])
    """
    return _activations["silu"](floating("silu", x))


@method
def softplus(x: Operand, beta: float = USUAL_ALPHA["softplus"], threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold.

    Raises:
        ValueError: beta is not positive.

    Example:
        >>> import retrograd as rg
        >>> rg.softplus(rg.tensor([-1.0, 0.0, 1.0]))
        tensor([0.3133, 0.6931, 1.3133])
    """
    if not beta > 0:
        raise ValueError(f"softplus: beta is {beta}, expected a positive number")
    x = floating("softplus", x)
    y = _activations["softplus"](x, alpha=float(beta))
    # above 20 both are equal in float32 to rounding; a lower threshold is a real cut
    return y if threshold >= 20 else where(x * beta > threshold, x, y)
