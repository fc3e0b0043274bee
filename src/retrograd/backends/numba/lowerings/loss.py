"""Losses, with their gradients.

Each entry takes x, target, the loss, its gradient; what the loss is multiplied by.
"""

from __future__ import annotations

import math

from numba import types

from ...registry import Unsupported
from .. import loss
from ..elementwise import Number, View
from ..jit import inlined
from ..loss import _scale
from ..lowering import Call, Lowering, entry, extent_of, floating, lowers
from ..record import array, extent, integer, matrix, number, place, vector


@inlined
def _pointwise(dtype, record, start, rows):
    n = extent(record, 0, rows)
    x = vector(dtype, record, 0, start, n)
    target = vector(dtype, record, 1, start, n)
    return (x, target, array(dtype, place(record, 2, start), ()), vector(dtype, record, 3, start, n))


@entry
def mse_loss(dtype, record, start, rows):
    """[elements]; scale."""
    x, target, total, dx = _pointwise(dtype, record, start, rows)
    loss.mse(x, target, number(record, 2), total, dx)
    return 0


@entry
def l1_loss(dtype, record, start, rows):
    """[elements]; scale."""
    x, target, total, dx = _pointwise(dtype, record, start, rows)
    loss.l1(x, target, number(record, 2), total, dx)
    return 0


@entry
def huber_loss(dtype, record, start, rows):
    """[elements]; scale, delta."""
    x, target, total, dx = _pointwise(dtype, record, start, rows)
    loss.huber(x, target, number(record, 2), total, dx, number(record, 3))
    return 0


@entry
def bce_with_logits_loss(dtype, record, start, rows):
    """[elements]; scale."""
    x, target, total, dx = _pointwise(dtype, record, start, rows)
    loss.bce_with_logits(x, target, number(record, 2), total, dx)
    return 0


@entry
def cross_entropy_of_probabilities(dtype, record, start, rows):
    """[rows], classes; scale."""
    m, n = extent(record, 0, rows), integer(record, 2)
    x = matrix(dtype, record, 0, start, m, n)
    target = matrix(dtype, record, 1, start, m, n)
    total = array(dtype, place(record, 2, start), ())
    loss.cross_entropy_of_probabilities(x, target, number(record, 3), total, matrix(dtype, record, 3, start, m, n))
    return 0


@entry
def cross_entropy_of_indices(dtype, record, start, rows):
    """[rows], classes; scale. Returns 1 + the row whose index is no class."""
    m, n = extent(record, 0, rows), integer(record, 2)
    x = matrix(dtype, record, 0, start, m, n)
    target = vector(types.int64, record, 1, start, m)
    total = array(dtype, place(record, 2, start), ())
    bad = loss.cross_entropy_of_indices(x, target, number(record, 3), total, matrix(dtype, record, 3, start, m, n))
    return start + bad + 1 if bad >= 0 else 0


def _loss_operands(low: Lowering, call: Call) -> tuple[View, View, View, View, Number]:
    """x, target, the loss, its gradient, and what they are multiplied by."""
    if call.arguments["reduction"] == "none":
        raise Unsupported(f"{call.kernel} without a reduction")
    x, target = low.plain(call, "x"), low.plain(call, "target")
    rows = x.shape[0] if call.kernel == "cross_entropy_loss" else math.prod(x.shape)
    scale = low.number(_scale(call.arguments["reduction"], call.arguments["count"] or rows))
    loss = low.made(call, 0)
    if call.outputs[1]:
        dx = low.made(call, 1)
    else:
        (dx,) = low.scratch(x.dtype, low.rows(x, call) * math.prod(x.shape[1:]))
    return x, target, loss, dx, scale


@lowers("mse_loss", "l1_loss", "huber_loss", "bce_with_logits_loss")
def lower_pointwise_loss(low: Lowering, call: Call) -> None:
    *views, scale = _loss_operands(low, call)
    numbers = [scale]
    if call.kernel == "huber_loss":
        numbers.append(low.number(call.arguments["delta"]))
    low.entry(call, call.kernel, floating(call, *views), views, [*extent_of(views[0], slice(None), call)], numbers)


@lowers("cross_entropy_loss")
def lower_cross_entropy(low: Lowering, call: Call) -> None:
    *views, scale = _loss_operands(low, call)
    x, target = views[:2]
    name = "cross_entropy_of_probabilities" if target.dtype.kind == "f" else "cross_entropy_of_indices"
    integers = [*extent_of(x, slice(0, 1), call), x.shape[1]]
    low.entry(call, name, floating(call, x), views, integers, [scale], fails=target.dtype.kind != "f")
