"""Activations: a core each, forward and backward, on arrays of one axis."""

from __future__ import annotations

import math

import numpy as np

from ...kernels.activation import _GELU_CUBIC, _SQRT_2_PI, _SQRT_HALF
from ...kernels.activation import activation_backward as reference_backward
from ...kernels.activation import activation_forward as reference_forward
from ...kernels.spec import Array
from . import elementary
from .jit import FLOATS, core, flat, inlined
from .parallel import CHEAP, COSTLY, run

__all__ = ["activation_backward", "activation_forward"]

IDENTITY, RELU, TANH, SIGMOID = range(4)
CODES = {"identity": IDENTITY, "relu": RELU, "tanh": TANH, "sigmoid": SIGMOID}
"""The activations that products fuse, by the number that their cores know them by."""

_SQRT_HALF_PI = 1 / math.sqrt(2 * math.pi)


def activation_forward(x: Array, activation: str, alpha: float = 0.0) -> Array:
    if x.dtype not in FLOATS or activation not in _FORWARD:
        return reference_forward.reference(x, activation, alpha)
    y = np.empty(x.shape, x.dtype)
    grain = CHEAP if activation in _CHEAP else COSTLY
    run(_FORWARD[activation], grain, (flat(x), y.ravel()), alpha)
    return y


def activation_backward(g: Array, saved: Array, activation: str, alpha: float = 0.0) -> Array:
    if g.dtype not in FLOATS or activation not in _BACKWARD:
        return reference_backward.reference(g, saved, activation, alpha)
    d = np.empty(g.shape, g.dtype)
    grain = CHEAP if activation in _CHEAP or activation in CODES else COSTLY
    run(_BACKWARD[activation], grain, (flat(g), flat(saved), d.ravel()), alpha)
    return d


@core
def fused_forward(code, y):
    """Apply a fused activation in place to y, which has one axis."""
    if code == RELU:
        zero = y.dtype.type(0)
        for i in range(y.size):
            y[i] = zero if y[i] <= 0 else y[i]
    elif code == TANH:
        for i in range(y.size):
            y[i] = elementary.tanh(y[i])
    elif code == SIGMOID:
        for i in range(y.size):
            y[i] = elementary.sigmoid(y[i])


@core
def fused_backward(code, g, y, d):
    """d = g * activation'(y) for a fused activation that is not the identity; one axis."""
    if code == RELU:
        relu_backward(g, y, d, 0.0)
    elif code == TANH:
        tanh_backward(g, y, d, 0.0)
    elif code == SIGMOID:
        sigmoid_backward(g, y, d, 0.0)


@core
def relu(x, y, alpha):
    zero = x.dtype.type(0)
    for i in range(x.size):
        y[i] = zero if x[i] <= 0 else x[i]


@core
def relu_backward(g, y, d, alpha):
    zero = g.dtype.type(0)
    for i in range(g.size):
        d[i] = zero if y[i] <= 0 else g[i]


@core
def tanh_backward(g, y, d, alpha):
    one = g.dtype.type(1)
    for i in range(g.size):
        d[i] = g[i] * (one - y[i] * y[i])


@core
def sigmoid(x, y, alpha):
    for i in range(x.size):
        y[i] = elementary.sigmoid(x[i])


@core
def sigmoid_backward(g, y, d, alpha):
    one = g.dtype.type(1)
    for i in range(g.size):
        d[i] = g[i] * y[i] * (one - y[i])


@core
def leaky_relu(x, y, alpha):
    slope = x.dtype.type(alpha)
    for i in range(x.size):
        y[i] = slope * x[i] if x[i] <= 0 else x[i]


@core
def leaky_relu_backward(g, x, d, alpha):
    slope = g.dtype.type(alpha)
    for i in range(g.size):
        d[i] = slope * g[i] if x[i] <= 0 else g[i]


@inlined
def _normal_cdf(v, half, sqrt_half):
    return half * (1 + math.erf(v * sqrt_half))


@core
def gelu(x, y, alpha):
    half, sqrt_half = x.dtype.type(0.5), x.dtype.type(_SQRT_HALF)
    for i in range(x.size):
        y[i] = x[i] * _normal_cdf(x[i], half, sqrt_half)


@core
def gelu_backward(g, x, d, alpha):
    half, sqrt_half = g.dtype.type(0.5), g.dtype.type(_SQRT_HALF)
    scale = g.dtype.type(_SQRT_HALF_PI)
    for i in range(g.size):
        density = elementary.exp(-half * x[i] * x[i]) * scale
        d[i] = g[i] * (_normal_cdf(x[i], half, sqrt_half) + x[i] * density)


@core
def gelu_tanh(x, y, alpha):
    one, half = x.dtype.type(1), x.dtype.type(0.5)
    scale, cubic = x.dtype.type(_SQRT_2_PI), x.dtype.type(_GELU_CUBIC)
    for i in range(x.size):
        v = x[i]
        y[i] = half * v * (one + elementary.tanh(scale * (v + cubic * v * v * v)))


@core
def gelu_tanh_backward(g, x, d, alpha):
    one, half = g.dtype.type(1), g.dtype.type(0.5)
    scale, cubic = g.dtype.type(_SQRT_2_PI), g.dtype.type(_GELU_CUBIC)
    three_cubic = g.dtype.type(3 * _GELU_CUBIC)
    for i in range(g.size):
        v = x[i]
        t = elementary.tanh(scale * (v + cubic * v * v * v))
        slope = scale * (one + three_cubic * v * v)
        d[i] = g[i] * (half * (one + t) + half * v * (one - t * t) * slope)


@core
def silu(x, y, alpha):
    for i in range(x.size):
        y[i] = x[i] * elementary.sigmoid(x[i])


@core
def silu_backward(g, x, d, alpha):
    one = g.dtype.type(1)
    for i in range(g.size):
        s = elementary.sigmoid(x[i])
        d[i] = g[i] * s * (one + x[i] * (one - s))


@core
def softplus(x, y, alpha):
    sharpness = x.dtype.type(alpha)
    for i in range(x.size):
        y[i] = elementary.softplus(x[i] * sharpness) / sharpness


@core
def softplus_backward(g, x, d, alpha):
    sharpness = g.dtype.type(alpha)
    for i in range(g.size):
        d[i] = g[i] * elementary.sigmoid(x[i] * sharpness)


_CHEAP = ("relu", "leaky_relu")

# np.tanh, one pass by itself, is faster than `elementary.tanh`
_FORWARD = {
    "relu": relu,
    "sigmoid": sigmoid,
    "leaky_relu": leaky_relu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
    "softplus": softplus,
}

_BACKWARD = {
    "relu": relu_backward,
    "tanh": tanh_backward,
    "sigmoid": sigmoid_backward,
    "leaky_relu": leaky_relu_backward,
    "gelu": gelu_backward,
    "gelu_tanh": gelu_tanh_backward,
    "silu": silu_backward,
    "softplus": softplus_backward,
}
