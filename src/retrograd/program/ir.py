"""The Program: a flat list of kernel calls over numbered buffers.

A Buffer is memory; an Operand is a strided view of one. What a step reads and writes outside itself (its inputs,
parameters, optimizer state, gradients) are buffers too, told apart by their role.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

INPUT = "input"
HELD = "held"
CONSTANT = "constant"
TEMPORARY = "temporary"
RESULT = "result"


class Buffer:
    """Memory of `size` elements.

    Attributes:
        number: its place in Program.buffers.
        size: elements; dtype: of each.
        role: INPUT (an argument of the step, new at each call), HELD (memory that lives outside: a parameter, optimizer
            state, a gradient), CONSTANT (read only, known at the trace), TEMPORARY (the step's own), or RESULT (made
            anew at each call, for what the step returns).
        array: HELD and CONSTANT: the memory; for others None.
        place: TEMPORARY, once memory is planned: the first byte in its arena.
    """

    __slots__ = ("array", "dtype", "number", "place", "role", "size")

    def __init__(self, number: int, size: int, dtype: np.dtype, role: str, array: np.ndarray | None = None) -> None:
        self.number = number
        self.size = size
        self.dtype = dtype
        self.role = role
        self.array = array
        self.place: int | None = None

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"{'%' if self.role == TEMPORARY else self.role + ' '}{self.number}"


class Operand(NamedTuple):
    """A view: element [i, j, …] stands at offset + i*strides[0] + j*strides[1] + … of the buffer, in elements."""

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return self.buffer.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.buffer.dtype.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether the elements stand in C order without gaps."""
        return self.size <= 1 or all(
            n == 1 or s == c for n, s, c in zip(self.shape, self.strides, c_strides(self.shape), strict=True)
        )

    def of(self, memory: np.ndarray) -> np.ndarray:
        """The view as an array over `memory`, the buffer's elements as one axis."""
        item = memory.itemsize
        return np.lib.stride_tricks.as_strided(
            memory[self.offset :] if self.size else memory[:0], self.shape, [s * item for s in self.strides]
        )


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of an array of this shape in C order."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def sliced(x: Operand, key: Any) -> Operand:
    """The part that a basic key (integers, slices, None, Ellipsis) takes."""
    parts = list(key) if isinstance(key, tuple) else [key]
    named = sum(1 for p in parts if p is not None and p is not Ellipsis)
    at = next((i for i, p in enumerate(parts) if p is Ellipsis), len(parts))
    parts[at : at + 1] = [slice(None)] * (x.ndim - named)
    offset, shape, strides, axis = x.offset, [], [], 0
    for part in parts:
        if part is None:
            shape.append(1)
            strides.append(0)
            continue
        n, s = x.shape[axis], x.strides[axis]
        axis += 1
        if isinstance(part, slice):
            start, stop, step = part.indices(n)
            count = len(range(start, stop, step))
            offset += start * s if count else 0
            shape.append(count)
            strides.append(s * step)
        else:
            offset += (int(part) % n) * s
    return Operand(x.buffer, offset, tuple(shape), tuple(strides))


class Scalar:
    """A number that is read anew at each call of the step: a learning rate, a step count, a random counter.

    Attributes:
        number: its place in Program.scalars.
    """

    __slots__ = ("number",)

    def __init__(self, number: int = -1) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"${self.number}"


class Instruction:
    """One kernel call.

    Attributes:
        kernel: the kernel's name.
        arguments: parameter name → Operand, tuple of Operands, None, Scalar or plain attribute.
        outputs: the operands that it makes, None where the kernel makes none.
        writes: the operands among `arguments` that it changes in place.
    """

    __slots__ = ("arguments", "kernel", "outputs", "writes")

    def __init__(
        self,
        kernel: str,
        arguments: dict[str, Any],
        outputs: tuple[Operand | None, ...],
        writes: tuple[Operand, ...] = (),
    ) -> None:
        self.kernel = kernel
        self.arguments = arguments
        self.outputs = outputs
        self.writes = writes

    def operands(self) -> Iterator[Operand]:
        """The operands among the arguments."""
        for argument in self.arguments.values():
            if isinstance(argument, Operand):
                yield argument
            elif isinstance(argument, tuple):
                yield from (a for a in argument if isinstance(a, Operand))

    def written(self) -> Iterator[Operand]:
        """Every operand that the call writes."""
        yield from (o for o in self.outputs if o is not None)
        yield from self.writes


class Rows:
    """How a call takes part in a slice of the batch.

    Attributes:
        sliced: argument name, or output number → the axis that is the batch.
        summed: the outputs that add up over the slices.
        counted: argument name → by how much that number grows with each row before the slice.
    """

    __slots__ = ("counted", "sliced", "summed")

    def __init__(
        self,
        sliced: dict[str | int, int],
        summed: tuple[int, ...] = (),
        counted: dict[str, int] = {},  # noqa: B006
    ) -> None:
        self.sliced = sliced
        self.summed = summed
        self.counted = counted


class Segment:
    """Consecutive calls that run together.

    Attributes:
        instructions: in order.
        rows: the batch that they run over in slices; 0 where each call runs whole.
        slice_rows: the rows of a slice, the last one may have fewer.
        row_rules: how each call takes part in a slice.
        local: the temporaries, by number, that hold one slice at a time.
    """

    __slots__ = ("instructions", "local", "row_rules", "rows", "slice_rows")

    def __init__(
        self,
        instructions: list[Instruction],
        rows: int = 0,
        slice_rows: int = 0,
        row_rules: dict[Instruction, Rows] | None = None,
    ) -> None:
        self.instructions = instructions
        self.rows = rows
        self.slice_rows = slice_rows
        self.row_rules = row_rules or {}
        self.local: dict[int, Buffer] = {}


class Program:
    """What a step does, for inputs of one signature.

    Attributes:
        instructions: in order of execution.
        buffers: all memory, by number.
        inputs: the step's array arguments, in order.
        results: the operands that the step returns, in order.
        scalars: numbers read at each call.
        segments: the instructions, cut into parts that run together.
        divided: what the backend that runs it does not do in one call, and why; "" where it does.
        threads: gives how many threads share the batch of each segment, of the backend that runs the program.
        workspace: what backends keep for all programs that share this dict, of which no two run at one time.
        arena_bytes: the memory that the temporaries need together; slice_bytes: what those need, for each thread, that
            hold one slice of the batch at a time.
    """

    def __init__(
        self,
        instructions: list[Instruction],
        buffers: list[Buffer],
        inputs: list[Operand],
        results: list[Operand],
        scalars: list[Scalar],
    ) -> None:
        self.instructions = instructions
        self.buffers = buffers
        self.inputs = inputs
        self.results = results
        self.scalars = scalars
        self.divided = ""
        self.workspace: dict[Any, Any] = {}
        self.threads: Callable[[], list[int]] = lambda: [1] * len(self.segments)
        self._tiled: list[Segment] = []
        self.arena_bytes = 0
        self.slice_bytes = 0

    @property
    def segments(self) -> list[Segment]:
        return self._tiled or [Segment(self.instructions)]

    @segments.setter
    def segments(self, segments: list[Segment]) -> None:
        self._tiled = segments
        self.instructions = [i for s in segments for i in s.instructions]

    def cost(self) -> Cost:
        """Floating-point operations and bytes of one step, added up over the instructions."""
        costs = [cost(i) for i in self.instructions]
        return Cost(sum(c.flops for c in costs), sum(c.bytes for c in costs))

    def __str__(self) -> str:
        rows = [("", "kernel", "operands", "flops", "bytes")]
        heads: dict[int, str] = {}  # what stands above a row
        for segment, threads in zip(self.segments, self.threads(), strict=True):
            heads[len(rows)] = _describe_segment(segment, threads)
            for instruction in segment.instructions:
                c = cost(instruction)
                number = str(len(rows) - 1)
                rows.append((number, instruction.kernel, _describe(instruction), f"{c.flops:,}", f"{c.bytes:,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = []
        for n, r in enumerate(rows):
            if n in heads:
                lines.append(heads[n])
            made = f"{r[0]:>{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]:<{widths[2]}}  {r[3]:>{widths[3]}}"
            lines.append(f"{made}  {r[4]:>{widths[4]}}")
        total = self.cost()
        lines.append(
            f"{len(self.instructions)} calls, {total.flops:,} flops, {total.bytes:,} bytes read and written, "
            f"{self.arena_bytes:,} bytes of arena, {self.slice_bytes:,} for each thread's slice"
        )
        if self.divided:
            lines.append(self.divided)
        return "\n".join(lines)


def _describe_segment(segment: Segment, threads: int) -> str:
    if not segment.rows:
        return "whole:"
    slices = f"in slices of {segment.slice_rows}" if segment.slice_rows < segment.rows else "in one slice"
    shared = f"shared out over {threads} threads, " if threads > 1 else ""
    return f"the batch of {segment.rows} rows, {shared}{slices}:"


class Cost(NamedTuple):
    """What an instruction, or a program, costs: floating-point operations, and bytes read and written."""

    flops: int
    bytes: int


def cost(instruction: Instruction) -> Cost:
    """The cost of one call; a multiply and an add count as two operations, any other function as one."""
    moved = sum(o.nbytes for o in instruction.operands()) + sum(o.nbytes for o in instruction.outputs if o is not None)
    return Cost(_flops(instruction), moved)


def _flops(instruction: Instruction) -> int:
    a = instruction.arguments
    if instruction.kernel == "matmul":
        return 2 * instruction.outputs[0].size * a["a"].shape[-1]  # type: ignore[union-attr]
    if instruction.kernel == "linear_forward":
        return instruction.outputs[0].size * (2 * a["x"].shape[1] + 2)  # type: ignore[union-attr]
    if instruction.kernel == "linear_backward":
        products = sum(o is not None for o in instruction.outputs[:2])
        return a["g"].size * (2 * a["x"].shape[1] * products + 2)
    return max((o.size for o in (*instruction.operands(), *instruction.written())), default=0)


def _describe(instruction: Instruction) -> str:
    def show(value: Any) -> str:
        if isinstance(value, Operand):
            role = "%" if value.buffer.role == TEMPORARY else f"{value.buffer.role} "
            return f"{role}{value.buffer.number}{list(value.shape)}"
        if isinstance(value, tuple):
            return "(" + ", ".join(show(v) for v in value) + ")"
        return str(value)

    made = ", ".join(show(o) for o in instruction.outputs if o is not None)
    given = ", ".join(show(v) for v in instruction.arguments.values() if v is not None)
    return f"{made} <- {given}" if made else given
