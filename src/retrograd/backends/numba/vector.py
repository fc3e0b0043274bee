"""Vectors as wide as the processor's registers, for the loops that LLVM does not vectorize by itself.

Offsets count elements and are not checked; arrays are C-contiguous with one axis.
"""

from __future__ import annotations

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

BYTES = 64 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 32
"""The size of a register; where they are smaller, LLVM uses several."""

PAIR = BYTES // 32
"""How many registers wide the widest vectors are: half of the processor's registers hold eight of them."""


class Vector(types.Type):
    """Numba's type of a vector of floating-point numbers."""

    def __init__(self, dtype: types.Float, registers: int = 1) -> None:
        self.dtype = dtype
        self.lanes = registers * BYTES * 8 // dtype.bitwidth
        super().__init__(f"Vector({dtype}, {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector: Vector) -> None:
        element = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


def _pointer(context, builder, array_type: types.Array, array, offset):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


@intrinsic
def load(typing, array, offset, registers):
    """The vector of one or more registers, a number that must be written as such, that starts at an offset."""
    if not isinstance(registers, types.IntegerLiteral):
        return None
    vector = Vector(array.dtype, registers.literal_value)

    def emit(context, builder, signature, arguments):
        return _load(context, builder, vector, array, *arguments[:2])

    return vector(array, types.intp, registers), emit


def _load(context, builder, vector, array_type, array, offset):
    at = _pointer(context, builder, array_type, array, offset)
    at = builder.bitcast(at, context.get_value_type(vector).as_pointer())
    return builder.load(at, align=vector.dtype.bitwidth // 8)


@intrinsic
def store(typing, array, offset, vector):
    """Write a vector into an array from an offset on."""

    def emit(context, builder, signature, arguments):
        at = _pointer(context, builder, array, *arguments[:2])
        at = builder.bitcast(at, arguments[2].type.as_pointer())
        builder.store(arguments[2], at, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), emit


@intrinsic
def multiply_add(typing, total, array, offset, vector):
    """total + array[offset] * vector, fused where the processor can."""

    def emit(context, builder, signature, arguments):
        total, array_value, at, vector = arguments
        scalar = builder.load(_pointer(context, builder, array, array_value, at))
        undefined = ir.Constant(vector.type, ir.Undefined)
        index = ir.IntType(32)
        everywhere = ir.Constant(ir.VectorType(index, vector.type.count), [0] * vector.type.count)
        scalar = builder.insert_element(undefined, scalar, ir.Constant(index, 0))
        scalar = builder.shuffle_vector(scalar, undefined, everywhere)
        contract = ("contract",)
        return builder.fadd(total, builder.fmul(scalar, vector, flags=contract), flags=contract)

    return total(total, array, types.intp, vector), emit


@intrinsic
def move(typing, target, to, source, start):
    """target[to] = source[start]."""

    def emit(context, builder, signature, arguments):
        value = builder.load(_pointer(context, builder, source, *arguments[2:]))
        builder.store(value, _pointer(context, builder, target, *arguments[:2]))
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp), emit


@intrinsic
def larger(typing, a, b):
    """The larger of two vectors, lane by lane; b's lane where either is NaN."""

    def emit(context, builder, signature, arguments):
        return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)

    return a(a, b), emit


@intrinsic
def transpose(typing, target, to, target_row, source, start, source_row):
    """Write a square block, as many rows as a register has lanes, transposed: its row r stands in the source from
    start + r * source_row on, and row r of the result in the target from to + r * target_row on."""
    vector = Vector(source.dtype)

    def emit(context, builder, signature, arguments):
        target_value, to, target_row, source_value, start, source_row = arguments
        rows = []
        for _ in range(vector.lanes):
            rows.append(_load(context, builder, vector, source, source_value, start))
            start = builder.add(start, source_row)
        # what lies across the diagonal changes places: single elements, then blocks of two, of four, …
        block = 1
        while block < vector.lanes:
            for r in range(vector.lanes):
                if not r & block:
                    a, b = rows[r], rows[r + block]
                    rows[r] = _shuffled(
                        builder, a, b, [j if not j & block else j - block + vector.lanes for j in range(vector.lanes)]
                    )
                    rows[r + block] = _shuffled(
                        builder, a, b, [j + block if not j & block else j + vector.lanes for j in range(vector.lanes)]
                    )
            block *= 2
        for row in rows:
            at = _pointer(context, builder, target, target_value, to)
            builder.store(row, builder.bitcast(at, row.type.as_pointer()), align=vector.dtype.bitwidth // 8)
            to = builder.add(to, target_row)
        return context.get_dummy_value()

    return types.void(target, types.intp, types.intp, source, types.intp, types.intp), emit


def _shuffled(builder, a, b, lanes):
    """The lanes of a, and of b after them, in an order."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))
