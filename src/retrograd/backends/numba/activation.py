"""Activations: a core each, forward and backward, on arrays of one axis."""

from __future__ import annotations

import numpy as np

from ...kernels.activation import ACTIVATIONS, FROM_OUTPUT
from ...kernels.activation import activation_backward as reference_backward
from ...kernels.activation import activation_forward as reference_forward
from ...kernels.spec import Array
from . import elementary
from .jit import FLOATS, core, flat
from .parallel import CHEAP, COSTLY, run

__all__ = ["activation_backward", "activation_forward"]

CODES = {name: code for code, name in enumerate(ACTIVATIONS)}
"""Activations by the number that the cores of products know them by."""
IDENTITY, RELU, LEAKY_RELU, TANH, SIGMOID, GELU, GELU_TANH, SILU, SOFTPLUS = CODES.values()


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
    grain = CHEAP if activation in FROM_OUTPUT else COSTLY
    run(_BACKWARD[activation], grain, (flat(g), flat(saved), d.ravel()), alpha)
    return d


@core
def fused_forward(code, y, alpha):
    """Apply an activation in place to y, which has one axis."""
    # loops of their own: those below, given one array twice, would not be vectorized
    alpha = y.dtype.type(alpha)
    if code == RELU:
        for i in range(y.size):
            y[i] = elementary.relu(y[i])
    elif code == LEAKY_RELU:
        for i in range(y.size):
            y[i] = elementary.leaky_relu(y[i], alpha)
    elif code == TANH:
        for i in range(y.size):
            y[i] = elementary.tanh(y[i])
    elif code == SIGMOID:
        for i in range(y.size):
            y[i] = elementary.sigmoid(y[i])
    elif code == GELU:
        for i in range(y.size):
            y[i] = elementary.gelu(y[i])
    elif code == GELU_TANH:
        for i in range(y.size):
            y[i] = elementary.gelu_tanh(y[i])
    elif code == SILU:
        for i in range(y.size):
            y[i] = elementary.silu(y[i])
    elif code == SOFTPLUS:
        for i in range(y.size):
            y[i] = elementary.sharp_softplus(y[i], alpha)


@core
def fused_backward(code, g, saved, d, alpha):
    """d = g * activation'(saved), for an activation that is not the identity; one axis."""
    if code == RELU:
        relu_backward(g, saved, d, alpha)
    elif code == LEAKY_RELU:
        leaky_relu_backward(g, saved, d, alpha)
    elif code == TANH:
        tanh_backward(g, saved, d, alpha)
    elif code == SIGMOID:
        sigmoid_backward(g, saved, d, alpha)
    elif code == GELU:
        gelu_backward(g, saved, d, alpha)
    elif code == GELU_TANH:
        gelu_tanh_backward(g, saved, d, alpha)
    elif code == SILU:
        silu_backward(g, saved, d, alpha)
    elif code == SOFTPLUS:
        softplus_backward(g, saved, d, alpha)


@core
def relu(x, y, alpha):
    for i in range(x.size):
        y[i] = elementary.relu(x[i])


@core
def relu_backward(g, y, d, alpha):
    for i in range(g.size):
        d[i] = elementary.relu_backward(g[i], y[i])


@core
def tanh_backward(g, y, d, alpha):
    for i in range(g.size):
        d[i] = elementary.tanh_backward(g[i], y[i])


@core
def sigmoid(x, y, alpha):
    for i in range(x.size):
        y[i] = elementary.sigmoid(x[i])


@core
def sigmoid_backward(g, y, d, alpha):
    for i in range(g.size):
        d[i] = elementary.sigmoid_backward(g[i], y[i])


@core
def leaky_relu(x, y, alpha):
    alpha = x.dtype.type(alpha)
    for i in range(x.size):
        y[i] = elementary.leaky_relu(x[i], alpha)


@core
def leaky_relu_backward(g, x, d, alpha):
    alpha = g.dtype.type(alpha)
    for i in range(g.size):
        d[i] = elementary.leaky_relu_backward(g[i], x[i], alpha)


@core
def gelu(x, y, alpha):
    for i in range(x.size):
        y[i] = elementary.gelu(x[i])


@core
def gelu_backward(g, x, d, alpha):
    for i in range(g.size):
        d[i] = elementary.gelu_backward(g[i], x[i])


@core
def gelu_tanh(x, y, alpha):
    for i in range(x.size):
        y[i] = elementary.gelu_tanh(x[i])


@core
def gelu_tanh_backward(g, x, d, alpha):
    for i in range(g.size):
        d[i] = elementary.gelu_tanh_backward(g[i], x[i])


@core
def silu(x, y, alpha):
    for i in range(x.size):
        y[i] = elementary.silu(x[i])


@core
def silu_backward(g, x, d, alpha):
    for i in range(g.size):
        d[i] = elementary.silu_backward(g[i], x[i])


@core
def softplus(x, y, alpha):
    alpha = x.dtype.type(alpha)
    for i in range(x.size):
        y[i] = elementary.sharp_softplus(x[i], alpha)


@core
def softplus_backward(g, x, d, alpha):
    alpha = g.dtype.type(alpha)
    for i in range(g.size):
        d[i] = elementary.sharp_softplus_backward(g[i], x[i], alpha)


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
