"""Compiled steps: a Program as one generated function, which runs a table of records (see record).

The function's text holds the order of the calls and the loops over slices of the batch; shapes, strides and addresses
are in the table. So a program of other shapes is the same text, and the machine code of it is made once.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ...kernels.spec import Array
from ..interpreter import Arrays
from . import generated, parallel
from .lowering import LEAST_ROWS, Lowering
from .steps import add_sums, begin_step, run_segment, run_steps

_NO_ORDER = np.empty(0, np.int64)


class Entry:
    """See Entry of the C backend."""

    def __init__(self, loaded: CompiledProgram) -> None:
        self.loaded = loaded
        self.function = generated.stepper()
        self.step = loaded.table.ctypes.data
        self.addresses = self.step + loaded.table.itemsize  # after the first record's code
        self.prepare, self.failure = loaded.prepare, loaded.failure


class CompiledProgram:
    """A loaded program.

    Attributes:
        source: the text of the function that runs it, and of the loops that it calls.
        table: what that works on.

    Raises:
        Unsupported: there is a call in it that cannot be compiled.
    """

    def __init__(self, program: Any) -> None:
        self._lowered = lowered = Lowering(program)
        self.source = lowered.source
        self._segments = len(program.segments)
        self.table = lowered.table
        self._words = self.table.data  # its buffer, to pack scalars into
        self._scalars = struct.Struct(lowered.scalar_format)
        self._scalars_at = lowered.scalars_at
        self._inputs, self._results = program.inputs, program.results
        self._launch = generated.launcher(tuple((o.dtype, o.ndim) for o in (*program.inputs, *program.results)))
        self._others: list[Array] = []  # the tables of other threads
        summed = {int(target) for segment in lowered.shared for target in segment.sums[:, 0]}
        given = range(1, lowered.scalars_at + len(program.scalars))
        self._given = np.array([word for word in given if word not in summed], np.int64)  # what they share

    def run(self, inputs: Arrays, results: Arrays, scalars: list[Any]) -> None:
        """One step; see Interpreter.run.

        Raises:
            IndexError: an index that the step reads is out of range; the step ends there.
        """
        self._scalars.pack_into(self._words, self._scalars_at * 8, *scalars)
        if self._lowered.shared and parallel.get_num_threads() > 1:
            self.table[1 : self._scalars_at] = [a.ctypes.data for a in (*inputs, *results)]
            failed = self._run_shared()
        else:
            failed = self._launch(self.table, *inputs, *results)
        if failed:
            raise self.failure(failed)

    def entry(self) -> Entry | None:
        """This program's step for callers in C; None where Python has threads share it."""
        return None if self._lowered.shared and parallel.get_num_threads() > 1 else Entry(self)

    def prepare(self, results: Arrays, scalars: list[Any]) -> None:
        """Have a step of the entry write and read these; run() and run_steps() put others in their place."""
        self._scalars.pack_into(self._words, self._scalars_at * 8, *scalars)
        self.table[1 + len(self._inputs) : self._scalars_at] = [a.ctypes.data for a in results]

    def failure(self, failed: int) -> Exception:
        """What a step that returned this raises."""
        kernel, row = self._lowered.checks[failed & 0xFFFFFFFF], (failed >> 32) - 1
        return IndexError(f"{kernel}: the index of row {row} is out of range")

    def threads(self) -> list[int]:
        """How many threads share the batch of each segment."""
        shared = {segment.number: segment.rows // LEAST_ROWS for segment in self._lowered.shared}
        return [min(parallel.get_num_threads(), shared.get(n + 1, 1)) for n in range(self._segments)]

    def _run_shared(self) -> int:
        """What the table is ready for, with the segments that are worth it on several threads."""
        table, threads = self.table, parallel.get_num_threads()
        while len(self._others) < threads - 1:
            self._others.append(self._lowered.another_table())
        shared = {segment.number: segment for segment in self._lowered.shared}
        for number in range(1, self._lowered.segments + 1):
            segment = shared.get(number)
            if segment is None:
                failed = run_segment(table, number)
            else:
                parts = min(threads, segment.rows // LEAST_ROWS)
                tables = [table, *self._others[: parts - 1]]
                for i, own in enumerate(tables):
                    own[self._given] = table[self._given]
                    own[list(segment.bounds)] = segment.rows * i // parts, segment.rows * (i + 1) // parts
                failed = max(parallel.together(run_segment, [(own, number) for own in tables]))
                for other in tables[1:]:
                    add_sums(table, other, segment.sums)
                table[list(segment.bounds)] = 0, segment.rows
            if failed:
                return failed
        return 0

    def run_steps(
        self, arrays: Arrays, order: Array | None, first: int, scalars: list[list[Any]], losses: Array
    ) -> None:
        """Many steps, on batches of rows of `arrays`, in one call.

        Args:
            arrays: the data for each of the step's arguments: C contiguous, of their dtypes and shapes but for the
                first axis, which is the batch in an argument and has all rows here.
            order: int64, 1-d, contiguous; the rows of the first batch, of the second and so on. None: those from row
                `first` on, in order.
            first: not read where order is given.
            scalars: the values of program.scalars for each step, or of all steps in one list.
            losses: 1-d, of the dtype of the first result, which has one element; filled with that of each step.

        Raises:
            ValueError: a row is not in the arrays; no step is done.
            IndexError: as run().
        """
        batch, rows, steps = self._inputs[0].shape[0], min(map(len, arrays)), len(losses)
        fits = first + steps * batch <= rows if order is None else order.min() >= 0 and order.max() < rows
        if not fits:
            raise ValueError(f"compiled steps: a row of {steps} batches of {batch} is not in arrays of {rows} rows")
        numbers = np.empty((len(scalars), self._scalars.size // 8), np.int64)
        for row, values in zip(numbers, scalars, strict=True):
            self._scalars.pack_into(row.data, 0, *values)
        gathered = [np.empty(o.shape, o.dtype) for o in self._inputs]
        inputs = np.array(
            [(a.ctypes.data, g.nbytes // batch, g.ctypes.data) for a, g in zip(arrays, gathered, strict=True)], np.int64
        )
        unread = [np.empty(o.shape, o.dtype) for o in self._results]
        loss_at = 1 + len(self._inputs)
        self.table[loss_at : self._scalars_at] = [r.ctypes.data for r in unread]
        order = _NO_ORDER if order is None else order
        given = (inputs, order, first, batch, self._scalars_at, numbers, losses, loss_at)
        if self._lowered.shared and parallel.get_num_threads() > 1:
            for s in range(steps):
                begin_step(self.table, s, *given)
                failed = self._run_shared()
                if failed:
                    break
        else:
            failed = run_steps(self.table, *given)
        if failed:
            raise self.failure(failed)
