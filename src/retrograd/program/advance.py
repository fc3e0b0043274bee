"""Pass: an optimizer's update of a layer's weights goes right after the call that makes their gradient.

There a backend can update each piece of the weights while its gradient is in the registers or the nearest cache, and a
gradient that nobody else reads need not be stored.
"""

from __future__ import annotations

from .ir import Instruction, Program
from .tile import conflict

UPDATES = frozenset({"sgd_update", "adam_update", "rmsprop_update"})

FALLIBLE = frozenset({"take_along_axis", "add_along_axis"})
"""Kernels that stop the step at an index out of range; before them nothing must have been updated."""


def advance(program: Program) -> None:
    """Move the updates ahead of what does not depend on them, within the segments whose calls run whole."""
    for segment in program.segments:
        if not segment.rows:
            for update in [i for i in segment.instructions if i.kernel in UPDATES]:
                _advance(segment.instructions, update)
    program.instructions = [i for segment in program.segments for i in segment.instructions]


def _advance(instructions: list[Instruction], update: Instruction) -> None:
    n = instructions.index(update)
    for m in reversed(range(n)):
        if _makes_gradient(instructions[m], update):
            instructions.insert(m + 1, instructions.pop(n))
            return
        reads = {o.buffer.number for o in update.operands()}
        writes = {o.buffer.number for o in update.written()}
        if instructions[m].kernel in FALLIBLE or conflict(reads, writes, [instructions[m]]):
            return


def _makes_gradient(call: Instruction, update: Instruction) -> bool:
    p, g = update.arguments["p"], update.arguments["g"]
    return call.kernel == "linear_backward" and call.outputs[1] == g and call.arguments["w"] == p
