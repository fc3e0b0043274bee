"""Running a Program by calling a backend's kernels one after the other: the reference for every other way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.spec import TABLE

Arrays = list[Any]


class Interpreter:
    """A loaded program.

    Args:
        program: after its passes (a retrograd.program.Program).
        table: the backend's kernels, by name; the reference stands in for those it lacks.
    """

    def __init__(self, program: Any, table: dict[str, Callable[..., Any]]) -> None:
        self._program = program
        self._table = table
        arena, slices = np.zeros(program.arena_bytes, np.uint8), np.zeros(program.slice_bytes, np.uint8)
        self._memory: Arrays = [None] * len(program.buffers)
        local = {number for segment in program.segments for number in segment.local}
        for buffer in program.buffers:
            if buffer.array is not None:
                self._memory[buffer.number] = buffer.array.reshape(-1)
            elif buffer.place is not None:
                memory = slices if buffer.number in local else arena
                end = min(buffer.place + buffer.nbytes, memory.nbytes)
                self._memory[buffer.number] = memory[buffer.place : end].view(buffer.dtype)

        self._given: Arrays = [None] * (len(program.inputs) + len(program.results))
        self._calls = [
            _Call(self, instruction, segment, start)
            for segment in program.segments
            for start in range(0, segment.rows or 1, segment.slice_rows or 1)
            for instruction in segment.instructions
        ]
        arguments = {o.buffer.number for o in (*program.inputs, *program.results)}
        self._placed_anew = [call for call in self._calls if call.buffers & arguments]
        for call in self._calls:
            if call not in self._placed_anew:
                call.place(self._memory)

    def function(self, name: str) -> Callable[..., Any]:
        """The backend's kernel of that name, or the reference."""
        return self._table.get(name, TABLE[name].reference)

    def run(self, inputs: Arrays, results: Arrays, scalars: list[Any]) -> None:
        """One step.

        Args:
            inputs: the step's arguments, C contiguous, of the shapes and dtypes of program.inputs.
            results: arrays to fill, likewise for program.results.
            scalars: the values of program.scalars.
        """
        operands, moved = (*self._program.inputs, *self._program.results), False
        for n, array in enumerate((*inputs, *results)):
            if array is not self._given[n]:
                self._memory[operands[n].buffer.number] = array.reshape(-1)
                self._given[n], moved = array, True
        if moved:
            for call in self._placed_anew:
                call.place(self._memory)
        for call in self._calls:
            call.run(scalars)

    def threads(self) -> list[int]:
        """How many threads share the batch of each segment."""
        return [1] * len(self._program.segments)


class _Call:
    """An instruction, or what of it works on one slice of the batch.

    Attributes:
        buffers: the numbers of those that it reads or writes.
    """

    def __init__(self, interpreter: Interpreter, instruction: Any, segment: Any, start: int) -> None:
        self._function = interpreter.function(instruction.kernel)
        self._instruction = instruction
        self._rules = segment.row_rules[instruction] if segment.rows else None
        self._local, self._start = segment.local, start
        self._rows = min(segment.slice_rows, segment.rows - start)
        self._arguments: dict[str, Any] = {}
        self._scalars = [(k, v.number) for k, v in instruction.arguments.items() if hasattr(v, "number")]
        self.buffers = {o.buffer.number for o in (*instruction.operands(), *instruction.written())}
        self._outputs: list[tuple[np.ndarray, bool] | None] = []

    def place(self, memory: Arrays) -> None:
        """Find the operands in the buffers' memory."""

        def view(operand: Any, key: str | int) -> np.ndarray:
            place = memory[operand.buffer.number]
            if self._rules is None or key not in self._rules.sliced:
                return operand.of(place)
            axis = self._rules.sliced[key]
            skip = 0 if operand.buffer.number in self._local else self._start * operand.strides[axis]
            shape = (*operand.shape[:axis], self._rows, *operand.shape[axis + 1 :])
            return operand._replace(offset=operand.offset + skip, shape=shape).of(place)

        def given(value: Any, name: str) -> Any:
            if hasattr(value, "buffer"):
                return view(value, name)
            if isinstance(value, tuple) and any(hasattr(v, "buffer") for v in value):
                return tuple(given(v, name) for v in value)
            return value

        self._arguments = {name: given(value, name) for name, value in self._instruction.arguments.items()}
        for name, step in self._rules.counted.items() if self._rules else ():
            self._arguments[name] = self._arguments.get(name, 0) + self._start * step
        summed = self._rules.summed if self._rules and self._start else ()
        self._outputs = [o and (view(o, n), n in summed) for n, o in enumerate(self._instruction.outputs)]

    def run(self, scalars: list[Any]) -> None:
        for name, number in self._scalars:
            self._arguments[name] = scalars[number]
        made = self._function(**self._arguments)
        for output, value in zip(self._outputs, made if isinstance(made, tuple) else (made,), strict=False):
            if output is None:
                continue
            target, adds = output
            if adds:
                with np.errstate(all="ignore"):  # as in kernels
                    target += value
            else:
                target[...] = value
