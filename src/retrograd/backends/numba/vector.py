"""Vectors as wide as the processor's registers, for the loops that LLVM does not vectorize by itself.

Offsets count elements and are not checked; arrays are C-contiguous with one axis.
"""

from __future__ import annotations

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

BYTES = 64 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 32
"""The size of a vector; where registers are smaller, LLVM uses several."""


class Vector(types.Type):
    """Numba's type of a vector of floating-point numbers."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(f"Vector({dtype}, {BYTES} bytes)")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector: Vector) -> None:
        element = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, BYTES * 8 // vector.dtype.bitwidth))


def _pointer(context, builder, array_type: types.Array, array, offset):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


@intrinsic
def load(typing, array, offset):
    """The vector that starts at an offset of an array."""
    vector = Vector(array.dtype)

    def emit(context, builder, signature, arguments):
        at = _pointer(context, builder, array, *arguments)
        at = builder.bitcast(at, context.get_value_type(vector).as_pointer())
        return builder.load(at, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), emit


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
