"""Optimizer updates: each changes a parameter and its state in place, in one pass.

All arrays of one call have the parameter's shape and dtype, are C contiguous and do not overlap. State
arrays start as zeros. Formulas in the order in which PyTorch applies them, so that runs can be compared.

Subnormal numbers in the state are flushed to 0: the running means of a weight that has no gradient, that of a
dead unit for one, would sink there and stay, and most processors take a hundred times as long over such numbers.
"""

from __future__ import annotations

import math

import numpy as np

from .spec import Array, kernel, same_dtype, same_shape


def _infer(name: str, **arrays: Array | None) -> None:
    same_dtype(name, *arrays.values())
    same_shape(name, **arrays)


def _infer_sgd(p: Array, g: Array, velocity: Array | None = None, *_: float, **__: float) -> None:
    _infer("sgd_update", p=p, g=g, velocity=velocity)


def _infer_adam(p: Array, g: Array, m: Array, v: Array, v_max: Array | None = None, *_: float, **__: float) -> None:
    _infer("adam_update", p=p, g=g, m=m, v=v, v_max=v_max)


def _infer_rmsprop(
    p: Array, g: Array, v: Array, velocity: Array | None = None, g_mean: Array | None = None, *_: float, **__: float
) -> None:
    _infer("rmsprop_update", p=p, g=g, v=v, velocity=velocity, g_mean=g_mean)


def _flushed(mean: Array) -> Array:
    """A running mean, subnormal numbers flushed to 0."""
    return np.where(np.absolute(mean) < np.finfo(mean.dtype).smallest_normal, mean.dtype.type(0), mean)


@kernel(_infer_sgd, mutates=("p", "velocity"))
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
    """Stochastic gradient descent, with momentum where `velocity` is given (Sutskever et al. 2013).

    d = g + weight_decay p; velocity = momentum velocity + (1 - dampening) d (on the `first` step: d);
    with nesterov d + momentum velocity, else velocity, takes d's place; p -= lr d.
    """
    t = p.dtype.type
    d = g + t(weight_decay) * p if weight_decay else g
    if velocity is not None:
        velocity[...] = _flushed(d if first else t(momentum) * velocity + t(1 - dampening) * d)
        d = d + t(momentum) * velocity if nesterov else velocity
    p -= t(lr) * d


@kernel(_infer_adam, mutates=("p", "m", "v", "v_max"))
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
    """Adam (Kingma and Ba, arXiv:1412.6980), AdamW where `decoupled` (Loshchilov and Hutter, arXiv:1711.05101).

    decoupled: p *= 1 - lr weight_decay; else g += weight_decay p. m = beta1 m + (1-beta1) g;
    v = beta2 v + (1-beta2) g²; p -= lr / (1-beta1^step) * m / (sqrt(v) / sqrt(1-beta2^step) + eps).
    With `v_max` (AMSGrad, Reddi et al. 2018) the running maximum of v takes v's place in the quotient.
    `step` counts from 1. The scalars that depend on step are computed in double precision.
    """
    t = p.dtype.type
    step_size = t(lr / (1 - beta1**step))
    root_correction = t(1 / math.sqrt(1 - beta2**step))
    if decoupled:
        p *= t(1 - lr * weight_decay)
    elif weight_decay:
        g = g + t(weight_decay) * p
    m[...] = _flushed(t(beta1) * m + t(1 - beta1) * g)
    v[...] = _flushed(t(beta2) * v + t(1 - beta2) * g * g)
    if v_max is not None:
        np.maximum(v_max, v, out=v_max)
        v = v_max
    p -= step_size * (m / (np.sqrt(v) * root_correction + t(eps)))


@kernel(_infer_rmsprop, mutates=("p", "v", "velocity", "g_mean"))
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
    """RMSprop (Hinton, lecture 6e of Neural Networks for Machine Learning), centered where `g_mean` is given.

    g += weight_decay p; v = alpha v + (1-alpha) g²; g_mean = alpha g_mean + (1-alpha) g;
    d = g / (sqrt(v - g_mean²) + eps); with `velocity`: velocity = momentum velocity + d takes d's place; p -= lr d.
    Where `accumulate`, both alpha and 1-alpha are 1: v is a sum (Adagrad, Duchi et al. 2011).
    """
    t = p.dtype.type
    kept, gain = (t(1), t(1)) if accumulate else (t(alpha), t(1 - alpha))
    if weight_decay:
        g = g + t(weight_decay) * p
    v[...] = _flushed(kept * v + gain * g * g)
    variance = v
    if g_mean is not None:
        g_mean[...] = _flushed(kept * g_mean + gain * g)
        variance = np.maximum(v - g_mean * g_mean, t(0))  # rounding can leave it below zero
    d = g / (np.sqrt(variance) + t(eps))
    if velocity is not None:
        velocity[...] = _flushed(t(momentum) * velocity + d)
        d = velocity
    p -= t(lr) * d
