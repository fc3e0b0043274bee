"""Optimizer updates, in place and in one pass; absent state is None."""

from __future__ import annotations

import math

import numpy as np

from ...kernels import update as reference
from ...kernels.spec import Array
from .jit import FLOATS, core, inlined
from .parallel import CHEAP, run

__all__ = ["adam_update", "rmsprop_update", "sgd_update"]


def _views(*arrays: Array | None) -> list[Array | None] | None:
    """The arrays with one axis, over the same memory; None where a core cannot take one of them so."""
    if arrays[0].dtype not in FLOATS:
        return None
    views: list[Array | None] = []
    for a in arrays:
        if a is not None:
            if not a.flags.carray:
                return None
            a = a.ravel()
        views.append(a)
    return views


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
    views = _views(p, g, velocity)
    if views is None:
        reference.sgd_update.reference(p, g, velocity, lr, momentum, dampening, weight_decay, nesterov, first)
    else:
        run(sgd, CHEAP, views, lr, momentum, 1 - dampening, weight_decay, nesterov, first)


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
    views = _views(p, g, m, v, v_max)
    if views is None:
        reference.adam_update.reference(p, g, m, v, v_max, lr, beta1, beta2, eps, weight_decay, decoupled, step)
        return
    step_size = lr / (1 - beta1**step)
    root_correction = 1 / math.sqrt(1 - beta2**step)
    kept = 1 - lr * weight_decay if decoupled else 1.0
    decay = 0.0 if decoupled else weight_decay
    run(adam, CHEAP, views, step_size, root_correction, beta1, beta2, eps, kept, decay)


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
    views = _views(p, g, v, velocity, g_mean)
    if views is None:
        reference.rmsprop_update.reference(
            p, g, v, velocity, g_mean, lr, alpha, eps, weight_decay, momentum, accumulate
        )
    else:
        run(rmsprop, CHEAP, views, lr, alpha, eps, weight_decay, momentum, accumulate)


@inlined
def flushed(mean, least):
    """A running mean, numbers below the least normal one flushed to 0."""
    return mean if not abs(mean) < least else least - least


@core
def sgd(p, g, velocity, lr, momentum, gain, weight_decay, nesterov, first):
    t = p.dtype.type
    lr, momentum, gain, weight_decay = t(lr), t(momentum), t(gain), t(weight_decay)
    least = np.finfo(p.dtype).tiny
    for i in range(p.size):
        d = g[i] + weight_decay * p[i] if weight_decay != 0 else g[i]
        if velocity is not None:
            velocity[i] = flushed(d if first else momentum * velocity[i] + gain * d, least)
            d = d + momentum * velocity[i] if nesterov else velocity[i]
        p[i] -= lr * d


@core
def adam(p, g, m, v, v_max, step_size, root_correction, beta1, beta2, eps, kept, weight_decay):
    t = p.dtype.type
    gain1, gain2 = t(1 - beta1), t(1 - beta2)
    step_size, root_correction, eps, kept = t(step_size), t(root_correction), t(eps), t(kept)
    beta1, beta2, weight_decay = t(beta1), t(beta2), t(weight_decay)
    least = np.finfo(p.dtype).tiny
    for i in range(p.size):
        d = g[i] + weight_decay * p[i] if weight_decay != 0 else g[i]
        m[i] = flushed(beta1 * m[i] + gain1 * d, least)
        v[i] = flushed(beta2 * v[i] + gain2 * d * d, least)
        second = v[i]
        if v_max is not None:
            second = second if second > v_max[i] or second != second else v_max[i]  # NaN in either stays
            v_max[i] = second
        p[i] = kept * p[i] - step_size * (m[i] / (math.sqrt(second) * root_correction + eps))


@core
def rmsprop(p, g, v, velocity, g_mean, lr, alpha, eps, weight_decay, momentum, accumulate):
    t = p.dtype.type
    gain = t(1) if accumulate else t(1 - alpha)
    alpha = 1.0 if accumulate else alpha
    lr, alpha, eps, weight_decay, momentum = t(lr), t(alpha), t(eps), t(weight_decay), t(momentum)
    least = np.finfo(p.dtype).tiny
    for i in range(p.size):
        d = g[i] + weight_decay * p[i] if weight_decay != 0 else g[i]
        v[i] = flushed(alpha * v[i] + gain * d * d, least)
        variance = v[i]
        if g_mean is not None:
            g_mean[i] = flushed(alpha * g_mean[i] + gain * d, least)
            variance -= g_mean[i] * g_mean[i]
            variance = t(0) if variance <= 0 else variance  # rounding can leave it below zero
        d /= math.sqrt(variance) + eps
        if velocity is not None:
            velocity[i] = flushed(momentum * velocity[i] + d, least)
            d = velocity[i]
        p[i] -= lr * d
