"""Pass: buffers whose lives do not overlap share one arena."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .ir import TEMPORARY, Buffer, Instruction, Program

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector."""

TOGETHER = frozenset({"sgd_update", "adam_update", "rmsprop_update", "gradient_sums", "update_sums"})
"""Kernels of which a backend may run neighbouring calls together, each thread its share of all of them."""

Life = tuple[Buffer, int, int, int]
"""A buffer, its bytes, and the first and last call that touches it."""


def plan_memory(program: Program, share: bool = True) -> None:
    """Give each temporary its place: in the arena, or, if it holds one slice of the batch at a time, in the slice
    arena, of which every thread has its own.

    Args:
        program: changed in place: `place` of its temporaries, `arena_bytes` and `slice_bytes`.
        share: whether memory is used again; without, each has a place of its own.
    """
    local = {number for segment in program.segments for number in segment.local}
    lives = _lives(_times(program))
    program.arena_bytes = _place([(b, b.nbytes, f, t) for b, f, t in lives if b.number not in local], share)
    program.slice_bytes = 0
    for segment in program.segments:
        slices = [
            (b, b.nbytes // segment.rows * segment.slice_rows, f, t)
            for b, f, t in _lives(enumerate(segment.instructions))
            if b.number in segment.local
        ]
        program.slice_bytes = max(program.slice_bytes, _place(slices, share))


def _times(program: Program) -> Iterator[tuple[int, Instruction]]:
    """When each call runs: those of a segment over slices all at one time, since a sum that one of them adds to lasts
    from the first slice to the last, and neighbours of those that run TOGETHER."""
    time = 0
    for segment in program.segments:
        time += 1
        before = ""
        for instruction in segment.instructions:
            time += not segment.rows and not TOGETHER.issuperset((before, instruction.kernel))
            before = instruction.kernel
            yield time, instruction


def _lives(times: Iterable[tuple[int, Instruction]]) -> list[tuple[Buffer, int, int]]:
    lives: dict[int, tuple[Buffer, int, int]] = {}
    for time, instruction in times:
        for operand in (*instruction.operands(), *instruction.written()):
            buffer = operand.buffer
            if buffer.role == TEMPORARY:
                first = lives[buffer.number][1] if buffer.number in lives else time
                lives[buffer.number] = (buffer, first, time)
    return list(lives.values())


def _place(lives: list[Life], share: bool) -> int:
    """Place the largest first, each at the lowest free place (Pisarchyk and Lee, Efficient Memory Management for Deep
    Neural Net Inference, arXiv:2001.03288, "greedy by size"); returns the bytes needed."""
    placed: list[Life] = []
    total = 0
    for buffer, nbytes, first, last in sorted(lives, key=lambda life: -life[1]):
        start = 0
        beside = [life for life in placed if not share or (life[2] <= last and first <= life[3])]
        for other, other_bytes, _, _ in sorted(beside, key=lambda life: life[0].place):
            if start + nbytes <= other.place:
                break
            start = max(start, _aligned(other.place + other_bytes))
        buffer.place = start
        placed.append((buffer, nbytes, first, last))
        total = max(total, _aligned(start + nbytes))
    return total


def _aligned(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT
