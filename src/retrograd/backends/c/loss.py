"""Losses with their gradients in C."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels import loss as reference
from ...kernels.loss import Loss
from ...kernels.spec import Array
from .native import NULL, by_dtype, contiguous, lib, pointer

_POINTWISE = by_dtype("pointwise_loss")
_CROSS_ENTROPY = by_dtype("cross_entropy_loss")
_INT64 = np.dtype(np.int64)
_empty = np.empty


def _pointwise(
    run: Any, kind: int, x: Array, target: Array, reduction: str, need_grad: bool, delta: float, count: int
) -> Loss:
    n, each = x.size, reduction == "none"
    loss = _empty(x.shape if each else (), x.dtype)
    dx = _empty(x.shape, x.dtype) if need_grad else None
    address = pointer(loss)
    run(
        address if each else NULL, NULL if each else address, NULL if dx is None else pointer(dx),
        contiguous(x), contiguous(target), n, kind, (count or n) if reduction == "mean" else 1, delta,
    )  # fmt: skip
    return loss, dx


def mse_loss(x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0) -> Loss:
    run = _POINTWISE.get(x.dtype)
    if run is None:
        return reference.mse_loss.reference(x, target, reduction, need_grad, count)
    return _pointwise(run, lib.RG_MSE, x, target, reduction, need_grad, 0.0, count)


def l1_loss(x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0) -> Loss:
    run = _POINTWISE.get(x.dtype)
    if run is None:
        return reference.l1_loss.reference(x, target, reduction, need_grad, count)
    return _pointwise(run, lib.RG_L1, x, target, reduction, need_grad, 0.0, count)


def huber_loss(
    x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, delta: float = 1.0, count: int = 0
) -> Loss:
    run = _POINTWISE.get(x.dtype)
    if run is None:
        return reference.huber_loss.reference(x, target, reduction, need_grad, delta, count)
    return _pointwise(run, lib.RG_HUBER, x, target, reduction, need_grad, delta, count)


def bce_with_logits_loss(
    x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0
) -> Loss:
    run = _POINTWISE.get(x.dtype)
    if run is None:
        return reference.bce_with_logits_loss.reference(x, target, reduction, need_grad, count)
    return _pointwise(run, lib.RG_BCE_WITH_LOGITS, x, target, reduction, need_grad, 0.0, count)


def cross_entropy_loss(
    x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0
) -> Loss:
    run = _CROSS_ENTROPY.get(x.dtype)
    labelled = target.dtype == _INT64
    if run is None or not (labelled or target.dtype == x.dtype):
        return reference.cross_entropy_loss.reference(x, target, reduction, need_grad, count)
    (rows, classes), each = x.shape, reduction == "none"
    loss = _empty(rows if each else (), x.dtype)
    dx = _empty(x.shape, x.dtype) if need_grad else None
    address, goal = pointer(loss), contiguous(target)
    bad = run(
        address if each else NULL, NULL if each else address, NULL if dx is None else pointer(dx), contiguous(x),
        goal if labelled else NULL, NULL if labelled else goal, rows, classes,
        (count or rows) if reduction == "mean" else 1,
    )  # fmt: skip
    if bad >= 0:
        reference.require_classes("cross_entropy_loss", target, classes)
    return loss, dx


KERNELS = {
    "mse_loss": mse_loss,
    "l1_loss": l1_loss,
    "huber_loss": huber_loss,
    "bce_with_logits_loss": bce_with_logits_loss,
    "cross_entropy_loss": cross_entropy_loss,
}
