"""Dense layers: small products whole in one core, large ones by NumPy's BLAS with the rest fused around it."""

from __future__ import annotations

import numpy as np

from ...kernels import precision
from ...kernels.product import linear_backward as reference_backward
from ...kernels.product import linear_forward as reference_forward
from ...kernels.product import matmul as bare
from ...kernels.product import with_small
from ...kernels.spec import Array
from .activation import CODES, IDENTITY, activation_backward, apply, differentiate
from .jit import FLOATS, core, inlined, plain
from .parallel import CHEAP, get_num_threads, run
from .vector import BYTES, PAIR, load, move, multiply_add, store, transpose

__all__ = ["linear_backward", "linear_forward", "matmul"]

DEPTH = 256
"""Columns of a copied block of the left factor: a panel of the right one, as deep, fits into the first-level cache."""

BLOCK = 1 << 19
"""Bytes of such a block, which shares the second-level cache with what it is made into."""

LINE = 64
"""Bytes of a column of a block that lie together: a cache line."""

REGISTERS = LINE // BYTES
"""As many as hold a line."""

UNCOPIED = 1 << 20
"""Bytes up to which a left factor is read where it lies (measured: beyond, copying it takes less than the misses)."""

_NO_VECTOR = {dtype: np.empty(0, dtype) for dtype in FLOATS}
_NO_MATRIX = {dtype: np.empty((0, 0), dtype) for dtype in FLOATS}


NARROW = 1 << 12
"""Weights of a layer whose products keep a BLAS waiting for memory."""

FUSED = 1 << 21
"""Multiply-adds of a product up to which one core does all of a layer, however many threads BLAS has; four times
as many where the layer is narrow (measured)."""

OWN = 1 << 26
"""Multiply-adds of a product from which BLAS is as fast on one thread. On several it is faster, and its threads, which
spin for a while after each product, would slow down others beside them."""


def beats_blas(rows: int, others: int) -> bool:
    """Whether a product of so many rows with a matrix of so many elements takes less here (measured, on one thread)."""
    return get_num_threads() == 1 and rows >= 16 and others <= rows << 14 and rows * others <= OWN


def runs_forward(rows: int, weights: int) -> bool:
    """Whether one core does all of a layer's forward pass."""
    return (weights <= NARROW // 4 * min(rows, 4) and _fuses(rows, weights)) or beats_blas(rows, weights)


def runs_backward(rows: int, weights: int) -> bool:
    """Whether one core does all of its backward pass."""
    small = weights <= NARROW or rows == 1 or rows >= 16
    return (small and _fuses(rows, weights)) or beats_blas(rows, weights)


def _fuses(rows: int, weights: int) -> bool:
    return rows * weights <= (4 * FUSED if weights <= NARROW else FUSED)


@with_small
def matmul(a: Array, b: Array) -> Array:
    dtype = a.dtype
    if dtype not in FLOATS or b.dtype != dtype or precision.rounds(dtype) or a.ndim > 2 or b.ndim > 2:
        return bare.reference(a, b)
    return _product(a, b)


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
        _product(x, w.T, y)
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
    x_activation: str = "identity",
    x_alpha: float = 0.0,
) -> tuple[Array | None, Array | None, Array | None]:
    if need_x and x_activation != "identity":
        dx, dw, db = linear_backward(g, x, w, saved, activation, alpha, need_x, need_w, need_b)
        return activation_backward(dx, x, x_activation, x_alpha), dw, db  # type: ignore[arg-type]
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
    return _product(d, w) if need_x else None, _product(d.T, x) if need_w else None, db


def _product(a: Array, b: Array, c: Array | None = None) -> Array:
    """a @ b, into c where that is given."""
    (m, k), n = a.shape, b.shape[1]
    if n < 16 or not beats_blas(m, n * k):
        return _matmul(a, b, out=c)
    if c is None:
        c = np.empty((m, n), a.dtype)
    product(*_stored(a), *_stored(b), c)
    return c


_matmul = np.errstate(all="ignore")(np.matmul)  # infinity and NaN are results, not warnings


def _stored(w: Array) -> tuple[Array, bool]:
    """w or its transpose, whichever a core can take, and whether it is the transpose."""
    if w.flags.carray:
        return w, False
    return (w.T, True) if w.T.flags.carray else (plain(w), False)


@core
def product(a, a_transposed, b, b_transposed, c):
    """c = a @ b; a (m, k) or (k, m) where it is transposed, and so b, c (m, n)."""
    m, n = c.shape
    k = a.size // m
    a_row, a_column = steps(a.T if a_transposed else a)
    b_row, b_column = steps(b.T if b_transposed else b)
    scratch = np.empty(scratch_size(k, a.size, a.itemsize), a.dtype)
    part, each, into = a.reshape(a.size), b.reshape(b.size), c.reshape(c.size)
    multiply(part, a_row, a_column, each, b_row, b_column, scratch[:0], into, m, k, n, scratch)


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
    scratch = np.empty(scratch_size(k, x.size, x.itemsize), x.dtype)
    multiply(x.reshape(rows * k), x_row, x_column, w.reshape(k * n), w_row, w_column, b, each, rows, k, n, scratch)
    if z.size:
        z.reshape(rows * n)[:] = each
    apply(each, code, alpha)


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
        differentiate(g.reshape(g.size), saved.reshape(g.size), d.reshape(g.size), code, alpha)
    none = np.empty(0, g.dtype)
    scratch = np.empty(scratch_size(max(rows, n), g.size, g.itemsize), g.dtype)
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
        apply(y[i], code, alpha)


@core
def start_backward(g, saved, code, alpha, d, db):
    """d = g * activation'(saved), unless the activation is the identity, and db the sum of its rows unless it has no
    elements."""
    if code != IDENTITY:
        differentiate(g.reshape(g.size), saved.reshape(g.size), d.reshape(g.size), code, alpha)
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

    All arrays have one axis; element (i, j) of a stands at i * a_row + j * a_column, and so for b. Blocks of a that
    stay in the second-level cache go against panels of b, which are copied to scratch (see scratch_size) and stay in
    the first; tiles of 8 rows by one panel of c stay in registers while the product runs along a block's columns.
    """
    lanes = BYTES // a.itemsize
    width, side = PAIR * lanes, LINE // a.itemsize
    copied = m * k * a.itemsize > UNCOPIED and n > 4 * width
    height, deepest = (BLOCK // (DEPTH * a.itemsize), DEPTH) if copied else (max(m, 1), max(k, 1))
    tile = (-scratch.ctypes.data % BYTES) // a.itemsize  # vectors start where the processor likes them to
    panel = tile + 8 * width
    block = panel + (min(k, deepest) + 1) * width
    for top in range(0, m, height):
        rows = min(height, m - top)
        for left in range(0, max(k, 1), deepest):
            depth, adds = min(deepest, k - left), left > 0
            part, at, row, column, group = a, top * a_row + left * a_column, a_row, a_column, side * a_row
            if copied:
                group = (depth + 1) * side
                for i in range(0, rows, side):
                    to = block + i // side * group
                    columns = min(side, rows - i)
                    pack(a, at + i * a_row, a_column, a_row, bias, n, columns, depth, scratch, to, REGISTERS)
                part, at, row, column = scratch, block + side, 1, side
            for j in range(0, n, width):
                start, to, columns = left * b_row + j * b_column, top * n + j, min(width, n - j)
                if PAIR > 1 and columns > lanes:
                    pack(b, start, b_row, b_column, bias, j, columns, depth, scratch, panel, PAIR)
                    multiply_panel(
                        part, at, row, column, group, scratch, panel, tile, c, to, adds, columns, rows, depth, n, PAIR
                    )
                else:
                    pack(b, start, b_row, b_column, bias, j, columns, depth, scratch, panel, 1)
                    multiply_panel(
                        part, at, row, column, group, scratch, panel, tile, c, to, adds, columns, rows, depth, n, 1
                    )


@inlined
def scratch_size(k, size, itemsize):
    """The elements of scratch that `multiply` needs for a left factor of `size` elements and at most k columns."""
    lanes = BYTES // itemsize
    copy = (BLOCK // (DEPTH * itemsize)) * (DEPTH + 1) if size * itemsize > UNCOPIED else 0
    return (PAIR * (k + 9) + 1) * lanes + copy


@core
def pack(b, start, b_row, b_column, bias, j, columns, k, panel, at, registers):
    """Columns of b as a panel as wide as so many registers, the bias from j on as the row above, padded by zeros."""
    lanes = BYTES // b.itemsize
    width = registers * lanes
    for q in range(width):
        panel[at + q] = bias[j + q] if q < columns and j + q < bias.size else 0
    at += width
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
def multiply_panel(a, at, a_row, a_column, group, panel, start, tile, c, into, adds, columns, m, k, n, registers):
    """Rows of a times a panel, into columns of c, (…, n), from element `into` on, or added to them.

    Element (i, j) of a stands at `at` + i // side * group + i % side * a_row + j * a_column, where `side` elements are
    a cache line; `tile` is where in the
    panel's array there is room for a tile.
    """
    width, side = registers * (BYTES // a.itemsize), LINE // a.itemsize
    for i in range(0, m, 8):
        rows = min(8, m - i)
        first = at + i // side * group + i % side * a_row
        out = into + i * n
        whole = rows == 8 and columns == width
        target, to, stride = (c, out, n) if whole else (panel, tile, width)
        given, given_at, step = (target, to, stride) if adds else (panel, start, 0)
        if adds and not whole:
            for r in range(rows):
                for q in range(columns):
                    move(panel, tile + r * width + q, c, out + r * n + q)
        multiply_tile(
            a, first, a_row, rows - 1, a_column, panel, start, k, given, given_at, step, target, to, stride, registers
        )
        if not whole:
            for r in range(rows):
                for q in range(columns):
                    move(c, out + r * n + q, panel, tile + r * width + q)


@core
def multiply_tile(a, at, a_row, last, a_column, panel, start, k, given, given_at, step, c, out, stride, registers):
    """Eight rows of a, of which those after the `last` are that one again, times a panel, added to eight rows of what
    is given, into eight rows of c."""
    width = registers * (BYTES // a.itemsize)
    c0 = load(given, given_at, registers)
    c1 = load(given, given_at + step, registers)
    c2 = load(given, given_at + 2 * step, registers)
    c3 = load(given, given_at + 3 * step, registers)
    c4 = load(given, given_at + 4 * step, registers)
    c5 = load(given, given_at + 5 * step, registers)
    c6 = load(given, given_at + 6 * step, registers)
    c7 = load(given, given_at + 7 * step, registers)
    r1, r2, r3, r4 = min(1, last) * a_row, min(2, last) * a_row, min(3, last) * a_row, min(4, last) * a_row
    r5, r6, r7 = min(5, last) * a_row, min(6, last) * a_row, min(7, last) * a_row
    for p in range(k):
        v = load(panel, start + (p + 1) * width, registers)
        q = at + p * a_column
        c0 = multiply_add(c0, a, q, v)
        c1 = multiply_add(c1, a, q + r1, v)
        c2 = multiply_add(c2, a, q + r2, v)
        c3 = multiply_add(c3, a, q + r3, v)
        c4 = multiply_add(c4, a, q + r4, v)
        c5 = multiply_add(c5, a, q + r5, v)
        c6 = multiply_add(c6, a, q + r6, v)
        c7 = multiply_add(c7, a, q + r7, v)
    store(c, out, c0)
    store(c, out + stride, c1)
    store(c, out + 2 * stride, c2)
    store(c, out + 3 * stride, c3)
    store(c, out + 4 * stride, c4)
    store(c, out + 5 * stride, c5)
    store(c, out + 6 * stride, c6)
    store(c, out + 7 * stride, c7)
