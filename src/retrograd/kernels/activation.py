"""Activations: one forward and one backward kernel, parametrized by the activation's name.

Formulas: Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.3; GELU: Hendrycks and Gimpel,
arXiv:1606.08415; SiLU: Elfwing et al., arXiv:1702.03118.
"""

from __future__ import annotations

import math

import numpy as np

from .spec import Array, Spec, kernel, same_dtype, same_shape

FROM_OUTPUT = ("identity", "relu", "leaky_relu", "tanh", "sigmoid")
"""Activations whose derivative is a function of their output: that is what is saved for it."""

FROM_INPUT = ("gelu", "gelu_tanh", "silu", "softplus")
"""Activations whose derivative is taken at their input: that is what is saved for it."""

ACTIVATIONS = FROM_OUTPUT + FROM_INPUT

USUAL_ALPHA = {"leaky_relu": 0.01, "softplus": 1.0}
"""Those that have a number `alpha`, and what it is unless given."""

_SQRT_HALF = math.sqrt(0.5)
_SQRT_2_PI = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715
_GELU_FAR = 30.0  # beyond, its slope is 0 or 1
_erfc = np.frompyfunc(math.erfc, 1, 1)


def check(name: str, activation: str) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"{name}: unknown activation {activation!r}; expected one of {', '.join(ACTIVATIONS)}")


def _infer_forward(x: Array, activation: str, alpha: float = 0.0) -> Spec:
    check("activation_forward", activation)
    return Spec(x.shape, same_dtype("activation_forward", x))


def _infer_backward(g: Array, saved: Array, activation: str, alpha: float = 0.0) -> Spec:
    check("activation_backward", activation)
    dtype = same_dtype("activation_backward", g, saved)
    return Spec(same_shape("activation_backward", g=g, saved=saved), dtype)


def _sigmoid(x: Array) -> Array:
    # exp of a non-positive number only, so that neither end overflows
    e = np.exp(-np.absolute(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype, copy=False)


def _normal_cdf(x: Array) -> Array:
    return np.asarray(0.5 * _erfc(x.astype(np.float64) * -_SQRT_HALF), x.dtype)


def _finite(x: Array) -> Array:
    """x with infinities made finite: a factor of 0 is what they meet at one end."""
    largest = np.finfo(x.dtype).max
    return np.clip(x, -largest, largest)


@kernel(_infer_forward)
def activation_forward(x: Array, activation: str, alpha: float = 0.0) -> Array:
    """The activation, elementwise.

    Args:
        x: any shape, float32 or float64.
        activation: `identity`, `relu` max(x, 0), `tanh`, `sigmoid` 1/(1+exp(-x)), `leaky_relu` x where x > 0
            and alpha*x elsewhere, `gelu` x*Phi(x), `gelu_tanh` its tanh form, `silu` x*sigmoid(x), `softplus`
            log(1+exp(alpha*x))/alpha.
        alpha: the slope of leaky_relu and the sharpness of softplus, both > 0.

    Returns:
        An array of x's shape and dtype. NaN stays NaN, and infinities give the limits.
    """
    if activation == "identity":
        return x.copy(order="C")
    if activation == "relu":
        return np.maximum(x, x.dtype.type(0))
    if activation == "tanh":
        return np.tanh(x)
    if activation == "sigmoid":
        return _sigmoid(x)
    if activation == "leaky_relu":
        return np.where(x <= 0, x * x.dtype.type(alpha), x)
    if activation == "gelu":
        return np.maximum(x, np.finfo(x.dtype).min) * _normal_cdf(x)
    if activation == "gelu_tanh":
        return np.maximum(x, np.finfo(x.dtype).min) * _sigmoid(2 * _SQRT_2_PI * (x + _GELU_CUBIC * x * x * x))
    if activation == "silu":
        return np.maximum(x, np.finfo(x.dtype).min) * _sigmoid(x)
    if activation == "softplus":
        z = x * x.dtype.type(alpha)
        return (np.maximum(z, 0) + np.log1p(np.exp(-np.absolute(z)))) / x.dtype.type(alpha)
    raise AssertionError(activation)


@kernel(_infer_backward)
def activation_backward(g: Array, saved: Array, activation: str, alpha: float = 0.0) -> Array:
    """The cotangent of an activation's input.

    Args:
        g: the cotangent of its output.
        saved: of g's shape and dtype; the activation's output for those in FROM_OUTPUT, else its input.
        activation, alpha: as in activation_forward.

    Returns:
        g times the derivative, of g's shape and dtype. ReLU's and leaky ReLU's derivative at 0 is that of x < 0;
        where `saved` is NaN, g passes.
    """
    s = saved
    if activation == "identity":
        return g.copy(order="C")
    if activation == "relu":
        return np.where(s <= 0, g.dtype.type(0), g)
    if activation == "tanh":
        return g * (1 - s * s)
    if activation == "sigmoid":
        return g * s * (1 - s)
    if activation == "leaky_relu":
        return np.where(s <= 0, g * g.dtype.type(alpha), g)
    if activation == "gelu":
        density = np.exp(-0.5 * s * s) * (1 / math.sqrt(2 * math.pi))
        return g * (_normal_cdf(s) + _finite(s) * density)
    if activation == "gelu_tanh":
        s = np.clip(s, -_GELU_FAR, _GELU_FAR)
        y = _sigmoid(2 * _SQRT_2_PI * (s + _GELU_CUBIC * s * s * s))
        slope = 2 * _SQRT_2_PI * (1 + 3 * _GELU_CUBIC * s * s)
        return g * (y + s * y * (1 - y) * slope)
    if activation == "silu":
        y = _sigmoid(s)
        return g * (y + _finite(s) * y * (1 - y))
    if activation == "softplus":
        return g * _sigmoid(s * s.dtype.type(alpha))
    raise AssertionError(activation)
