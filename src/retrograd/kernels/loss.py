"""Losses, each in one pass with its gradient.

A loss kernel returns (loss, dx). `reduction` is "mean", "sum" or "none": the loss has no axes, or, for "none",
one value an element (a row, for cross-entropy). dx is the derivative of the loss with respect to the prediction for
a cotangent of one, of the prediction's shape (for "none": of each element's own loss); None unless `need_grad`. `count`
is what "mean" divides by where the operands are a slice of a larger batch; 0 for their own elements (rows).
"""

from __future__ import annotations

import numpy as np

from .activation import _sigmoid
from .reduction import log_softmax
from .spec import Array, Spec, kernel, same_dtype, same_shape

REDUCTIONS = ("mean", "sum", "none")

Loss = tuple[Array, "Array | None"]


def check_reduction(name: str, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ValueError(f"{name}: unknown reduction {reduction!r}; expected one of {', '.join(REDUCTIONS)}")


def _infer_pointwise(name: str):
    def infer(x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, *_: float, **__: float):
        check_reduction(name, reduction)
        dtype = same_dtype(name, x, target)
        shape = same_shape(name, x=x, target=target)
        loss = Spec(shape if reduction == "none" else (), dtype)
        return loss, Spec(shape, dtype) if need_grad else None

    return infer


def _reduce(loss: Array, dx: Array | None, reduction: str, count: int) -> Loss:
    if reduction == "none":
        return loss, dx
    total = np.asarray(np.sum(loss))
    if reduction == "sum":
        return total, dx
    # the mean of nothing is NaN, as NumPy's
    return np.asarray(total / loss.dtype.type(count)), None if dx is None else dx / loss.dtype.type(count)


@kernel(_infer_pointwise("mse_loss"))
def mse_loss(x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0) -> Loss:
    """(x - target)², reduced; dx = 2 (x - target) / count."""
    d = x - target
    return _reduce(d * d, 2 * d if need_grad else None, reduction, count or x.size)


@kernel(_infer_pointwise("l1_loss"))
def l1_loss(x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0) -> Loss:
    """|x - target|, reduced; dx = sign(x - target) / count, 0 at a tie."""
    d = x - target
    return _reduce(np.absolute(d), np.sign(d) if need_grad else None, reduction, count or x.size)


@kernel(_infer_pointwise("huber_loss"))
def huber_loss(
    x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, delta: float = 1.0, count: int = 0
) -> Loss:
    """With d = x - target: d²/2 where |d| <= delta, else delta (|d| - delta/2), reduced (Huber 1964)."""
    d = x - target
    a = np.absolute(d)
    delta = x.dtype.type(delta)
    loss = np.where(a <= delta, 0.5 * d * d, delta * (a - 0.5 * delta)).astype(x.dtype, copy=False)
    return _reduce(loss, np.clip(d, -delta, delta) if need_grad else None, reduction, count or x.size)


@kernel(_infer_pointwise("bce_with_logits_loss"))
def bce_with_logits_loss(
    x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0
) -> Loss:
    """Binary cross-entropy of logits x against probabilities: max(x,0) - x target + log(1+exp(-|x|)), reduced.

    dx = (sigmoid(x) - target) / count.
    """
    loss = np.maximum(x, x.dtype.type(0)) - x * target + np.log1p(np.exp(-np.absolute(x)))
    return _reduce(loss, _sigmoid(x) - target if need_grad else None, reduction, count or x.size)


def require_classes(name: str, target: Array, classes: int) -> None:
    """Raise IndexError where a class index is not in [0, classes)."""
    if target.size and (target.min() < 0 or target.max() >= classes):
        bad = target[(target < 0) | (target >= classes)].flat[0]
        raise IndexError(f"{name}: class index {bad} is out of range; expected 0 to {classes - 1}")


def _infer_cross_entropy(x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0):
    check_reduction("cross_entropy_loss", reduction)
    if x.ndim != 2:
        raise ValueError(f"cross_entropy_loss: logits of shape {tuple(x.shape)}, expected (rows, classes)")
    dtype = same_dtype("cross_entropy_loss", x)
    expected = x.shape if target.dtype.kind == "f" else x.shape[:1]
    if tuple(target.shape) != expected:
        raise ValueError(
            f"cross_entropy_loss: logits {tuple(x.shape)} and target {tuple(target.shape)} do not fit; expected class "
            f"indices {x.shape[:1]} or probabilities {tuple(x.shape)}"
        )
    if target.dtype != np.int64 and target.dtype != dtype:
        raise TypeError(f"cross_entropy_loss: target is {target.dtype}; expected int64 indices or {dtype} rows")
    loss = Spec(x.shape[:1] if reduction == "none" else (), dtype)
    return loss, Spec(x.shape, dtype) if need_grad else None


@kernel(_infer_cross_entropy)
def cross_entropy_loss(
    x: Array, target: Array, reduction: str = "mean", need_grad: bool = True, count: int = 0
) -> Loss:
    """-sum(p log softmax(x)) over classes, p being the target's distribution, reduced over rows.

    Args:
        x: (rows, classes) logits.
        target: (rows,) int64 class indices in [0, classes), or (rows, classes) probabilities of x's dtype.
        reduction: "mean" divides by the rows.
        need_grad: whether to compute dx = (softmax(x) sum(p) - p), over rows for "mean".

    Raises:
        IndexError: a class index is out of range.
    """
    rows, classes = x.shape
    if target.dtype.kind != "f":
        require_classes("cross_entropy_loss", target, classes)
        target = np.eye(classes, dtype=x.dtype)[target]
    p = target
    log_p = log_softmax.reference(x, 1)
    loss = -np.sum(np.where(p == 0, x.dtype.type(0), p * log_p), axis=1)  # 0 * -inf counts as 0
    dx = np.exp(log_p) * np.sum(p, axis=1, keepdims=True) - p if need_grad else None
    return _reduce(loss, dx, reduction, count or rows)
