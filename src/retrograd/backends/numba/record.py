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

from .jit import inlined

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


@intrinsic
def array(typing, dtype, address, shape):
    """The memory from an address on as a C-contiguous array."""
    element = dtype.instance_type
    made = types.Array(element, len(shape), "C")

    def emit(context, builder, signature, arguments):
        _, address, shape = arguments
        view = context.make_array(made)(context, builder)
        item = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(element)))
        extents = cgutils.unpack_tuple(builder, shape)
        strides, step = [], item
        for extent in reversed(extents):
            strides.insert(0, step)
            step = builder.mul(step, extent)
        data = builder.inttoptr(address, view.data.type)
        context.populate_array(view, data=data, shape=extents, strides=strides, itemsize=item, meminfo=None)
        return view._getvalue()

    return made(dtype, types.intp, types.UniTuple(types.intp, len(shape))), emit


@intrinsic
def _as_number(typing, word):
    """The floating-point number whose bits a word holds."""

    def emit(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.intp), emit


@inlined
def place(record, i, start):
    """The address of operand i, from row `start` on.

    Its words: where its buffer's address stands, counted from the record; then, in bytes, how far into the buffer it
    begins, and by how much a row of the batch advances it.
    """
    word = OPERANDS + 3 * i
    return record[record[word]] + record[word + 1] + start * record[word + 2]


@inlined
def vector(dtype, record, i, start, size):
    """Operand i as an array of one axis."""
    return array(dtype, place(record, i, start), (size,))


@inlined
def matrix(dtype, record, i, start, rows, columns):
    """Operand i as an array of two axes."""
    return array(dtype, place(record, i, start), (rows, columns))


@inlined
def integer(record, j):
    """The j-th of the whole numbers."""
    return record[OPERANDS + 3 * record[1] + j]


@inlined
def extent(record, j, rows):
    """A size that the j-th and the next whole number give: a part that is the same for every slice, and one for each of
    its rows."""
    return integer(record, j) + integer(record, j + 1) * rows


@inlined
def bits(record, j):
    """The word where the j-th entry of the whole numbers says that it stands, counted from the record."""
    return record[integer(record, j)]


@inlined
def number(record, j):
    """The same as a floating-point number."""
    return _as_number(bits(record, j))
