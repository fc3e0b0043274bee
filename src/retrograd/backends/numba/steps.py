"""Running a table (see record): a step, many, or one segment of a step."""

from __future__ import annotations

from numba import types

from .jit import core
from .record import array, call


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
