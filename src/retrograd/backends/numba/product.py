"""Dense layers: small products whole in one core, large ones by NumPy's BLAS with the rest fused around it."""

from __future__ import annotations

import numpy as np

from ...kernels import precision
from ...kernels.product import linear_backward as reference_backward
from ...kernels.product import linear_forward as reference_forward
from ...kernels.spec import Array
from .activation import CODES, IDENTITY, fused_backward, fused_forward
from .jit import FLOATS, core, inlined, plain
from .parallel import CHEAP, run
from .vector import BYTES, PAIR, load, move, multiply_add, store, transpose

__all__ = ["linear_backward", "linear_forward"]

_NO_VECTOR = {dtype: np.empty(0, dtype) for dtype in FLOATS}
_NO_MATRIX = {dtype: np.empty((0, 0), dtype) for dtype in FLOATS}


def runs_forward(rows: int, weights: int) -> bool:
    """Whether a layer's forward product is done here rather than by BLAS (measured: where each is faster)."""
    return weights <= 1024 * min(rows, 4) and rows * weights <= 1 << 21


def runs_backward(rows: int, weights: int) -> bool:
    """The same of its two backward products."""
    return (weights <= 4096 or rows == 1) and rows * weights <= 1 << 17


def linear_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    need_z: bool = False,
) -> Array | tuple[Array, Array]:
    dtype = x.dtype
    if dtype not in FLOATS or precision.rounds(dtype):
        return reference_forward.reference(x, w, b, activation, alpha, need_z)
    y = np.empty((x.shape[0], w.shape[0]), dtype)
    z = np.empty_like(y) if need_z else _NO_MATRIX[dtype]
    b = _NO_VECTOR[dtype] if b is None else plain(b)
    if runs_forward(x.shape[0], w.size):
        w, transposed = _stored(w)
        forward(plain(x), w, transposed, b, CODES[activation], alpha, z, y)
    else:
        _matmul(x, w.T, out=y)
        if b.size or need_z or activation != "identity":
            run(finish_forward, CHEAP, (y, z if need_z else y[:, :0]), b, CODES[activation], alpha)
    return (y, z) if need_z else y


def linear_backward(
    g: Array,
    x: Array,
    w: Array,
    saved: Array | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    need_x: bool = True,
    need_w: bool = True,
    need_b: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    dtype = g.dtype
    if dtype not in FLOATS or precision.rounds(dtype):
        return reference_backward.reference(g, x, w, saved, activation, alpha, need_x, need_w, need_b)
    code = CODES[activation]
    g = plain(g)
    saved = g if code == IDENTITY else plain(saved)
    db = np.empty(w.shape[0], dtype) if need_b else None
    sums = _NO_VECTOR[dtype] if db is None else db
    if runs_backward(x.shape[0], w.size):
        dx = np.empty(x.shape, dtype) if need_x else None
        dw = np.empty(w.shape, dtype) if need_w else None
        w, transposed = _stored(w)
        none = _NO_MATRIX[dtype]
        wanted = none if dx is None else dx, none if dw is None else dw, sums
        backward(g, plain(x), w, transposed, saved, code, alpha, *wanted)
        return dx, dw, db
    d = g if code == IDENTITY else np.empty(g.shape, dtype)
    if need_b or code != IDENTITY:
        start_backward(g, saved, code, alpha, d, sums)
    return _matmul(d, w) if need_x else None, _matmul(d.T, x) if need_w else None, db


_matmul = np.errstate(all="ignore")(np.matmul)  # infinity and NaN are results, not warnings


def _stored(w: Array) -> tuple[Array, bool]:
    """w or its transpose, whichever a core can take, and whether it is the transpose."""
    if w.flags.carray:
        return w, False
    return (w.T, True) if w.T.flags.carray else (plain(w), False)


@core
def forward(x, w, transposed, b, code, alpha, z, y):
    """y = activation(z), z = x @ w.T + b.

    x (rows, in), w (out, in) or (in, out) where `transposed`, b (out,) or (0,) for none, y (rows, out), z the same or
    with no elements where it is not kept.
    """
    rows, k = x.shape
    n = y.shape[1]
    x_row, x_column = steps(x)
    w_column, w_row = steps(w.T if transposed else w)
    each = y.reshape(rows * n)
    scratch = np.empty(scratch_size(k, x.itemsize), x.dtype)
    multiply(x.reshape(rows * k), x_row, x_column, w.reshape(k * n), w_row, w_column, b, each, rows, k, n, scratch)
    if z.size:
        z.reshape(rows * n)[:] = each
    fused_forward(code, each, alpha)


@inlined
def steps(x):
    """By how many elements a row and a column of x lie apart."""
    # read, not written as 1: a literal would make Numba compile what it is passed to once more
    return x.strides[0] // x.itemsize, x.strides[1] // x.itemsize


@core
def backward(g, x, w, transposed, saved, code, alpha, dx, dw, db):
    """dx = d @ w, dw = d.T @ x and db, the sum of d's rows, where d = g * activation'(saved).

    g, saved (rows, out), x (rows, in), w as in `forward`; results with no elements are not computed.
    """
    rows, n = g.shape
    k = x.shape[1]
    d = g
    if code != IDENTITY:
        d = np.empty(g.shape, g.dtype)
        fused_backward(code, g.reshape(g.size), saved.reshape(g.size), d.reshape(g.size), alpha)
    none = np.empty(0, g.dtype)
    scratch = np.empty(scratch_size(max(rows, n), g.itemsize), g.dtype)
    each = d.reshape(d.size)
    d_row, d_column = steps(d)
    if dx.size:
        w_row, w_column = steps(w.T if transposed else w)
        multiply(
            each, d_row, d_column, w.reshape(n * k), w_row, w_column, none, dx.reshape(rows * k), rows, n, k, scratch
        )
    if dw.size:
        x_row, x_column = steps(x)
        multiply(
            each, d_column, d_row, x.reshape(rows * k), x_row, x_column, none, dw.reshape(n * k), n, rows, k, scratch
        )
    if db.size:
        sum_columns(d, db)


@core
def finish_forward(y, z, b, code, alpha):
    """z = y + b, y = activation(z); y (rows, out), z the same or (rows, 0), b (out,) or (0,) for none."""
    for i in range(len(y)):
        for j in range(b.size):
            y[i, j] += b[j]
        for j in range(z.shape[1]):
            z[i, j] = y[i, j]
        fused_forward(code, y[i], alpha)


@core
def start_backward(g, saved, code, alpha, d, db):
    """d = g * activation'(saved), unless the activation is the identity, and db the sum of its rows unless it has no
    elements."""
    if code != IDENTITY:
        fused_backward(code, g.reshape(g.size), saved.reshape(g.size), d.reshape(g.size), alpha)
    if db.size:
        sum_columns(d, db)


@core
def sum_columns(x, total):
    """The sum of the rows of x; x (rows, n), total (n,)."""
    rows, n = x.shape
    total[:] = 0
    for i in range(rows):
        for j in range(n):
            total[j] += x[i, j]


@core
def multiply(a, a_row, a_column, b, b_row, b_column, bias, c, m, k, n, scratch):
    """c = a @ b + bias, a being (m, k), b (k, n), bias (n,) or (0,) for none, c (m, n) in C order.

    All arrays have one axis; element (i, j) of a stands at i * a_row + j * a_column, and so for b. Columns of b are
    copied to scratch (see scratch_size), as many as a vector has lanes; tiles of 8 rows by one vector of c stay in
    registers while the product runs along k.
    """
    lanes = BYTES // a.itemsize
    tile = (-scratch.ctypes.data % BYTES) // a.itemsize  # vectors start where the processor likes them to
    panel = tile + 8 * PAIR * lanes
    for j in range(0, n, PAIR * lanes):
        columns = min(PAIR * lanes, n - j)
        if PAIR > 1 and columns > lanes:
            pack(b, b_row, b_column, bias, j, columns, k, scratch, panel, PAIR)
            multiply_panel(a, a_row, a_column, scratch, panel, tile, c, j, columns, m, k, n, PAIR)
        else:
            pack(b, b_row, b_column, bias, j, columns, k, scratch, panel, 1)
            multiply_panel(a, a_row, a_column, scratch, panel, tile, c, j, columns, m, k, n, 1)


@inlined
def scratch_size(k, itemsize):
    """The elements of scratch that `multiply` needs."""
    lanes = BYTES // itemsize
    return (PAIR * (k + 9) + 1) * lanes


@core
def pack(b, b_row, b_column, bias, j, columns, k, panel, at, registers):
    """Columns of b from j on as a panel as wide as so many registers, the bias as the row above, padded by zeros."""
    lanes = BYTES // b.itemsize
    width = registers * lanes
    for q in range(width):
        panel[at + q] = bias[j + q] if q < columns and j + q < bias.size else 0
    at += width
    start = j * b_column
    if columns < width:
        panel[at : at + k * width] = 0
    if columns == width and b_column == 1:
        for p in range(k):
            store(panel, at + p * width, load(b, start + p * b_row, registers))
        return
    blocks = k // lanes * lanes if b_row == 1 else 0  # rows of b that are copied in squares
    for q in range(0, columns, lanes):
        whole = blocks if q + lanes <= columns else 0
        for p in range(0, whole, lanes):
            transpose(panel, at + p * width + q, width, b, start + q * b_column + p, b_column)
        for r in range(q, min(q + lanes, columns)):
            for p in range(whole, k):
                move(panel, at + p * width + r, b, start + r * b_column + p * b_row)


@core
def multiply_panel(a, a_row, a_column, panel, at, tile, c, j, columns, m, k, n, registers):
    """a times a panel, into the columns of c from j on; `tile` is where in the panel's array there is room for one."""
    width = registers * (BYTES // a.itemsize)
    for i in range(0, m, 8):
        rows = min(8, m - i)
        if rows == 8 and columns == width:
            multiply_tile(a, i * a_row, a_row, 7, a_column, panel, at, k, c, i * n + j, n, registers)
        else:
            multiply_tile(a, i * a_row, a_row, rows - 1, a_column, panel, at, k, panel, tile, width, registers)
            for r in range(rows):
                for q in range(columns):
                    move(c, (i + r) * n + j + q, panel, tile + r * width + q)


@core
def multiply_tile(a, at, a_row, last, a_column, panel, start, k, c, out, stride, registers):
    """Eight rows of a, of which those after the `last` are that one again, times a panel, into eight rows of c."""
    width = registers * (BYTES // a.itemsize)
    c0 = c1 = c2 = c3 = c4 = c5 = c6 = c7 = load(panel, start, registers)
    a0, a1, a2, a3 = at, at + min(1, last) * a_row, at + min(2, last) * a_row, at + min(3, last) * a_row
    a4, a5 = at + min(4, last) * a_row, at + min(5, last) * a_row
    a6, a7 = at + min(6, last) * a_row, at + min(7, last) * a_row
    for p in range(k):
        v = load(panel, start + (p + 1) * width, registers)
        q = p * a_column
        c0 = multiply_add(c0, a, a0 + q, v)
        c1 = multiply_add(c1, a, a1 + q, v)
        c2 = multiply_add(c2, a, a2 + q, v)
        c3 = multiply_add(c3, a, a3 + q, v)
        c4 = multiply_add(c4, a, a4 + q, v)
        c5 = multiply_add(c5, a, a5 + q, v)
        c6 = multiply_add(c6, a, a6 + q, v)
        c7 = multiply_add(c7, a, a7 + q, v)
    store(c, out, c0)
    store(c, out + stride, c1)
    store(c, out + 2 * stride, c2)
    store(c, out + 3 * stride, c3)
    store(c, out + 4 * stride, c4)
    store(c, out + 5 * stride, c5)
    store(c, out + 6 * stride, c6)
    store(c, out + 7 * stride, c7)
