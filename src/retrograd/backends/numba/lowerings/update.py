"""The updates of optimizers.

Each entry takes the parameter, its gradient, its state.
"""

from __future__ import annotations

import math
from typing import Any

from ...registry import Unsupported
from .. import update
from ..jit import inlined
from ..lowering import Call, Lowering, entry, floating, in_order, lowers
from ..record import integer, number, vector


@entry
def sgd(dtype, record, start, rows):
    """p, g; elements; lr, weight decay."""
    n = integer(record, 0)
    p, g = vector(dtype, record, 0, start, n), vector(dtype, record, 1, start, n)
    update.sgd(p, g, None, number(record, 1), 0.0, 0.0, number(record, 2), False, False)
    return 0


@entry
def sgd_with_momentum(dtype, record, start, rows):
    """p, g, velocity; elements, whether the update is Nesterov's, whether it is the first; lr, weight decay, momentum,
    dampening."""
    n = integer(record, 0)
    p, g, velocity = (
        vector(dtype, record, 0, start, n),
        vector(dtype, record, 1, start, n),
        vector(dtype, record, 2, start, n),
    )
    nesterov, first = integer(record, 1) != 0, integer(record, 2) != 0
    lr, weight_decay, momentum, dampening = number(record, 3), number(record, 4), number(record, 5), number(record, 6)
    update.sgd(p, g, velocity, lr, momentum, 1 - dampening, weight_decay, nesterov, first)
    return 0


@inlined
def _adam(dtype, record, start, v_max):
    n = integer(record, 0)
    p, g = vector(dtype, record, 0, start, n), vector(dtype, record, 1, start, n)
    m, v = vector(dtype, record, 2, start, n), vector(dtype, record, 3, start, n)
    lr, beta1, beta2, eps = number(record, 2), number(record, 3), number(record, 4), number(record, 5)
    weight_decay, step = number(record, 6), number(record, 7)
    decoupled = integer(record, 1) != 0
    kept = 1 - lr * weight_decay if decoupled else 1.0
    decay = 0.0 if decoupled else weight_decay
    step_size, root_correction = lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    update.adam(p, g, m, v, v_max, step_size, root_correction, beta1, beta2, eps, kept, decay)
    return 0


@entry
def adam(dtype, record, start, rows):
    """p, g, m, v; elements, whether decay is decoupled; lr, beta1, beta2, eps, weight decay, step."""
    return _adam(dtype, record, start, None)


@entry
def amsgrad(dtype, record, start, rows):
    """The same with v_max after v."""
    return _adam(dtype, record, start, vector(dtype, record, 4, start, integer(record, 0)))


@inlined
def _rmsprop(dtype, record, start, velocity, g_mean):
    n = integer(record, 0)
    p, g, v = (
        vector(dtype, record, 0, start, n),
        vector(dtype, record, 1, start, n),
        vector(dtype, record, 2, start, n),
    )
    accumulate, lr, alpha, eps = integer(record, 1) != 0, number(record, 2), number(record, 3), number(record, 4)
    weight_decay, momentum = number(record, 5), number(record, 6)
    update.rmsprop(p, g, v, velocity, g_mean, lr, alpha, eps, weight_decay, momentum, accumulate)
    return 0


@entry
def rmsprop(dtype, record, start, rows):
    """p, g, v; elements, whether v is a sum; lr, alpha, eps, weight decay, momentum."""
    return _rmsprop(dtype, record, start, None, None)


@entry
def rmsprop_with_momentum(dtype, record, start, rows):
    """The same with velocity after v."""
    return _rmsprop(dtype, record, start, vector(dtype, record, 3, start, integer(record, 0)), None)


@entry
def centered_rmsprop(dtype, record, start, rows):
    """The same with the mean gradient after v."""
    return _rmsprop(dtype, record, start, None, vector(dtype, record, 3, start, integer(record, 0)))


@entry
def centered_rmsprop_with_momentum(dtype, record, start, rows):
    """The same with velocity and the mean gradient after v."""
    n = integer(record, 0)
    return _rmsprop(dtype, record, start, vector(dtype, record, 3, start, n), vector(dtype, record, 4, start, n))


def _whole(value: Any) -> int:
    """An attribute that chooses between two ways; it must not change between calls."""
    if hasattr(value, "number"):
        raise Unsupported("a setting that is read at each call")
    return int(value)


def _update(
    low: Lowering, call: Call, name: str, states: tuple[str, ...], whole: tuple[str, ...], numbers: str
) -> None:
    arrays = ["p", "g", *(s for s in states if call.arguments[s] is not None)]
    views = [low.plain(call, a) if a == "g" else low.given(call, a) for a in arrays]
    if not all(map(in_order, views)):
        raise Unsupported(f"{call.kernel} of memory that is not contiguous")
    integers = [math.prod(views[0].shape), *(_whole(call.arguments[w]) for w in whole)]
    dtype = floating(call, *views)
    low.entry(call, name, dtype, views, integers, [low.number(call.arguments[n]) for n in numbers.split()])


@lowers("sgd_update")
def lower_sgd(low: Lowering, call: Call) -> None:
    if call.arguments["velocity"] is None:
        _update(low, call, "sgd", (), (), "lr weight_decay")
    else:
        numbers = "lr weight_decay momentum dampening"
        _update(low, call, "sgd_with_momentum", ("velocity",), ("nesterov", "first"), numbers)


@lowers("adam_update")
def lower_adam(low: Lowering, call: Call) -> None:
    name = "adam" if call.arguments["v_max"] is None else "amsgrad"
    numbers = "lr beta1 beta2 eps weight_decay step"
    _update(low, call, name, ("m", "v", "v_max"), ("decoupled",), numbers)


@lowers("rmsprop_update")
def lower_rmsprop(low: Lowering, call: Call) -> None:
    name = "rmsprop" if call.arguments["g_mean"] is None else "centered_rmsprop"
    name += "" if call.arguments["velocity"] is None else "_with_momentum"
    _update(low, call, name, ("v", "velocity", "g_mean"), ("accumulate",), "lr alpha eps weight_decay momentum")
