"""Pass: calls that one kernel can do together become one call.

Each rewrite is a function from a program to whether it changed something; `fuse` applies them until none does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.activation import FROM_OUTPUT
from ..kernels.spec import TABLE
from .ir import CONSTANT, TEMPORARY, Instruction, Operand, Program, Scalar


def fuse(program: Program) -> None:
    """Rewrite the program in place, to a fixed point."""
    while any([rewrite(program) for rewrite in REWRITES]):
        pass


def _fold_constants(program: Program) -> bool:
    """A call on constants alone is made now. Only small ones: a program should not carry large tables."""
    for n, instruction in enumerate(program.instructions):
        given = list(instruction.operands())
        if (
            instruction.writes
            or not given
            or len(instruction.outputs) != 1
            or any(o.buffer.role != CONSTANT for o in given)
            or any(isinstance(v, Scalar) for v in instruction.arguments.values())
        ):
            continue
        output = instruction.outputs[0]
        if output is None or output.buffer.role != TEMPORARY or output.size > 64:
            continue
        if not _only_read_after(program, n + 1, output):
            continue
        values = {name: _constant(value) for name, value in instruction.arguments.items()}
        made = np.ascontiguousarray(TABLE[instruction.kernel].reference(**values), output.dtype)
        output.buffer.role, output.buffer.array = CONSTANT, made.reshape(output.shape)
        del program.instructions[n]
        return True
    return False


def _constant(value: Any) -> Any:
    """An argument of a call on constants: arrays in place of operands."""
    if isinstance(value, Operand):
        return value.of(value.buffer.array.reshape(-1))
    return tuple(map(_constant, value)) if isinstance(value, tuple) else value


def _is_one(operand: Operand) -> bool:
    if operand.buffer.role != CONSTANT or operand.size != 1:
        return False
    return float(operand.buffer.array.flat[operand.offset]) == 1.0


def _drop_identity(program: Program) -> bool:
    """x * 1 is x: the cotangent that a backward pass starts from is a one."""
    for n, instruction in enumerate(program.instructions):
        if instruction.kernel != "multiply":
            continue
        a, b = instruction.arguments["a"], instruction.arguments["b"]
        kept = a if _is_one(b) else b if _is_one(a) else None
        output = instruction.outputs[0]
        if kept is None or output is None or kept.shape != output.shape or kept.dtype != output.dtype:
            continue
        if output.buffer.role != TEMPORARY or not kept.contiguous or not _only_read_after(program, n, kept):
            continue
        del program.instructions[n]
        _replace(program, output, kept)
        return True
    return False


def _only_read_after(program: Program, n: int, operand: Operand) -> bool:
    """Whether no call from n on changes the operand's buffer."""
    number = operand.buffer.number
    return all(o.buffer.number != number for i in program.instructions[n:] for o in i.written())


def _replace(program: Program, old: Operand, new: Operand) -> None:
    """Read `new` wherever a view of `old`'s whole buffer was read; both contiguous."""

    def swap(value: object) -> object:
        if isinstance(value, Operand):
            if value.buffer is old.buffer:
                return value._replace(buffer=new.buffer, offset=value.offset + new.offset)
            return value
        if isinstance(value, tuple):
            return tuple(swap(v) for v in value)
        return value

    for instruction in program.instructions:
        instruction.arguments = {k: swap(v) for k, v in instruction.arguments.items()}
        instruction.writes = tuple(swap(w) for w in instruction.writes)  # type: ignore[misc]


def _readers(program: Program, operand: Operand) -> list[Instruction]:
    number = operand.buffer.number
    return [i for i in program.instructions if any(o.buffer.number == number for o in (*i.operands(), *i.written()))]


def _product_with_activation(program: Program) -> bool:
    """linear_forward without activation, and an activation of what it makes: one call, which keeps what the activation
    was taken of where something else reads that."""
    for product in program.instructions:
        if product.kernel != "linear_forward" or product.arguments.get("activation", "identity") != "identity":
            continue
        z = product.outputs[0]
        if z is None:
            continue
        readers = [i for i in _readers(program, z) if i is not product]
        activation = next((i for i in readers if i.kernel == "activation_forward" and i.arguments["x"] == z), None)
        if activation is None or any(o.buffer is z.buffer for i in readers for o in i.written()):
            continue
        kept = product.outputs if len(readers) > 1 or z.buffer.role != TEMPORARY else ()
        product.arguments.update({name: v for name, v in activation.arguments.items() if name != "x"})
        product.arguments["need_z"] = bool(kept)
        product.outputs = activation.outputs + kept
        program.instructions.remove(activation)
        return True
    return False


def _gradient_with_activation(program: Program) -> bool:
    """An activation's backward, read by linear_backward alone: one call."""
    for activation in program.instructions:
        if activation.kernel != "activation_backward":
            continue
        d = activation.outputs[0]
        if d is None or d.buffer.role != TEMPORARY:
            continue
        readers = [i for i in _readers(program, d) if i is not activation]
        if len(readers) != 1 or readers[0].kernel != "linear_backward":
            continue
        product = readers[0]
        saved = activation.arguments["saved"]
        if (
            product.arguments["g"] != d
            or product.arguments.get("activation", "identity") != "identity"
            or not saved.contiguous
        ):
            continue
        product.arguments.update(activation.arguments)
        program.instructions.remove(activation)
        return True
    return False


def _gradient_through_activation(program: Program) -> bool:
    """A layer's dx, read by linear_backward of the layer that made x alone: the derivative of that one's activation, a
    function of x, is applied where dx is made, and not in a pass of its own."""
    for below in program.instructions:
        given = below.arguments
        if below.kernel != "linear_backward" or given.get("activation") not in FROM_OUTPUT[1:]:
            continue
        g = given["g"]
        readers = [i for i in _readers(program, g) if i is not below]
        if len(readers) != 1 or readers[0].kernel != "linear_backward" or g.buffer.role != TEMPORARY:
            continue
        above = readers[0].arguments
        if readers[0].outputs[0] != g or above["x"] != given["saved"] or not above["x"].contiguous:
            continue
        above.update(x_activation=given["activation"], x_alpha=given.get("alpha", 0.0))
        given.update(activation="identity", saved=None)
        return True
    return False


REWRITES = (
    _fold_constants,
    _drop_identity,
    _product_with_activation,
    _gradient_with_activation,
    _gradient_through_activation,
)
