"""Losses, each with its gradient in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..kernels.loss import check_reduction, require_classes
from ..kernels.spec import Array
from ..tape import Node, state
from ..tensor import Tensor
from .activation import sigmoid
from .creation import ones_like
from .elementwise import clamp, less, log, not_equal, sign, where
from .gather import gather
from .reduction import log_softmax, softmax
from .rule import Op, Operand, as_tensor_operand, floating, known, operands
from .shape import reshape, squeeze, unsqueeze


class Pointwise(Op):
    """A loss of a prediction and a target of its shape, elementwise, reduced.

    `slope(i, x, target, options)` gives its derivative with respect to operand i, before the reduction.
    """

    saves = (0, 1)
    residuals = 1
    fresh = True

    def __init__(self, name: str, slope: Callable[..., Tensor]) -> None:
        self.name = name
        self.slope = slope

    def forward(self, k: Any, x: Array, target: Array, reduction: str, need_grad: bool, **options: float) -> Any:
        return getattr(k, self.name)(x, target, reduction, need_grad, *options.values())

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, target = self.saved(ctx)
        if ctx["reduction"] == "mean":
            g = g * (1 / x.size if x.size else math.nan)
        dx, dt = (self.slope(i, x, target, ctx.attributes) if ctx.needs(i) else None for i in (0, 1))
        return None if dx is None else g * dx, None if dt is None else g * dt

    def jvp(self, ctx: Node, tx: Tensor | None, tt: Tensor | None) -> Tensor:
        x, target = self.saved(ctx)
        parts = [t * self.slope(i, x, target, ctx.attributes) for i, t in enumerate((tx, tt)) if t is not None]
        return _reduced(parts[0] if len(parts) == 1 else parts[0] + parts[1], ctx["reduction"])

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array, None] | None:
        return None if ctx.needs(1) else (k.multiply(ctx.residuals[0], g), None)


def _mse_slope(i: int, x: Tensor, target: Tensor, options: dict[str, Any]) -> Tensor:
    return (x - target if i == 0 else target - x) * 2.0


def _l1_slope(i: int, x: Tensor, target: Tensor, options: dict[str, Any]) -> Tensor:
    return sign(x - target if i == 0 else target - x)


def _huber_slope(i: int, x: Tensor, target: Tensor, options: dict[str, Any]) -> Tensor:
    return clamp(x - target if i == 0 else target - x, -options["delta"], options["delta"])


def _bce_slope(i: int, x: Tensor, target: Tensor, options: dict[str, Any]) -> Tensor:
    return sigmoid(x) - target if i == 0 else -x


class CrossEntropy(Op):
    """Of logits (rows, classes) and class indices (rows,) or probabilities (rows, classes)."""

    name = "cross_entropy_loss"
    saves = (0, 1)
    residuals = 1
    fresh = True

    def forward(self, k: Any, x: Array, target: Array, reduction: str, need_grad: bool) -> Any:
        return k.cross_entropy_loss(x, target, reduction, need_grad)

    def vjp(self, ctx: Node, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, target = self.saved(ctx)
        if ctx["reduction"] == "mean":
            g = g * (1 / x.shape[0] if x.shape[0] else math.nan)
        elif ctx["reduction"] == "none":
            g = unsqueeze(g, 1)
        return (
            g * self._slopes(x, target) if ctx.needs(0) else None,
            -g * log_softmax(x, 1) if ctx.needs(1) else None,
        )

    def jvp(self, ctx: Node, tx: Tensor | None, tt: Tensor | None) -> Tensor:
        x, target = self.saved(ctx)
        t = tx * self._slopes(x, target) if tx is not None else None
        if tt is not None:
            t = -tt * log_softmax(x, 1) if t is None else t - tt * log_softmax(x, 1)
        return _reduced(t.sum(1), ctx["reduction"])

    def _slopes(self, x: Tensor, target: Tensor) -> Tensor:
        p = target if target.dtype.kind == "f" else one_hot(target, x.shape[1], x.dtype)
        return softmax(x, 1) * p.sum(1, keepdim=True) - p

    def vjp_kernels(self, k: Any, ctx: Node, g: Array) -> tuple[Array, None] | None:
        if ctx.needs(1):
            return None
        if ctx["reduction"] == "none":
            g = k.reshape(g, (*g.shape, 1))
        return k.multiply(ctx.residuals[0], g), None


def _reduced(x: Tensor, reduction: str) -> Tensor:
    return x if reduction == "none" else x.mean() if reduction == "mean" else x.sum()


_mse = Pointwise("mse_loss", _mse_slope)
_l1 = Pointwise("l1_loss", _l1_slope)
_huber = Pointwise("huber_loss", _huber_slope)
_bce = Pointwise("bce_with_logits_loss", _bce_slope)
_cross_entropy = CrossEntropy()


def _pointwise(name: str, op: Op, x: Operand, target: Operand, reduction: str, **options: float) -> Tensor:
    check_reduction(name, reduction)
    x, target = operands(name, x, target)
    if x.dtype.kind != "f":
        x, target = floating(name, x), floating(name, target)
    if x.array.shape != target.array.shape:
        raise ValueError(
            f"{name}: input has shape {x.shape} and target {target.shape}, expected the same; "
            "reshape one, such as target.reshape(-1, 1)"
        )
    return op(x, target, reduction=reduction, need_grad=state.recording and x.requires_grad, **options)


def mse_loss(input: Operand, target: Operand, reduction: str = "mean") -> Tensor:
    """The squared error (input - target)².

    Args:
        input: any shape.
        target: the same shape.
        reduction: "mean" over the elements, "sum", or "none" for one value an element.

    Raises:
        ValueError: shapes differ (nothing broadcasts), or an unknown reduction.

    Example:
        >>> import retrograd as rg, retrograd.nn.functional as F
        >>> F.mse_loss(rg.tensor([1.0, 2.0]), rg.tensor([1.0, 4.0]))
        tensor(2.)
    """
    return _pointwise("mse_loss", _mse, input, target, reduction)


def l1_loss(input: Operand, target: Operand, reduction: str = "mean") -> Tensor:
    """The absolute error |input - target|, with derivative 0 at 0; arguments as in mse_loss.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.l1_loss(rg.tensor([1.0, 4.0]), rg.tensor([1.0, 2.0]))
        tensor(1.)
    """
    return _pointwise("l1_loss", _l1, input, target, reduction)


def huber_loss(input: Operand, target: Operand, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """With d = |input - target|: d²/2 up to delta, delta (d - delta/2) beyond (Huber 1964); else as mse_loss.

    Raises:
        ValueError: shapes differ, an unknown reduction, or delta is not positive.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.huber_loss(rg.tensor([1.0, 4.0]), rg.tensor([1.0, 2.0]))
        tensor(0.75)
    """
    if not delta > 0:
        raise ValueError(f"huber_loss: delta is {delta}, expected a positive number")
    return _pointwise("huber_loss", _huber, input, target, reduction, delta=float(delta))


def smooth_l1_loss(input: Operand, target: Operand, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """With d = |input - target|: d²/(2 beta) up to beta, d - beta/2 beyond; l1_loss where beta is 0.

    Raises:
        ValueError: shapes differ, an unknown reduction, or beta is negative.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.smooth_l1_loss(rg.tensor([1.0, 4.0]), rg.tensor([1.0, 2.0]))
        tensor(0.75)
    """
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta is {beta}, expected 0 or more")
    if beta == 0:
        return _pointwise("smooth_l1_loss", _l1, input, target, reduction)
    return _pointwise("smooth_l1_loss", _huber, input, target, reduction, delta=float(beta)) / beta


def _bounded_log(x: Tensor) -> Tensor:
    positive = x > 0
    return where(positive, clamp(log(where(positive, x, 1.0)), min=-100), -100.0)


def binary_cross_entropy(
    input: Operand, target: Operand, weight: Operand | None = None, reduction: str = "mean"
) -> Tensor:
    """-(target log(input) + (1 - target) log(1 - input)), each logarithm at least -100; of logits,
    binary_cross_entropy_with_logits is more exact.

    Args:
        input: probabilities in [0, 1], any shape.
        target: the same shape.
        weight: factors of the elements' losses, broadcast to that shape.
        reduction: as in mse_loss.

    Raises:
        ValueError: shapes differ, or an unknown reduction.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.binary_cross_entropy(rg.tensor([0.5, 0.9]), rg.tensor([0.0, 1.0]))
        tensor(0.3993)
    """
    name = "binary_cross_entropy"
    check_reduction(name, reduction)
    x, t = operands(name, input, target)
    x, t = floating(name, x), floating(name, t)
    if x.shape != t.shape:
        raise ValueError(f"{name}: input has shape {x.shape} and target {t.shape}, expected the same")
    loss = -(t * _bounded_log(x) + (1.0 - t) * _bounded_log(1.0 - x))
    return _reduced(loss if weight is None else loss * as_tensor_operand(name, weight), reduction)


def binary_cross_entropy_with_logits(
    input: Operand,
    target: Operand,
    weight: Operand | None = None,
    reduction: str = "mean",
    pos_weight: Operand | None = None,
) -> Tensor:
    """-(target log sigmoid(input) + (1 - target) log(1 - sigmoid(input))), without overflow.

    Args:
        input: logits, any shape.
        target: probabilities in [0, 1], the same shape.
        weight: factors of the elements' losses, broadcast to that shape.
        reduction: as in mse_loss.
        pos_weight: factors of the positive terms, broadcast to that shape.

    Raises:
        ValueError: shapes differ, or an unknown reduction.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.binary_cross_entropy_with_logits(rg.tensor([0.0, 2.0]), rg.tensor([0.0, 1.0]))
        tensor(0.41)
    """
    name = "binary_cross_entropy_with_logits"
    if weight is None and pos_weight is None:
        return _pointwise(name, _bce, input, target, reduction)
    loss = _pointwise(name, _bce, input, target, "none")
    if pos_weight is not None:
        # the positive term is target * softplus(-x), which bce of x against 1 gives
        x, t = operands(name, input, target)
        positive = _pointwise(name, _bce, x, Tensor(np.ones(x.shape, x.dtype)), "none")
        loss = loss + t * positive * (as_tensor_operand(name, pos_weight) - 1.0)
    if weight is not None:
        loss = loss * as_tensor_operand(name, weight)
    check_reduction(name, reduction)
    return _reduced(loss, reduction)


def one_hot(target: Tensor, classes: int, dtype: Any = None) -> Tensor:
    """Class indices (...,) as rows (..., classes) of zeros with a one each; default dtype unless given."""
    target = as_tensor_operand("one_hot", target)
    return (unsqueeze(target, target.ndim) == Tensor(np.arange(classes))).to(dtype or dtypes.get_default_dtype())


def _checked_classes(name: str, target: Tensor, classes: int) -> Tensor:
    """Class indices in [0, classes); where they are not known yet, those below are such as no gather takes either.

    Raises:
        TypeError: they are not whole numbers. IndexError: one is out of range.
    """
    if target.dtype.kind not in "iu":
        raise TypeError(f"{name}: class indices are {target.dtype}, expected integers")
    if known(target):
        require_classes(name, target.array, classes)
        return target
    index = target.to(dtypes.float64)  # exact, and compiled backends compare floating numbers
    return where(less(index, 0.0), float(classes), index).to(dtypes.int64)


_IGNORED = -100


def cross_entropy(
    input: Operand,
    target: Operand,
    weight: Operand | None = None,
    ignore_index: int = _IGNORED,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input) at the target's class, or against its distribution over classes.

    Args:
        input: logits, (classes,), (rows, classes) or (rows, classes, d1, …).
        target: class indices in [0, classes), of input's shape without the class axis; or probabilities, floating and
            of input's shape.
        weight: (classes,) factors of the classes.
        ignore_index: rows of this class index count nothing. In a compiled step, say so where there are any.
        reduction: "mean" (over the rows; over their weights where indices are weighted or ignored), "sum", or "none"
            for one value a row.
        label_smoothing: in [0, 1]: this share of the target is spread evenly over the classes (Szegedy et al. 2016).

    Raises:
        ValueError: shapes do not fit, an unknown reduction, smoothing out of range.
        IndexError: a class index is out of range. TypeError: the target is neither integer nor floating.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.cross_entropy(rg.tensor([[0.0, 2.0], [1.0, 0.0]]), rg.tensor([1, 0]))
        tensor(0.2201)
    """
    name = "cross_entropy"
    check_reduction(name, reduction)
    x, t = floating(name, input), as_tensor_operand(name, target)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing is {label_smoothing}, expected 0 to 1")
    axis = 0 if x.ndim == 1 else 1
    rows_shape = x.shape[:axis] + x.shape[axis + 1 :]
    indices = t.dtype.kind in "iu"
    if x.ndim == 0 or t.shape != (rows_shape if indices else x.shape):
        raise ValueError(
            f"{name}: input {x.shape} and target {t.shape} do not fit; expected logits (rows, classes, …) and class "
            f"indices {rows_shape} or probabilities {x.shape}"
        )
    if not indices and t.dtype.kind != "f":
        raise TypeError(f"{name}: target is {t.dtype}, expected integer class indices or floating probabilities")
    classes = x.shape[axis]
    if x.ndim != 2:  # the class axis last, the rest joined into rows
        order = (*(a for a in range(x.ndim) if a != axis), axis)
        x = reshape(x.permute(order), math.prod(rows_shape), classes)
        t = reshape(t, math.prod(rows_shape)) if indices else reshape(t.permute(order), x.shape)
    t = t.to(dtypes.int64 if indices else x.dtype)
    kept = None
    if indices:
        t, kept = _without_ignored(t, ignore_index)
    if weight is None and kept is None and not label_smoothing:
        need_grad = state.recording and x.requires_grad
        loss = _cross_entropy(x, t, reduction=reduction, need_grad=need_grad)
    else:
        loss = _weighted_cross_entropy(x, t, weight, kept, reduction, label_smoothing)
    return reshape(loss, rows_shape) if reduction == "none" and x.shape[:1] != rows_shape else loss


def _without_ignored(t: Tensor, ignore_index: int) -> tuple[Tensor, Tensor | None]:
    """Class indices with 0 for those that are ignored, and which are not, or None where all count."""
    # of numbers that are not known yet only an index that is named can be ignored
    if (t.array == ignore_index).any() if known(t) else ignore_index != _IGNORED:
        index = t.to(dtypes.float64)
        kept = not_equal(index, float(ignore_index))
        return where(kept, index, 0.0).to(dtypes.int64), kept
    return t, None


def _weighted_cross_entropy(
    x: Tensor, t: Tensor, weight: Operand | None, kept: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    classes = x.shape[1]
    indices = t.dtype.kind in "iu"
    log_p = log_softmax(x, 1)
    weighted, factors = log_p, None
    if weight is not None:
        w = as_tensor_operand("cross_entropy", weight).to(x.dtype)
        if w.shape != (classes,):
            raise ValueError(f"cross_entropy: weight has shape {w.shape}, expected ({classes},)")
        weighted = log_p * w
    if indices:
        t = _checked_classes("cross_entropy", t, classes)
        loss = -squeeze(gather(weighted, 1, unsqueeze(t, 1)), 1)
        factors = ones_like(loss) if weight is None else w[t]
    else:
        loss = -(t * weighted).sum(1)
    if smoothing:
        loss = loss * (1 - smoothing) - weighted.mean(1) * smoothing
    if kept is not None:
        loss = where(kept, loss, 0.0)
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if factors is None:
        return loss.mean()
    return loss.sum() / (factors if kept is None else where(kept, factors, 0.0)).sum()


def nll_loss(
    input: Operand,
    target: Operand,
    weight: Operand | None = None,
    ignore_index: int = _IGNORED,
    reduction: str = "mean",
) -> Tensor:
    """The negative of the input, log-probabilities of classes, at the target's class; of logits, cross_entropy is one
    pass.

    Args:
        input: (classes,), (rows, classes) or (rows, classes, d1, …), as log_softmax gives.
        target: class indices in [0, classes), of input's shape without the class axis.
        weight, ignore_index, reduction: as in cross_entropy.

    Raises:
        ValueError: shapes do not fit, or an unknown reduction. IndexError: a class index is out of range.
        TypeError: the target is not integer.

    Example:
        >>> import retrograd as rg
        >>> import retrograd.nn.functional as F
        >>> F.nll_loss(rg.tensor([[0.0, 2.0], [1.0, 0.0]]).log_softmax(1), rg.tensor([1, 0]))
        tensor(0.2201)
    """
    name = "nll_loss"
    check_reduction(name, reduction)
    x, t = floating(name, input), as_tensor_operand(name, target)
    axis = 0 if x.ndim == 1 else 1
    rows_shape = x.shape[:axis] + x.shape[axis + 1 :]
    if x.ndim == 0 or t.shape != rows_shape:
        raise ValueError(
            f"{name}: input {x.shape} and target {t.shape} do not fit; expected class indices {rows_shape}"
        )
    t, kept = _without_ignored(t, ignore_index)
    t = _checked_classes(name, t, x.shape[axis])
    loss = -squeeze(gather(x, axis, unsqueeze(t, axis)), axis)
    if weight is None and kept is None:
        return _reduced(loss, reduction)
    factors = ones_like(loss) if weight is None else as_tensor_operand(name, weight).to(x.dtype)[t]
    factors = factors if kept is None else where(kept, factors, 0.0)
    loss = where(factors == 0, 0.0, loss * factors)
    return loss.sum() / factors.sum() if reduction == "mean" else _reduced(loss, reduction)
