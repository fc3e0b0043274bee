"""Pass: of calls that calculate the same, the first is kept, and the others' results are read from its own.

Derivatives of derivatives repeat themselves: each rule works out what it needs, and rules of one operand need the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

from .ir import CONSTANT, TEMPORARY, Buffer, Instruction, Operand, Program, Scalar, c_strides

COMPARED = 64
"""Constants of up to so many elements are the same where their values are; larger ones where their memory is."""


def merge(program: Program) -> None:
    """Drop each call whose kernel, attributes and operands were met before, if nothing has changed them since."""
    written = Counter(operand.buffer for i in program.instructions for operand in i.written())
    changes: Counter[Buffer] = Counter()  # of what a call reads: how often it was written before the call
    first: dict[Hashable, Instruction] = {}
    instead: dict[Buffer, Buffer] = {}
    kept = []
    for instruction in program.instructions:
        instruction.arguments = {name: _read(value, instead) for name, value in instruction.arguments.items()}
        instruction.writes = tuple(_read(operand, instead) for operand in instruction.writes)
        twin = None
        if not instruction.writes and all(_made_once(o, written) for o in instruction.outputs):
            key = instruction.kernel, *[(n, _identity(v, changes)) for n, v in sorted(instruction.arguments.items())]
            twin = first.setdefault(key, instruction)
        if twin is None or twin is instruction:
            kept.append(instruction)
            changes.update(operand.buffer for operand in instruction.written())
        else:
            instead |= {
                mine.buffer: its.buffer
                for mine, its in zip(instruction.outputs, twin.outputs, strict=True)
                if mine is not None and its is not None
            }
    program.instructions = kept


def _made_once(output: Operand | None, written: Counter[Buffer]) -> bool:
    """Whether the output is all of a temporary that nothing else writes; an output that is left out is no obstacle."""
    if output is None:
        return True
    whole = output.offset == 0 and output.strides == c_strides(output.shape) and output.size == output.buffer.size
    return output.buffer.role == TEMPORARY and written[output.buffer] == 1 and whole


def _read(value: Any, instead: dict[Buffer, Buffer]) -> Any:
    if isinstance(value, Operand):
        return value._replace(buffer=instead.get(value.buffer, value.buffer))
    return tuple(_read(v, instead) for v in value) if type(value) is tuple else value


def _identity(value: Any, changes: Counter[Buffer]) -> Hashable:
    """What is equal for arguments that are the same in the same state of memory."""
    if isinstance(value, Operand):
        buffer, *view = value
        if buffer.role == CONSTANT and buffer.array is not None and buffer.size <= COMPARED:
            return buffer.dtype, buffer.array.tobytes(), *view
        return buffer, changes[buffer], *view
    if isinstance(value, Scalar):
        return value
    return tuple(_identity(v, changes) for v in value) if type(value) is tuple else (type(value), repr(value))
