"""Losses that are reduced to one number, in one pass with their gradients; unreduced ones run the references."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...kernels import loss as reference
from ...kernels.loss import Loss
from ...kernels.spec import Array
from . import elementary
from .jit import FLOATS, core, flat, plain, plus
from .reduction import CHUNK, row_sum, rows_at_once, shifted_exp

__all__ = ["bce_with_logits_loss", "cross_entropy_loss", "huber_loss", "l1_loss", "mse_loss"]


def _scale(reduction: str, count: int) -> float:
    if reduction == "sum":
        return 1.0
    return 1.0 / count if count else math.nan  # the mean of nothing is NaN, as NumPy's


def _pointwise(
    loss_core: Callable[..., None],
    x: Array,
    target: Array,
    reduction: str,
    need_grad: bool,
    count: int,
    *parameters: float,
) -> Loss:
    loss, dx = np.empty((), x.dtype), np.empty(x.shape, x.dtype)
    loss_core(flat(x), flat(target), _scale(reduction, count or x.size), loss, dx.ravel(), *parameters)
    return loss, dx if need_grad else None


def mse_loss(x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0) -> Loss:
    if x.dtype not in FLOATS or reduction == "none":
        return reference.mse_loss.reference(x, target, reduction, need_grad, count)
    return _pointwise(mse, x, target, reduction, need_grad, count)


def l1_loss(x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0) -> Loss:
    if x.dtype not in FLOATS or reduction == "none":
        return reference.l1_loss.reference(x, target, reduction, need_grad, count)
    return _pointwise(l1, x, target, reduction, need_grad, count)


def huber_loss(
    x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, delta: float = 1.0, count: int = 0
) -> Loss:
    if x.dtype not in FLOATS or reduction == "none":
        return reference.huber_loss.reference(x, target, reduction, need_grad, delta, count)
    return _pointwise(huber, x, target, reduction, need_grad, count, delta)


def bce_with_logits_loss(
    x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0
) -> Loss:
    if x.dtype not in FLOATS or reduction == "none":
        return reference.bce_with_logits_loss.reference(x, target, reduction, need_grad, count)
    return _pointwise(bce_with_logits, x, target, reduction, need_grad, count)


def cross_entropy_loss(
    x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0
) -> Loss:
    if x.dtype not in FLOATS or reduction == "none" or x.size == 0:
        return reference.cross_entropy_loss.reference(x, target, reduction, need_grad, count)
    loss, dx = np.empty((), x.dtype), np.empty(x.shape, x.dtype)
    scale = _scale(reduction, count or len(x))
    if target.dtype.kind == "f":
        cross_entropy_of_probabilities(plain(x), plain(target), scale, loss, dx)
        return loss, dx if need_grad else None
    bad = cross_entropy_of_indices(plain(x), plain(target), scale, loss, dx)
    if bad >= 0:
        reference.require_classes("cross_entropy_loss", target, x.shape[1])
    return loss, dx if need_grad else None


# In all cores below `scale` multiplies the loss, which has no axes, and its gradient dx. Sums are taken in the
# operands' precision over a chunk or a row, and in double precision over those.


@core
def mse(x, target, scale, loss, dx):
    slope = x.dtype.type(2 * scale)
    total = 0.0
    for start in range(0, x.size, CHUNK):
        part = x.dtype.type(0)
        a, b, c = x[start : start + CHUNK], target[start : start + CHUNK], dx[start : start + CHUNK]
        for i in range(a.size):
            d = a[i] - b[i]
            c[i] = slope * d
            part = plus(part, d * d)
        total += part
    loss[()] = total * scale


@core
def l1(x, target, scale, loss, dx):
    up, down = x.dtype.type(scale), x.dtype.type(-scale)
    total = 0.0
    for start in range(0, x.size, CHUNK):
        part = x.dtype.type(0)
        a, b, c = x[start : start + CHUNK], target[start : start + CHUNK], dx[start : start + CHUNK]
        for i in range(a.size):
            d = a[i] - b[i]
            # d itself: zero or NaN
            c[i] = up if d > 0 else (down if d < 0 else d)
            part = plus(part, abs(d))
        total += part
    loss[()] = total * scale


@core
def huber(x, target, scale, loss, dx, delta):
    t = x.dtype.type
    half, high, low, slope = t(0.5), t(delta), t(-delta), t(scale)
    total = 0.0
    for start in range(0, x.size, CHUNK):
        part = t(0)
        a, b, c = x[start : start + CHUNK], target[start : start + CHUNK], dx[start : start + CHUNK]
        for i in range(a.size):
            d = a[i] - b[i]
            size = abs(d)
            c[i] = slope * (low if d < low else (high if d > high else d))
            part = plus(part, half * d * d if size <= high else high * (size - half * high))
        total += part
    loss[()] = total * scale


@core
def bce_with_logits(x, target, scale, loss, dx):
    slope, zero, one = x.dtype.type(scale), x.dtype.type(0), x.dtype.type(1)
    total = 0.0
    for start in range(0, x.size, CHUNK):
        part = zero
        a, b, c = x[start : start + CHUNK], target[start : start + CHUNK], dx[start : start + CHUNK]
        for i in range(a.size):
            e = elementary.exp(-abs(a[i]))
            c[i] = slope * ((one if a[i] >= 0 else e) / (one + e) - b[i])
            part = plus(part, (zero if a[i] <= 0 else a[i]) - a[i] * b[i] + elementary.log1p(e))
        total += part
    loss[()] = total * scale


@core
def cross_entropy_of_indices(x, target, scale, loss, dx):
    """x and dx (rows, classes), target (rows,). Returns the first row whose target is no class, or -1."""
    rows, classes = x.shape
    t = x.dtype.type
    step = rows_at_once(x)
    tops = np.empty(step, x.dtype)
    total = 0.0
    for start in range(0, rows, step):
        a, labels, e = x[start : start + step], target[start : start + step], dx[start : start + step]
        shifted_exp(a, tops, e)
        for i in range(len(a)):
            label = labels[i]
            if label < 0 or label >= classes:
                return start + i
            weight = row_sum(e, i)
            total += math.log(weight) - (a[i, label] - tops[i])
            slope = t(scale) / weight
            for j in range(classes):
                e[i, j] *= slope
            e[i, label] -= t(scale)
    loss[()] = total * scale
    return -1


@core
def cross_entropy_of_probabilities(x, target, scale, loss, dx):
    """x, target and dx (rows, classes)."""
    rows, classes = x.shape
    t = x.dtype.type
    step = rows_at_once(x)
    tops = np.empty(step, x.dtype)
    total = 0.0
    for start in range(0, rows, step):
        a, p, e = x[start : start + step], target[start : start + step], dx[start : start + step]
        shifted_exp(a, tops, e)
        for i in range(len(a)):
            weight = row_sum(e, i)
            log_weight = math.log(weight)
            slope = t(scale) * row_sum(p, i) / weight
            row = t(0)
            for j in range(classes):
                term = p[i, j] * (log_weight - (a[i, j] - tops[i]))
                row = plus(row, t(0) if p[i, j] == 0 else term)  # 0 * inf counts as 0
                e[i, j] = slope * e[i, j] - t(scale) * p[i, j]
            total += row
    loss[()] = total * scale
