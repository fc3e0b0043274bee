"""Pass: what no result, parameter or state needs, goes."""

from __future__ import annotations

from .ir import TEMPORARY, Instruction, Program

_OPTIONAL = {
    "linear_forward": (None, "need_z"),
    "linear_backward": ("need_x", "need_w", "need_b"),
    **{name: (None, "need_grad") for name in ("mse_loss", "l1_loss", "huber_loss")},
    **{name: (None, "need_grad") for name in ("bce_with_logits_loss", "cross_entropy_loss")},
}
"""Kernels that can leave outputs out, and the attribute that says so for each output."""


def prune(program: Program) -> None:
    """Drop the calls, and the outputs of calls, that nothing reads: backwards, from what outlives the step."""
    needed: set[int] = {operand.buffer.number for operand in program.results}
    kept: list[Instruction] = []
    for instruction in reversed(program.instructions):
        lasting = any(o.buffer.role != TEMPORARY or o.buffer.number in needed for o in instruction.written())
        if not lasting:
            continue
        optional = _OPTIONAL.get(instruction.kernel, ())
        for i, (output, attribute) in enumerate(zip(instruction.outputs, optional, strict=False)):
            if attribute and output and output.buffer.role == TEMPORARY and output.buffer.number not in needed:
                instruction.arguments[attribute] = False
                instruction.outputs = (*instruction.outputs[:i], None, *instruction.outputs[i + 1 :])
        needed.update(operand.buffer.number for operand in instruction.operands())
        kept.append(instruction)
    program.instructions = kept[::-1]
