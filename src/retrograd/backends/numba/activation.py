"""Activations, forward and backward, on arrays of one axis.

They apply the functions of `elementary` by their names, which is all that a new one needs here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.activation import ACTIVATIONS, FROM_OUTPUT, USUAL_ALPHA
from ...kernels.activation import activation_backward as reference_backward
from ...kernels.activation import activation_forward as reference_forward
from ...kernels.spec import Array
from . import elementary
from .jit import FLOATS, core, flat, inlined
from .parallel import CHEAP, COSTLY, run

__all__ = ["activation_backward", "activation_forward"]

CODES = {name: code for code, name in enumerate(ACTIVATIONS)}
"""Activations by the number that the cores know them by."""
IDENTITY = CODES["identity"]

_CHEAP = ("relu", "leaky_relu")
_BY_REFERENCE = ("identity", "tanh")  # np.tanh, one pass by itself, is faster than `elementary.tanh`

_NAMES = [name for name in ACTIVATIONS if name != "identity"]
_ALPHA = {name: ", {alpha}" if name in USUAL_ALPHA else "" for name in _NAMES}

EXPRESSIONS = {
    "activation_forward": {"identity": "{x}", **{name: f"elementary.{name}({{x}}{_ALPHA[name]})" for name in _NAMES}},
    "activation_backward": {
        "identity": "{g}",
        **{name: f"elementary.{name}_backward({{g}}, {{saved}}{_ALPHA[name]})" for name in _NAMES},
    },
}
"""Each kernel's value by activation, with the names of its operands left open."""


def activation_forward(x: Array, activation: str, alpha: float = 0.0) -> Array:
    if x.dtype not in FLOATS or activation in _BY_REFERENCE:
        return reference_forward.reference(x, activation, alpha)
    y = np.empty(x.shape, x.dtype)
    grain = CHEAP if activation in _CHEAP else COSTLY
    run(forward, grain, (flat(x), y.ravel()), CODES[activation], alpha)
    return y


def activation_backward(g: Array, saved: Array, activation: str, alpha: float = 0.0) -> Array:
    if g.dtype not in FLOATS or activation == "identity":
        return reference_backward.reference(g, saved, activation, alpha)
    d = np.empty(g.shape, g.dtype)
    grain = CHEAP if activation in FROM_OUTPUT else COSTLY
    run(differentiate, grain, (flat(g), flat(saved), d.ravel()), CODES[activation], alpha)
    return d


def _by_code(kernel: str, result: str, **operands: str) -> Callable[..., Any]:
    """A function of a kernel's arrays, result last, with a loop for each activation but the identity, so that each loop
    is vectorized: it sets every element of the result."""
    lines = [f"def run({', '.join(dict.fromkeys([*operands.values(), result]))}, code, alpha):"]
    elements = {name: f"{array}[i]" for name, array in operands.items()}
    for name in _NAMES:
        value = EXPRESSIONS[kernel][name].format(**elements, alpha="alpha")
        lines += [f" if code == {CODES[name]}:", f"  for i in range({result}.size):", f"   {result}[i] = {value}"]
    namespace: dict[str, Any] = {"elementary": elementary}
    exec("\n".join(lines), namespace)
    return inlined(namespace["run"])


# given one array twice, a loop over two would not be vectorized: hence one of its own in place
_apply = _by_code("activation_forward", "y", x="y")
_forward = _by_code("activation_forward", "y", x="x")
_differentiate = _by_code("activation_backward", "d", g="g", saved="saved")


@core
def apply(y, code, alpha):
    """Apply an activation in place to y, which has one axis."""
    _apply(y, code, y.dtype.type(alpha))


@core
def forward(x, y, code, alpha):
    """y = activation(x); one axis."""
    _forward(x, y, code, x.dtype.type(alpha))


@core
def differentiate(g, saved, d, code, alpha):
    """d = g * activation'(saved), for an activation that is not the identity; one axis."""
    _differentiate(g, saved, d, code, g.dtype.type(alpha))
