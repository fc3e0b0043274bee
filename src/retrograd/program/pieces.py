"""Loading a Program: whole where the backend in force runs all of its calls, else in pieces.

A call that the backend has no compiled form for (a sort, a decomposition of a matrix) runs as a kernel by itself,
between pieces that run as one. What goes from piece to piece is in memory of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from ..backends import registry
from ..backends.registry import Unsupported
from ..kernels.spec import Array
from .ir import HELD, TEMPORARY, Buffer, Instruction, Operand, Program, Segment
from .memory import plan_memory

_log = logging.getLogger("retrograd")


def load(program: Program) -> Any:
    """The program as the backend in force runs it: an object with run(inputs, results, scalars), threads() and
    `reason`, what stands in the way of running it in one call, or ""."""
    apart: dict[Instruction, str] = {}
    while True:
        pieces = _divide(program, apart)
        try:
            loaded = [(registry.interpret if piece.apart else registry.load_program)(piece.program) for piece in pieces]
        except Unsupported as reason:
            origin = {copy: i for piece in pieces for copy, i in piece.origin.items()}
            if reason.instruction not in origin:
                return _explained(registry.interpret(program), "calls its kernels one by one", [str(reason)])
            apart[origin[reason.instruction]] = str(reason)
        else:
            if len(pieces) == 1:
                return _explained(loaded[0], "calls its kernels one by one", apart.values())
            return _explained(Pieces(program, pieces, loaded), f"runs in {len(pieces)} pieces", apart.values())


def _explained(loaded: Any, how: str, lacking: Collection[str]) -> Any:
    loaded.reason = ""
    if lacking:
        without = ", ".join(dict.fromkeys(lacking))
        loaded.reason = f"it {how}: programs on the backend {registry.current()} do without {without}"
        _log.debug("compiled step: %s", loaded.reason)
    return loaded


class Piece(NamedTuple):
    """Some segments of a program, as a program.

    Attributes:
        apart: whether the backend has no compiled form for it.
        segments: their numbers in the whole.
        origin: its instructions → those of the whole.
    """

    program: Program
    apart: bool
    segments: list[int]
    origin: dict[Instruction, Instruction]


class Pieces:
    """A loaded program that runs piece by piece."""

    def __init__(self, program: Program, pieces: list[Piece], loaded: list[Any]) -> None:
        self._count = len(program.segments)
        self._loaded = [(one, piece.segments) for one, piece in zip(loaded, pieces, strict=True)]

    def run(self, inputs: list[Array], results: list[Array], scalars: list[Any]) -> None:
        """One step: see Interpreter.run."""
        for loaded, _ in self._loaded:
            loaded.run(inputs, results, scalars)

    def threads(self) -> list[int]:
        """How many threads share the batch of each segment."""
        counts = [1] * self._count
        for loaded, segments in self._loaded:
            for number, count in zip(segments, loaded.threads(), strict=True):
                counts[number] = max(counts[number], count)
        return counts


def _divide(program: Program, apart: dict[Instruction, str]) -> list[Piece]:
    """The program cut where calls stand that run apart: each by itself, but for one on slices of the batch, with which
    all of its segment goes."""
    if not apart:
        return [Piece(program, False, list(range(len(program.segments))), {i: i for i in program.instructions})]
    runs: list[tuple[bool, list[tuple[int, Segment]]]] = []
    for number, segment in enumerate(program.segments):
        for part in [segment] if segment.rows else _cut(segment, apart):
            alone = not apart.keys().isdisjoint(part.instructions)
            if not runs or runs[-1][0] != alone:
                runs.append((alone, []))
            runs[-1][1].append((number, part))
    where: dict[int, set[int]] = {}
    for n, (_, parts) in enumerate(runs):
        for buffer in (b for _, part in parts for b in _temporaries(part)):
            where.setdefault(buffer.number, set()).add(n)
    between = {number for number, touched in where.items() if len(touched) > 1}
    held = {b.number: _held(b) for b in program.buffers if b.number in between}
    return [_piece(program, alone, parts, held) for alone, parts in runs]


def _cut(segment: Segment, apart: dict[Instruction, str]) -> list[Segment]:
    parts: list[Segment] = []
    last = None
    for instruction in segment.instructions:
        if last is None or (instruction in apart) != last:
            parts.append(Segment([]))
            last = instruction in apart
        parts[-1].instructions.append(instruction)
    return parts


def _temporaries(segment: Segment) -> list[Buffer]:
    operands = [o for i in segment.instructions for o in (*i.operands(), *i.written())]
    return [o.buffer for o in operands if o.buffer.role == TEMPORARY]


def _held(buffer: Buffer) -> Buffer:
    return Buffer(buffer.number, buffer.size, buffer.dtype, HELD, np.empty(buffer.size, buffer.dtype))


def _piece(program: Program, apart: bool, parts: list[tuple[int, Segment]], held: dict[int, Buffer]) -> Piece:
    """The segments as a program, over temporaries of its own but for those that are `held`."""
    own = [Buffer(b.number, b.size, b.dtype, TEMPORARY) if b.role == TEMPORARY else b for b in program.buffers]
    buffers = [held.get(b.number, b) for b in own]

    def moved(value: Any) -> Any:
        if isinstance(value, Operand):
            return value._replace(buffer=buffers[value.buffer.number])
        if isinstance(value, tuple):
            return tuple(map(moved, value))
        return value

    def rewritten(i: Instruction) -> Instruction:
        arguments = {name: moved(value) for name, value in i.arguments.items()}
        return Instruction(i.kernel, arguments, moved(i.outputs), moved(i.writes))

    copies = {i: rewritten(i) for _, part in parts for i in part.instructions}
    segments = []
    for _, part in parts:
        rules = {copies[i]: rows for i, rows in part.row_rules.items()}
        segments.append(Segment([copies[i] for i in part.instructions], part.rows, part.slice_rows, rules))
        segments[-1].local = {number: buffers[number] for number in part.local}
    piece = Program([], buffers, program.inputs, program.results, program.scalars)
    piece.segments = segments
    plan_memory(piece)
    return Piece(piece, apart, [number for number, _ in parts], {copy: i for i, copy in copies.items()})
