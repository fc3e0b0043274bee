"""Records: how a compiled program tells a piece of machine code what to work on.

A loaded program is one table of 64-bit words. Among them are records, one for each call: the address of the code, the
number of operands, three words for each operand, then whole numbers, then where in the table the floating-point ones
stand. Code that runs for a record (an entry) is a C function of the record's address and the slice of the batch that it
is called for: the first of its rows, and how many. It returns 0, or what is wrong. The words that an entry reads are
data, so one piece of code serves every shape, and no address is compiled into it.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WORDS = types.CPointer(types.intp)
ENTRY = types.intp(WORDS, types.intp, types.intp)
"""The signature of an entry: record, start, rows."""

OPERANDS = 2
"""Where in a record its operands start: after the code's address and their number."""


@intrinsic
def call(typing, table, at, start, rows):
    """Run the record that stands at a place of the table (an array, or its address)."""
    given = table

    def emit(context, builder, signature, arguments):
        table, at, start, rows = arguments
        if isinstance(given, types.Array):
            table = context.make_array(given)(context, builder, table).data
        record = builder.gep(table, [at])
        kind = ir.FunctionType(start.type, [record.type, start.type, rows.type])
        return builder.call(builder.inttoptr(builder.load(record), kind.as_pointer()), [record, start, rows])

    return types.intp(table, types.intp, types.intp, types.intp), emit


def _constant(value):
    return ir.Constant(ir.IntType(64), value)


# The readers of a record are intrinsics so that nothing is compiled anew for each place that they are asked for.


def _word(builder, record, at):
    """The word at a place counted from the record."""
    return builder.load(builder.gep(record, [at]))


def _integer(builder, record, j):
    start = builder.mul(_word(builder, record, _constant(1)), _constant(3))
    return _word(builder, record, builder.add(builder.add(start, _constant(OPERANDS)), j))


def _place(builder, record, i, start):
    at = builder.add(builder.mul(i, _constant(3)), _constant(OPERANDS))
    buffer, offset, advance = (_word(builder, record, builder.add(at, _constant(n))) for n in range(3))
    moved = builder.add(offset, builder.mul(start, advance))
    return builder.add(_word(builder, record, buffer), moved)


def _array(context, builder, kind, address, extents):
    """An array of a Numba type over the memory at an address."""
    view = context.make_array(kind)(context, builder)
    item = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides, step = [], item
    for extent in reversed(extents):
        strides.insert(0, step)
        step = builder.mul(step, extent)
    data = builder.inttoptr(address, view.data.type)
    context.populate_array(view, data=data, shape=extents, strides=strides, itemsize=item, meminfo=None)
    return view._getvalue()


@intrinsic
def place(typing, record, i, start):
    """The address of operand i, from row `start` on.

    Its words: where its buffer's address stands, counted from the record; then, in bytes, how far into the buffer it
    begins, and by how much a row of the batch advances it.
    """
    return types.intp(record, types.intp, types.intp), lambda _, builder, __, given: _place(builder, *given)


@intrinsic
def array(typing, dtype, address, shape):
    """The memory from an address on as a C-contiguous array."""
    made = types.Array(dtype.instance_type, len(shape), "C")

    def emit(context, builder, signature, arguments):
        extents = cgutils.unpack_tuple(builder, arguments[2])
        return _array(context, builder, made, arguments[1], extents)

    return made(dtype, types.intp, types.UniTuple(types.intp, len(shape))), emit


@intrinsic
def vector(typing, dtype, record, i, start, size):
    """Operand i as an array of one axis."""
    made = types.Array(dtype.instance_type, 1, "C")

    def emit(context, builder, signature, arguments):
        _, record, i, start, size = arguments
        return _array(context, builder, made, _place(builder, record, i, start), [size])

    return made(dtype, record, types.intp, types.intp, types.intp), emit


@intrinsic
def matrix(typing, dtype, record, i, start, rows, columns):
    """Operand i as an array of two axes."""
    made = types.Array(dtype.instance_type, 2, "C")

    def emit(context, builder, signature, arguments):
        _, record, i, start, rows, columns = arguments
        return _array(context, builder, made, _place(builder, record, i, start), [rows, columns])

    return made(dtype, record, types.intp, types.intp, types.intp, types.intp), emit


@intrinsic
def integer(typing, record, j):
    """The j-th of the whole numbers."""
    return types.intp(record, types.intp), lambda _, builder, __, given: _integer(builder, *given)


@intrinsic
def extent(typing, record, j, rows):
    """A size that the j-th and the next whole number give: a part that is the same for every slice, and one for each of
    its rows."""

    def emit(context, builder, signature, arguments):
        record, j, rows = arguments
        fixed, per_row = _integer(builder, record, j), _integer(builder, record, builder.add(j, _constant(1)))
        return builder.add(fixed, builder.mul(per_row, rows))

    return types.intp(record, types.intp, types.intp), emit


@intrinsic
def bits(typing, record, j):
    """The word where the j-th entry of the whole numbers says that it stands, counted from the record."""

    def emit(context, builder, signature, arguments):
        return _word(builder, arguments[0], _integer(builder, *arguments))

    return types.intp(record, types.intp), emit


@intrinsic
def number(typing, record, j):
    """The same as a floating-point number."""

    def emit(context, builder, signature, arguments):
        word = _word(builder, arguments[0], _integer(builder, *arguments))
        return builder.bitcast(word, ir.DoubleType())

    return types.float64(record, types.intp), emit
