"""Compiled steps: a Program as one generated function, which runs a table of records (see record).

The function's text holds the order of the calls and the loops over slices of the batch; shapes, strides and addresses
are in the table. So a program of other shapes is the same text, and the machine code of it is made once.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from typing import Any

from ..interpreter import Arrays, Interpreter
from . import generated
from .elementwise import Unsupported
from .lowering import Lowering

_log = logging.getLogger("retrograd")


def load_program(program: Any, table: dict[str, Callable[..., Any]]) -> CompiledProgram | Interpreter:
    """The program (a retrograd.program.Program) as one compiled function, or, where it calls something that none
    stands for here, an Interpreter over the backend's table."""
    try:
        return CompiledProgram(program)
    except Unsupported as reason:
        _log.debug("numba: the kernels of this program are called one by one, because it has %s", reason)
        return Interpreter(program, table)


class CompiledProgram:
    """A loaded program.

    Attributes:
        source: the text of the function that runs it, and of the loops that it calls.

    Raises:
        Unsupported: there is a call in it that cannot be compiled.
    """

    def __init__(self, program: Any) -> None:
        lowered = Lowering(program)
        self.source = lowered.source
        self._kept = lowered.kept
        self._checks = lowered.checks
        self._table = lowered.table
        self._scalars = struct.Struct(lowered.scalar_format)
        self._scalars_at = lowered.scalars_at * self._table.itemsize
        self._launch = generated.launcher(tuple((o.dtype, o.ndim) for o in (*program.inputs, *program.results)))

    def run(self, inputs: Arrays, results: Arrays, scalars: list[Any]) -> None:
        """One step; see Interpreter.run.

        Raises:
            IndexError: an index that the step reads is out of range; the step ends there.
        """
        self._scalars.pack_into(self._table, self._scalars_at, *scalars)
        failed = self._launch(self._table, *inputs, *results)
        if failed:
            self._complain(failed)

    def _complain(self, failed: int) -> None:
        kernel, row = self._checks[failed & 0xFFFFFFFF], (failed >> 32) - 1
        raise IndexError(f"{kernel}: the index of row {row} is out of range")
