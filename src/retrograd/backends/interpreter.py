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

    def run(self, inputs: Arrays, results: Arrays, scalars: list[Any]) -> None:
        """One step.

        Args:
            inputs: the step's arguments, C contiguous, of the shapes and dtypes of program.inputs.
            results: arrays to fill, likewise for program.results.
            scalars: the values of program.scalars.
        """
        for operands, arrays in ((self._program.inputs, inputs), (self._program.results, results)):
            for operand, array in zip(operands, arrays, strict=True):
                self._memory[operand.buffer.number] = array.reshape(-1)
        for segment in self._program.segments:
            if not segment.rows:
                for instruction in segment.instructions:
                    self._call(instruction, scalars)
                continue
            for start in range(0, segment.rows, segment.slice_rows):
                stop = min(start + segment.slice_rows, segment.rows)
                for instruction in segment.instructions:
                    self._call(instruction, scalars, segment, start, stop)

    def threads(self) -> list[int]:
        """How many threads share the batch of each segment."""
        return [1] * len(self._program.segments)

    def _call(self, instruction: Any, scalars: list[Any], segment: Any = None, start: int = 0, stop: int = 0) -> None:
        rules = segment.row_rules[instruction] if segment else None

        def view(operand: Any, key: str | int) -> np.ndarray:
            memory = self._memory[operand.buffer.number]
            if rules is None or key not in rules.sliced:
                return operand.of(memory)
            axis = rules.sliced[key]
            skip = 0 if operand.buffer.number in segment.local else start * operand.strides[axis]
            shape = (*operand.shape[:axis], stop - start, *operand.shape[axis + 1 :])
            return operand._replace(offset=operand.offset + skip, shape=shape).of(memory)

        def given(value: Any, name: str) -> Any:
            if hasattr(value, "buffer"):
                return view(value, name)
            if hasattr(value, "number"):
                return scalars[value.number]
            if isinstance(value, tuple) and any(hasattr(v, "buffer") for v in value):
                return tuple(given(v, name) for v in value)
            return value

        kernel = TABLE[instruction.kernel]
        function = self._table.get(kernel.name, kernel.reference)
        made = function(**{name: given(value, name) for name, value in instruction.arguments.items()})
        values = made if isinstance(made, tuple) else (made,)
        for n, (output, value) in enumerate(zip(instruction.outputs, values, strict=False)):
            if output is None:
                continue
            target = view(output, n)
            if rules is not None and n in rules.summed and start > 0:
                with np.errstate(all="ignore"):  # as in kernels
                    target += value
            else:
                target[...] = value
