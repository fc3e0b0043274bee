"""Pass: an optimizer's update of a layer's weights goes right after the call that makes their gradient, and the sums
that measure an update right before and after it.

There a backend can update each piece of the weights while its gradient is in the registers or the nearest cache, and a
gradient that nobody else reads need not be stored. Sums beside their update read what it reads, in the same pass.
"""

from __future__ import annotations

from .ir import Instruction, Program
from .tile import conflict

UPDATES = frozenset({"sgd_update", "adam_update", "rmsprop_update"})

FALLIBLE = frozenset({"take_along_axis", "add_along_axis", "put_along_axis", "cross_entropy_loss"})
"""Kernels that stop the step at an index out of range; before them nothing must have been updated."""


def advance(program: Program) -> None:
    """Move the updates ahead of what does not depend on them, and their sums to them, within the segments whose calls
    run whole."""
    for segment in program.segments:
        if not segment.rows:
            updates = [i for i in segment.instructions if i.kernel in UPDATES]
            for update in updates:
                _advance(segment.instructions, update)
            sums = {name: _by_parameter(segment.instructions, name) for name in ("gradient_sums", "update_sums")}
            for update in updates:
                parameter = update.arguments["p"].buffer
                _move(segment.instructions, sums["gradient_sums"].get(parameter), update)
                _move(segment.instructions, sums["update_sums"].get(parameter), update)
    program.instructions = [i for segment in program.segments for i in segment.instructions]


def _advance(instructions: list[Instruction], update: Instruction) -> None:
    n = instructions.index(update)
    for m in reversed(range(n)):
        if _makes_gradient(instructions[m], update):
            instructions.insert(m + 1, instructions.pop(n))
            return
        if instructions[m].kernel in FALLIBLE or _conflict(update, [instructions[m]]):
            return


def _makes_gradient(call: Instruction, update: Instruction) -> bool:
    p, g = update.arguments["p"], update.arguments["g"]
    return call.kernel == "linear_backward" and call.outputs[1] == g and call.arguments["w"] == p


def _conflict(call: Instruction, others: list[Instruction]) -> bool:
    reads = {o.buffer.number for o in call.operands()}
    return conflict(reads, {o.buffer.number for o in call.written()}, others)


def _by_parameter(instructions: list[Instruction], kernel: str) -> dict[object, Instruction]:
    return {i.arguments["p"].buffer: i for i in instructions if i.kernel == kernel}


def _move(instructions: list[Instruction], call: Instruction | None, update: Instruction) -> None:
    """Move a call beside the update, on the side where it is, if nothing between them forbids it."""
    if call is None:
        return
    n, m = instructions.index(call), instructions.index(update)
    between = instructions[n + 1 : m] if n < m else instructions[m + 1 : n]
    if not _conflict(call, between):
        instructions.insert(m - 1 if n < m else m + 1, instructions.pop(n))
