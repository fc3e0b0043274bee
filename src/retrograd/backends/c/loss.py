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


def _outputs(
    x: Array, losses: tuple[int, ...], reduction: str, need_grad: bool
) -> tuple[Array, Array | None, Any, Any, Any]:
    """The results, and the C arguments for the losses, their total and the gradient."""
    dx = _empty(x.shape, x.dtype) if need_grad else None
    dx_address = NULL if dx is None else pointer(dx)
    if reduction == "none":
        loss = _empty(losses, x.dtype)
        return loss, dx, pointer(loss), NULL, dx_address
    loss = _empty((), x.dtype)
    return loss, dx, NULL, pointer(loss), dx_address


def _pointwise(
    run: Any, kind: int, x: Array, target: Array, reduction: str, need_grad: bool, delta: float, count: int
) -> Loss:
    loss, dx, *outputs = _outputs(x, x.shape, reduction, need_grad)
    n = x.size
    run(*outputs, contiguous(x), contiguous(target), n, kind, (count or n) if reduction == "mean" else 1, delta)
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
    rows, classes = x.shape
    loss, dx, *outputs = _outputs(x, (rows,), reduction, need_grad)
    labels, probabilities = (contiguous(target), NULL) if labelled else (NULL, contiguous(target))
    divisor = (count or rows) if reduction == "mean" else 1
    run(*outputs, contiguous(x), labels, probabilities, rows, classes, divisor)
    return loss, dx


KERNELS = {
    "mse_loss": mse_loss,
    "l1_loss": l1_loss,
    "huber_loss": huber_loss,
    "bce_with_logits_loss": bce_with_logits_loss,
    "cross_entropy_loss": cross_entropy_loss,
}
