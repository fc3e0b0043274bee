"""Kernels as entries: what a record holds, handed to the cores.

Each takes the dtype that it computes in, and a record (see there) with the operands, whole numbers and numbers that its
docstring lists. Sizes named [n] are extents: two whole numbers, of which the second counts for each row of the slice.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types

from . import loss, measure, product, random, reduction, update
from .index import scatter_rows
from .jit import core, inlined
from .record import array, bits, call, extent, integer, matrix, number, place, vector


@inlined
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


@inlined
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


@inlined
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


# Losses: x, target, the loss, its gradient; what the loss is multiplied by


@inlined
def _pointwise(dtype, record, start, rows):
    n = extent(record, 0, rows)
    x = vector(dtype, record, 0, start, n)
    target = vector(dtype, record, 1, start, n)
    return (x, target, array(dtype, place(record, 2, start), ()), vector(dtype, record, 3, start, n))


@inlined
def mse_loss(dtype, record, start, rows):
    """[elements]; scale."""
    x, target, total, dx = _pointwise(dtype, record, start, rows)
    loss.mse(x, target, number(record, 2), total, dx)
    return 0


@inlined
def l1_loss(dtype, record, start, rows):
    """[elements]; scale."""
    x, target, total, dx = _pointwise(dtype, record, start, rows)
    loss.l1(x, target, number(record, 2), total, dx)
    return 0


@inlined
def huber_loss(dtype, record, start, rows):
    """[elements]; scale, delta."""
    x, target, total, dx = _pointwise(dtype, record, start, rows)
    loss.huber(x, target, number(record, 2), total, dx, number(record, 3))
    return 0


@inlined
def bce_with_logits_loss(dtype, record, start, rows):
    """[elements]; scale."""
    x, target, total, dx = _pointwise(dtype, record, start, rows)
    loss.bce_with_logits(x, target, number(record, 2), total, dx)
    return 0


@inlined
def cross_entropy_of_probabilities(dtype, record, start, rows):
    """[rows], classes; scale."""
    m, n = extent(record, 0, rows), integer(record, 2)
    x = matrix(dtype, record, 0, start, m, n)
    target = matrix(dtype, record, 1, start, m, n)
    total = array(dtype, place(record, 2, start), ())
    loss.cross_entropy_of_probabilities(x, target, number(record, 3), total, matrix(dtype, record, 3, start, m, n))
    return 0


@inlined
def cross_entropy_of_indices(dtype, record, start, rows):
    """[rows], classes; scale. Returns 1 + the row whose index is no class."""
    m, n = extent(record, 0, rows), integer(record, 2)
    x = matrix(dtype, record, 0, start, m, n)
    target = vector(types.int64, record, 1, start, m)
    total = array(dtype, place(record, 2, start), ())
    bad = loss.cross_entropy_of_indices(x, target, number(record, 3), total, matrix(dtype, record, 3, start, m, n))
    return start + bad + 1 if bad >= 0 else 0


# Updates: the parameter, its gradient, its state


@inlined
def sgd(dtype, record, start, rows):
    """p, g; elements; lr, weight decay."""
    n = integer(record, 0)
    p, g = vector(dtype, record, 0, start, n), vector(dtype, record, 1, start, n)
    update.sgd(p, g, None, number(record, 1), 0.0, 0.0, number(record, 2), False, False)
    return 0


@inlined
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


@inlined
def adam(dtype, record, start, rows):
    """p, g, m, v; elements, whether decay is decoupled; lr, beta1, beta2, eps, weight decay, step."""
    return _adam(dtype, record, start, None)


@inlined
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


@inlined
def rmsprop(dtype, record, start, rows):
    """p, g, v; elements, whether v is a sum; lr, alpha, eps, weight decay, momentum."""
    return _rmsprop(dtype, record, start, None, None)


@inlined
def rmsprop_with_momentum(dtype, record, start, rows):
    """The same with velocity after v."""
    return _rmsprop(dtype, record, start, vector(dtype, record, 3, start, integer(record, 0)), None)


@inlined
def centered_rmsprop(dtype, record, start, rows):
    """The same with the mean gradient after v."""
    return _rmsprop(dtype, record, start, None, vector(dtype, record, 3, start, integer(record, 0)))


@inlined
def centered_rmsprop_with_momentum(dtype, record, start, rows):
    """The same with velocity and the mean gradient after v."""
    n = integer(record, 0)
    return _rmsprop(dtype, record, start, vector(dtype, record, 3, start, n), vector(dtype, record, 4, start, n))


# Measures: a parameter and what it is measured against; elements, elements of a block


@inlined
def _gradient_sums(dtype, record, start, sums_at, before):
    n, block = integer(record, 0), integer(record, 1)
    p, g = vector(dtype, record, 0, start, n), vector(dtype, record, 1, start, n)
    sums = matrix(dtype, record, sums_at, start, (n + block - 1) // block, 5)
    measure.gradient(p, g, before, block, sums, vector(dtype, record, sums_at + 1, start, n))
    return 0


@inlined
def gradient_sums(dtype, record, start, rows):
    """p, g, sums, kept."""
    return _gradient_sums(dtype, record, start, 2, None)


@inlined
def gradient_sums_with_before(dtype, record, start, rows):
    """p, g, before, sums, kept."""
    return _gradient_sums(dtype, record, start, 3, vector(dtype, record, 2, start, integer(record, 0)))


@inlined
def update_sums(dtype, record, start, rows):
    """p, kept, sums."""
    n, block = integer(record, 0), integer(record, 1)
    p, kept = vector(dtype, record, 0, start, n), vector(dtype, record, 1, start, n)
    measure.update(p, kept, block, matrix(dtype, record, 2, start, (n + block - 1) // block, 1))
    return 0


@inlined
def unit_sums(dtype, record, start, rows):
    """x, sums; [rows], units, the term's code."""
    count, units = extent(record, 0, rows), integer(record, 2)
    x = matrix(dtype, record, 0, start, count, units)
    measure.units(x, integer(record, 3), vector(dtype, record, 1, start, units))
    return 0


# Reductions: x, y; [before], [along], after: x has the shape (before, along, after) and is reduced over its middle axis


@inlined
def _reduced(dtype, record, start, rows):
    before, along, after = extent(record, 0, rows), extent(record, 2, rows), integer(record, 4)
    return array(dtype, place(record, 0, start), (before, along, after)), before, after


@inlined
def sum(dtype, record, start, rows):
    """…; scale."""
    x, before, after = _reduced(dtype, record, start, rows)
    if after == 1:
        y = vector(dtype, record, 1, start, before)
        reduction.sum_rows(x.reshape(before, x.shape[1]), number(record, 5), y)
    else:
        reduction.sum_middle(x, number(record, 5), matrix(dtype, record, 1, start, before, after))
    return 0


@inlined
def amax(dtype, record, start, rows):
    x, before, after = _reduced(dtype, record, start, rows)
    y = matrix(dtype, record, 1, start, before, after)
    for i in range(before):
        for k in range(after):
            y[i, k] = x[i, 0, k]
        for j in range(1, x.shape[1]):
            for k in range(after):
                y[i, k] = y[i, k] if y[i, k] >= x[i, j, k] or y[i, k] != y[i, k] else x[i, j, k]
    return 0


@inlined
def amin(dtype, record, start, rows):
    x, before, after = _reduced(dtype, record, start, rows)
    y = matrix(dtype, record, 1, start, before, after)
    for i in range(before):
        for k in range(after):
            y[i, k] = x[i, 0, k]
        for j in range(1, x.shape[1]):
            for k in range(after):
                y[i, k] = y[i, k] if y[i, k] <= x[i, j, k] or y[i, k] != y[i, k] else x[i, j, k]
    return 0


@inlined
def argmax(dtype, record, start, rows):
    x, before, after = _reduced(dtype, record, start, rows)
    y = matrix(types.int64, record, 1, start, before, after)
    for i in range(before):
        for k in range(after):
            best = 0
            for j in range(1, x.shape[1]):
                if not (x[i, j, k] <= x[i, best, k] or x[i, best, k] != x[i, best, k]):
                    best = j
            y[i, k] = best
    return 0


@inlined
def argmin(dtype, record, start, rows):
    x, before, after = _reduced(dtype, record, start, rows)
    y = matrix(types.int64, record, 1, start, before, after)
    for i in range(before):
        for k in range(after):
            best = 0
            for j in range(1, x.shape[1]):
                if not (x[i, j, k] >= x[i, best, k] or x[i, best, k] != x[i, best, k]):
                    best = j
            y[i, k] = best
    return 0


@inlined
def count(dtype, record, start, rows):
    """The sum of integers or booleans."""
    x, before, after = _reduced(dtype, record, start, rows)
    y = matrix(types.int64, record, 1, start, before, after)
    for i in range(before):
        for k in range(after):
            total = 0
            for j in range(x.shape[1]):
                total += x[i, j, k]
            y[i, k] = total
    return 0


@inlined
def logsumexp(dtype, record, start, rows):
    """…; after is 1."""
    before = extent(record, 0, rows)
    x = matrix(dtype, record, 0, start, before, extent(record, 2, rows))
    reduction.logsumexp_rows(x, vector(dtype, record, 1, start, before))
    return 0


# The softmax family along the last axis: its operands; [rows], columns


@inlined
def softmax(dtype, record, start, rows):
    m, n = extent(record, 0, rows), integer(record, 2)
    reduction.softmax_rows(matrix(dtype, record, 0, start, m, n), matrix(dtype, record, 1, start, m, n))
    return 0


@inlined
def log_softmax(dtype, record, start, rows):
    m, n = extent(record, 0, rows), integer(record, 2)
    reduction.log_softmax_rows(matrix(dtype, record, 0, start, m, n), matrix(dtype, record, 1, start, m, n))
    return 0


@inlined
def softmax_backward(dtype, record, start, rows):
    m, n = extent(record, 0, rows), integer(record, 2)
    g, y = matrix(dtype, record, 0, start, m, n), matrix(dtype, record, 1, start, m, n)
    reduction.softmax_backward_rows(g, y, matrix(dtype, record, 2, start, m, n))
    return 0


@inlined
def log_softmax_backward(dtype, record, start, rows):
    m, n = extent(record, 0, rows), integer(record, 2)
    g, y = matrix(dtype, record, 0, start, m, n), matrix(dtype, record, 1, start, m, n)
    reduction.log_softmax_backward_rows(g, y, matrix(dtype, record, 2, start, m, n))
    return 0


@inlined
def dropout(dtype, record, start, rows):
    """x, y; elements of all rows or of each; key, offset, the least word that is kept; by what kept elements are
    multiplied."""
    n = extent(record, 0, rows)
    key, offset = np.uint64(bits(record, 2)), np.uint64(bits(record, 3))
    x, y = vector(dtype, record, 0, start, n), vector(dtype, record, 1, start, n)
    random.drop(x, bits(record, 4), number(record, 5), key, offset, integer(record, 1) * start, y)
    return 0


# Random numbers: elements; key, offset


@inlined
def uniform_single(dtype, record, start, rows):
    """y, float32."""
    n = integer(record, 0)
    key, offset = np.uint64(bits(record, 1)), np.uint64(bits(record, 2))
    random.uniform_single(key, offset, vector(dtype, record, 0, start, n))
    return 0


@inlined
def uniform_double(dtype, record, start, rows):
    """y, float64."""
    n = integer(record, 0)
    key, offset = np.uint64(bits(record, 1)), np.uint64(bits(record, 2))
    random.uniform_double(key, offset, vector(dtype, record, 0, start, n))
    return 0


@inlined
def random_bits(dtype, record, start, rows):
    """y, uint32."""
    n = integer(record, 0)
    key, offset = np.uint64(bits(record, 1)), np.uint64(bits(record, 2))
    random.bits(key, offset, vector(dtype, record, 0, start, n))
    return 0


# Rows by index


@inlined
def gather_rows(dtype, record, start, rows):
    """x, indices, y; rows of x, indices, columns. Returns 1 + the first index that is out of range."""
    source, n, columns = integer(record, 0), integer(record, 1), integer(record, 2)
    x = matrix(dtype, record, 0, start, source, columns)
    indices = vector(types.int64, record, 1, start, n)
    y = matrix(dtype, record, 2, start, n, columns)
    for i in range(n):
        row = indices[i] + source if indices[i] < 0 else indices[i]
        if row < 0 or row >= source:
            return i + 1
        for j in range(columns):
            y[i, j] = x[row, j]
    return 0


@inlined
def scatter_rows_add(dtype, record, start, rows):
    """g, indices, y; rows of y, indices, columns. Returns 1 + the first index that is out of range."""
    n, columns = integer(record, 1), integer(record, 2)
    y = matrix(dtype, record, 2, start, integer(record, 0), columns)
    y[:] = 0
    whole = scatter_rows(matrix(dtype, record, 0, start, n, columns), vector(types.int64, record, 1, start, n), y)
    return 0 if whole else 1


# Many steps


@core
def run_steps(table, inputs, order, first, batch, scalars_at, scalars, losses, loss_at):
    """Run the table's program on batches of rows, one for each of the losses; see begin_step. Returns what it does."""
    for s in range(losses.size):
        begin_step(table, s, inputs, order, first, batch, scalars_at, scalars, losses, loss_at)
        failed = call(table, 0, 0, 0)
        if failed:
            return failed
    return 0


@core
def begin_step(table, s, inputs, order, first, batch, scalars_at, scalars, losses, loss_at):
    """Make the table ready for step s of many.

    Args:
        inputs: (inputs, 3) int64: the address of the data, the bytes of a row, the address of memory for a batch.
        order: the rows of the batches, one after the other; empty for those from row `first` on.
        scalars: (steps or 1, scalars) words, which go into the table from word scalars_at on.
        losses: (steps,), what the program writes where word loss_at of the table says.
    """
    for i in range(len(inputs)):
        data, row_bytes, gathered = inputs[i]
        table[1 + i] = gathered if order.size else data + (first + s * batch) * row_bytes
        if order.size:
            for r in range(batch):
                copy_bytes(data + order[s * batch + r] * row_bytes, gathered + r * row_bytes, row_bytes)
    for j in range(scalars.shape[1]):
        table[scalars_at + j] = scalars[s if len(scalars) > 1 else 0, j]
    table[loss_at] = losses.ctypes.data + s * losses.itemsize


@core
def copy_bytes(source, target, n):
    """n bytes from one address to another."""
    if n % 4 == 0:
        x, y = array(types.uint32, source, (n // 4,)), array(types.uint32, target, (n // 4,))
        for i in range(n // 4):
            y[i] = x[i]
    else:
        a, b = array(types.uint8, source, (n,)), array(types.uint8, target, (n,))
        for i in range(n):
            b[i] = a[i]


# Threads


@core
def run_segment(table, segment):
    """Run one segment of the table's program; returns what it does."""
    return call(table, 0, segment, 0)


@core
def add_sums(table, other, sums):
    """Add what another thread's table has summed; sums as in lowering.Shared."""
    for i in range(len(sums)):
        target, offset, part, record = sums[i]
        own = table[part]
        table[part] = other[target] + offset
        call(table, record, 0, 1)
        table[part] = own
