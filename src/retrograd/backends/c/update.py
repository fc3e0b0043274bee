"""Optimizer updates in C."""

from __future__ import annotations

from typing import Any

from ...kernels import update as reference
from ...kernels.spec import Array
from .native import NULL, by_dtype, contiguous, pointer

_SGD = by_dtype("sgd_update")
_ADAM = by_dtype("adam_update")
_RMSPROP = by_dtype("rmsprop_update")


def _state(x: Array | None) -> Any:
    return NULL if x is None else pointer(x)


def sgd_update(
    p: Array,
    g: Array,
    velocity: Array | None = None,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    first: bool = False,
) -> None:
    run = _SGD.get(p.dtype)
    if run is None or not p.flags.carray:
        return reference.sgd_update.reference(p, g, velocity, lr, momentum, dampening, weight_decay, nesterov, first)
    return run(
        pointer(p), contiguous(g), _state(velocity), p.size, lr, momentum, dampening, weight_decay, nesterov, first
    )  # fmt: skip


def adam_update(
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    v_max: Array | None = None,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    step: int = 1,
) -> None:
    run = _ADAM.get(p.dtype)
    if run is None or not p.flags.carray:
        return reference.adam_update.reference(p, g, m, v, v_max, lr, beta1, beta2, eps, weight_decay, decoupled, step)
    return run(
        pointer(p), contiguous(g), pointer(m), pointer(v), _state(v_max), p.size,
        lr, beta1, beta2, eps, weight_decay, decoupled, step,
    )  # fmt: skip


def rmsprop_update(
    p: Array,
    g: Array,
    v: Array,
    velocity: Array | None = None,
    g_mean: Array | None = None,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    accumulate: bool = False,
) -> None:
    run = _RMSPROP.get(p.dtype)
    if run is None or not p.flags.carray:
        return reference.rmsprop_update.reference(
            p, g, v, velocity, g_mean, lr, alpha, eps, weight_decay, momentum, accumulate
        )
    return run(
        pointer(p), contiguous(g), pointer(v), _state(velocity), _state(g_mean), p.size,
        lr, alpha, eps, weight_decay, momentum, accumulate,
    )  # fmt: skip


KERNELS = {"sgd_update": sgd_update, "adam_update": adam_update, "rmsprop_update": rmsprop_update}
