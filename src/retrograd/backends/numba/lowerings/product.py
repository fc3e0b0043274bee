"""The products of a layer, and of stacks of matrices."""

from __future__ import annotations

import itertools
import math

import numpy as np

from ....kernels import precision
from ...registry import Unsupported
from .. import elementwise, product
from ..elementwise import View
from ..lowering import Call, Lowering, entry, extent_of, floating, lowers
from ..record import array, extent, integer, place, vector


@entry
def linear_forward(dtype, record, start, rows):
    """x, w, b, z, scratch; [m], k, n, x's strides, w's strides, whether there is a bias."""
    m, k, n = extent(record, 0, rows), integer(record, 2), integer(record, 3)
    x = vector(dtype, record, 0, start, m * k)
    w = vector(dtype, record, 1, start, n * k)
    b = vector(dtype, record, 2, start, n * integer(record, 8))
    z = vector(dtype, record, 3, start, m * n)
    scratch = vector(dtype, record, 4, start, product.scratch_size(k, x.size, x.itemsize))
    x_row, x_column, w_row, w_column = integer(record, 4), integer(record, 5), integer(record, 6), integer(record, 7)
    product.multiply(x, x_row, x_column, w, w_column, w_row, b, z, m, k, n, scratch)
    return 0


@entry
def linear_backward(dtype, record, start, rows):
    """d, x, w, dx, dw, db, scratch; [m], k, n, x's strides, w's strides, which of the three results are wanted, one."""
    m, k, n = extent(record, 0, rows), integer(record, 2), integer(record, 3)
    x_row, x_column, w_row, w_column = integer(record, 4), integer(record, 5), integer(record, 6), integer(record, 7)
    d = vector(dtype, record, 0, start, m * n)
    x = vector(dtype, record, 1, start, m * k)
    w = vector(dtype, record, 2, start, n * k)
    none = vector(dtype, record, 0, start, 0)
    scratch = vector(dtype, record, 6, start, product.scratch_size(max(m, n), d.size, d.itemsize))
    one = integer(record, 11)  # and no literal: see product.steps
    if integer(record, 8):
        dx = vector(dtype, record, 3, start, m * k)
        product.multiply(d, n, one, w, w_row, w_column, none, dx, m, n, k, scratch)
    if integer(record, 9):
        dw = vector(dtype, record, 4, start, n * k)
        product.multiply(d, one, n, x, x_row, x_column, none, dw, n, m, k, scratch)
    if integer(record, 10):
        product.sum_columns(array(dtype, d.ctypes.data, (m, n)), vector(dtype, record, 5, start, n))
    return 0


@entry
def matmul(dtype, record, start, rows):
    """a, b, c, scratch; how many products, [m], [k], n, the strides of a and b, and by how many elements two products
    lie apart in each of the three."""
    count, m, k, n = integer(record, 0), extent(record, 1, rows), extent(record, 3, rows), integer(record, 5)
    none = vector(dtype, record, 0, start, 0)
    item = none.itemsize
    scratch = vector(dtype, record, 3, start, product.scratch_size(k, m * k, item))
    for i in range(count):
        a = array(dtype, place(record, 0, start) + i * integer(record, 10) * item, (m * k,))
        b = array(dtype, place(record, 1, start) + i * integer(record, 11) * item, (k * n,))
        c = array(dtype, place(record, 2, start) + i * integer(record, 12) * item, (m * n,))
        product.multiply(
            a,
            integer(record, 6),
            integer(record, 7),
            b,
            integer(record, 8),
            integer(record, 9),
            none,
            c,
            m,
            k,
            n,
            scratch,
        )
    return 0


def _dtype(call: Call, *views: View | None) -> np.dtype:
    dtype = floating(call, *views)
    if precision.rounds(dtype):
        raise Unsupported(f"{call.kernel} of numbers rounded to bfloat16")
    return dtype


def _scratch_size(k: int, size: int, dtype: np.dtype) -> int:
    return product.scratch_size.py_func(k, size, dtype.itemsize)


@lowers("linear_forward")
def lower_linear_forward(low: Lowering, call: Call) -> None:
    x, w = low.given(call, "x"), low.given(call, "w")
    b = None if call.arguments["b"] is None else low.plain(call, "b")
    y, *kept = [low.made(call, n) for n, output in enumerate(call.outputs) if output is not None]
    z = kept[0] if kept else y
    integers = [*extent_of(x, slice(0, 1), call), x.shape[1], w.shape[0], *x.strides, *w.strides, int(b is not None)]
    dtype = _dtype(call, x, w, b)
    scratch = low.scratch(dtype, _scratch_size(x.shape[1], low.rows(x, call) * x.shape[1], dtype))
    low.entry(call, "linear_forward", dtype, [x, w, b, z, *scratch], integers)
    if kept or call.arguments["activation"] != "identity":
        _activation(low, call, "activation_forward", y, x=z)


def _activation(low: Lowering, call: Call, kernel: str, target: View, whose: str = "", **views: View) -> None:
    """A layer's activation, or what its derivative makes of a cotangent, in a loop of its own or with others."""
    alpha = low.number(call.arguments.get(f"{whose}alpha", 0.0))
    arguments = {**views, "activation": call.arguments[f"{whose}activation"], "alpha": alpha}
    low.append(call, elementwise.statement(kernel, arguments, target))


@lowers("linear_backward")
def lower_linear_backward(low: Lowering, call: Call) -> None:
    g, x, w = low.plain(call, "g"), low.given(call, "x"), low.given(call, "w")
    if call.arguments["activation"] != "identity":
        d = low.temporary(g, call)
        _activation(low, call, "activation_backward", d, g=g, saved=low.given(call, "saved"))
        g = d
    results = [None if o is None else low.made(call, n) for n, o in enumerate(call.outputs)]
    wanted = [int(r is not None) for r in results]
    integers = [*extent_of(x, slice(0, 1), call), x.shape[1], w.shape[0], *x.strides, *w.strides, *wanted, 1]
    dtype = _dtype(call, g, x, w)
    rows, columns = low.rows(g, call), g.shape[1]
    scratch = low.scratch(dtype, _scratch_size(max(rows, columns), rows * columns, dtype))
    low.entry(call, "linear_backward", dtype, [g, x, w, *results, *scratch], integers)
    if results[0] is not None and call.arguments["x_activation"] != "identity":
        _activation(low, call, "activation_backward", results[0], "x_", g=results[0], saved=x)


@lowers("matmul")
def lower_matmul(low: Lowering, call: Call) -> None:
    a, b, c = low.given(call, "a"), low.given(call, "b"), low.made(call)
    lead = c.shape[:-2]
    count, steps = 1, [0, 0, 0]
    if lead:
        count = math.prod(lead)
        steps = [_step(call, v, lead) for v in (a, b, c)]
    integers = [count, *extent_of(a, slice(-2, -1), call), *extent_of(a, slice(-1, None), call), b.shape[-1]]
    integers += [*a.strides[-2:], *b.strides[-2:], *steps]
    dtype = _dtype(call, a, b)
    scratch = low.scratch(dtype, _scratch_size(a.shape[-1], math.prod(a.shape[-2:]), dtype))
    low.entry(call, "matmul", dtype, [a, b, c, *scratch], integers)


def _step(call: Call, view: View, lead: tuple[int, ...]) -> int:
    """By how many elements the matrices of a stack lie apart, all by the same."""
    own = view.shape[:-2]
    strides = [0] * (len(lead) - len(own)) + [s if n > 1 else 0 for n, s in zip(own, view.strides[:-2], strict=True)]
    steps = [(n, s) for n, s in zip(lead, strides, strict=True) if n > 1]
    if any(outer != inner * n for (_, outer), (n, inner) in itertools.pairwise(steps)):
        raise Unsupported("matmul of stacks of matrices that do not lie evenly apart")
    return steps[-1][1] if steps else 0
