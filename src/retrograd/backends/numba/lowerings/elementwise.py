"""Elementwise calls, which go into loops, and what is copied in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...registry import Unsupported
from .. import elementwise
from ..elementwise import View
from ..lowering import Call, Lowering, lowers


@lowers(*elementwise.KERNELS)
def lower_elementwise(low: Lowering, call: Call) -> None:
    kernel, arguments = call.kernel, dict(call.arguments)
    for name, value in call.arguments.items():
        if hasattr(value, "buffer"):
            arguments[name] = low.view(call, value, name)
        elif name in ("low", "high", "alpha", "value") and value is not None:
            arguments[name] = low.number(value)
    if kernel == "accumulate":
        target = arguments["a"]
    elif kernel == "assign":
        target = part_at(arguments.pop("a"), arguments["key"])
        if _same_memory(low, target, arguments["values"]):
            raise Unsupported("an assignment of values to memory that they lie in")
    else:
        target = low.view(call, call.outputs[0], 0)
    if kernel == "power":
        arguments["exponent"] = _whole_constant(call.arguments["b"])
    low.append(call, elementwise.statement(kernel, arguments, target))


def _same_memory(low: Lowering, target: View, values: View) -> bool:
    return target != values and low.overlap(target, values)


def part_at(view: View, key: Any) -> View:
    """The part of a view that a basic key (integers, slices, None, Ellipsis) takes."""
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, (np.ndarray, list, bool)) for part in parts):
        raise Unsupported("an assignment by an array of indices")
    item = view.dtype.itemsize
    memory = np.lib.stride_tricks.as_strided(np.empty(0, view.dtype), view.shape, [s * item for s in view.strides])
    taken = memory[key if Ellipsis in parts else (*parts, ...)]
    offset = taken.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    return view._replace(
        offset=view.offset + offset, shape=taken.shape, strides=tuple(s // item for s in taken.strides)
    )


def _whole_constant(operand: Any) -> int | None:
    """A small whole number that the operand always is, else None."""
    buffer = operand.buffer
    if buffer.role != "constant" or operand.size != 1:
        return None
    value = float(buffer.array.reshape(-1)[operand.offset])
    return int(value) if value in (1, 2, 3, 4) else None


@lowers("concatenate")
def lower_concatenate(low: Lowering, call: Call) -> None:
    axis, y, at = call.arguments["axis"], low.made(call), 0
    low.flush()  # the parts are copied in loops of their own, which read them in memory
    for operand in call.arguments["arrays"]:
        x = low.view(call, operand, "arrays")
        offset = y.offset + at * y.strides[axis] * y.dtype.itemsize
        low.append(call, elementwise.statement("copy", {"x": x}, y._replace(offset=offset, shape=x.shape)))
        at += x.shape[axis]
