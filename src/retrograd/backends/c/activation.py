"""Activations in C."""

from __future__ import annotations

import numpy as np

from ...kernels import activation as reference
from ...kernels.spec import Array
from .native import by_dtype, contiguous, lib, pointer

_FORWARD = by_dtype("activation_forward")
_BACKWARD = by_dtype("activation_backward")
ACTIVATIONS = {name: getattr(lib, f"RG_{name.upper()}") for name in reference.ACTIVATIONS}
"""What C calls them."""
_empty = np.empty


def activation_forward(x: Array, activation: str, alpha: float = 0.0) -> Array:
    run = _FORWARD.get(x.dtype)
    if run is None:
        return reference.activation_forward.reference(x, activation, alpha)
    y = _empty(x.shape, x.dtype)
    run(pointer(y), contiguous(x), x.size, ACTIVATIONS[activation], alpha)
    return y


def activation_backward(g: Array, saved: Array, activation: str, alpha: float = 0.0) -> Array:
    run = _BACKWARD.get(g.dtype)
    if run is None:
        return reference.activation_backward.reference(g, saved, activation, alpha)
    dx = _empty(g.shape, g.dtype)
    run(pointer(dx), contiguous(g), contiguous(saved), g.size, ACTIVATIONS[activation], alpha)
    return dx


KERNELS = {"activation_forward": activation_forward, "activation_backward": activation_backward}
