"""The compiled step: a trace of the user's function, as a Program, its passes, and what runs it."""

from .ir import Buffer, Cost, Instruction, Operand, Program, Scalar
from .step import PASSES, CompiledStep, compile
from .trace import TraceError

__all__ = [
    "PASSES",
    "Buffer",
    "CompiledStep",
    "Cost",
    "Instruction",
    "Operand",
    "Program",
    "Scalar",
    "TraceError",
    "compile",
]
