"""A Plan: a traced step's program, what it belongs to, and the backend's loaded form of it."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from ..backends import registry
from ..kernels.spec import Array, revision
from ..tensor import Tensor
from .containers import map_arrays
from .ir import HELD, RESULT, TEMPORARY, Operand, Program, c_strides
from .trace import Traced, Tracer

COPIED = 1024
"""A single result of up to so many elements is made in one place, which the backend has to be told once, and copied."""


class Plan:
    """What CompiledStep keeps for one signature.

    Args:
        tracer: after the user's function has run.
        program: after its passes.
        returned: what the function returned, a Result in place of each tensor.
        gradients: the leaves whose grad the step makes, each with the tensor that holds it from step to step.

    Attributes:
        loaded: the program as the backend in force runs it.
        pace: seconds that a step took lately, where many ran in one call; infinite before.
    """

    def __init__(self, tracer: Tracer, program: Program, returned: Any, gradients: list[tuple[Tensor, Tensor]]) -> None:
        self.program = program
        self._returned = returned
        self._gradients = gradients
        self._guards = tracer.guards
        self._reads = tracer.reads
        self._host_calls = tracer.host_calls
        leaves = list(tracer.leaves.values())
        self._memory = [(t, t.array) for t in leaves]
        written = {id(o.buffer.array) for i in program.instructions for o in i.written() if o.buffer.role == HELD}
        made = {id(leaf) for leaf, _ in gradients}
        self._entry_grads = [
            (t, g)
            for t, g in tracer.entry_grads
            if id(t) not in tracer.cleared and (id(t) in made or (g is not None and id(g.array) in written))
        ]
        self._versions = [t._version for t in leaves if id(t.array) in written]
        self._lock = threading.Lock()  # one arena, one place for results
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self.pace = math.inf
        self._one_copied = type(returned) is Result and program.results[0].size <= COPIED
        self._results = [np.empty(o.shape, o.dtype) for o in program.results if self._one_copied]
        self._load()
        self._numbers = _numbers(self._reads)
        self._revision = -1  # the trace itself may have changed what it depended on

    def valid(self) -> bool:
        """Whether what the trace depended on is as it was."""
        if self._revision != revision[0]:
            if not all(read() == value for read, value in self._guards):
                return False
            if not all(t.array is a for t, a in self._memory):
                return False
            self._numbers = _numbers(self._reads)
            self._revision = revision[0]
            if self._backend != registry.current():
                self._load()
        return not self._entry_grads or all(t.grad is g for t, g in self._entry_grads)

    def _load(self) -> None:
        self.loaded = registry.load_program(self.program)
        self.program.threads = self.loaded.threads
        self._backend = registry.current()

    def numbers(self) -> list[Any]:
        """The values of the program's scalars for the step to come; what Python has to do for it is done."""
        if self._revision != revision[0]:  # by what Python did for the step before, of many in one call
            self._numbers = _numbers(self._reads)
        return self._numbers + _numbers(self._host_calls) if self._host_calls else self._numbers

    def run(self, inputs: list[Array]) -> Any:
        """One step; valid() must have held. Returns what the user's function does."""
        if self._one_copied:  # the usual case, written out: on a small network each microsecond here is seen
            self._acquire()
            try:
                self.loaded.run(inputs, self._results, self.numbers() if self._host_calls else self._numbers)
                loss = self._results[0].copy()
            finally:
                self._release()
            for version in self._versions:
                version[0] += 1
            for leaf, gradient in self._gradients:
                leaf.grad = gradient
            return Tensor(loss)
        made = [np.empty(o.shape, o.dtype) for o in self.program.results]
        self.run_into(inputs, made)
        return map_results(self._returned, made)

    def run_into(self, inputs: list[Array], results: list[Array]) -> None:
        """One step, its results into the arrays given."""
        with self._lock:
            self.loaded.run(inputs, results, self.numbers() if self._host_calls else self._numbers)
        self.finish()

    def run_many(self, arrays: list[Array], order: Array | None, first: int, losses: Array) -> None:
        """Steps on batches of rows, in one call of the backend: see Loaded.run_steps of the C backend."""
        with self._lock:
            numbers = [self.numbers() for _ in range(len(losses) if self._host_calls else 1)]
            self.loaded.run_steps(arrays, order, first, numbers, losses)
        self.finish()

    def finish(self) -> None:
        """After steps have run: count the changes of what they wrote, and show the gradients."""
        for version in self._versions:
            version[0] += 1
        for leaf, gradient in self._gradients:
            leaf.grad = gradient


def _numbers(calls: list[Any]) -> list[Any]:
    numbers: list[Any] = []
    for function, _ in calls:
        made = function()
        if made is not None:
            numbers += made
    return numbers


class Result:
    """The place of the n-th result in what the step returns."""

    __slots__ = ("n",)

    def __init__(self, n: int) -> None:
        self.n = n


def map_results(returned: Any, results: list[Array]) -> Any:
    """What the step returns, with tensors in the places of the results."""
    if isinstance(returned, Result):
        return Tensor(results[returned.n])
    if isinstance(returned, tuple) and hasattr(returned, "_fields"):
        return type(returned)(*(map_results(r, results) for r in returned))
    if isinstance(returned, (tuple, list)):
        return type(returned)(map_results(r, results) for r in returned)
    if isinstance(returned, dict):
        return {k: map_results(r, results) for k, r in returned.items()}
    return returned


def place_results(returned: Any, tracer: Tracer, results: list[Operand]) -> Any:
    """Make each tensor that the step returned a result of the program: its operand goes on the list."""

    def place(tensor: Any) -> Result:
        operand = tracer.operand(tensor.array if isinstance(tensor, Tensor) else tensor)
        if not _is_own(operand):
            operand = tracer.copy(Traced(operand)).operand
        operand.buffer.role = RESULT
        results.append(operand)
        return Result(len(results) - 1)

    return map_arrays(place, returned)


def _is_own(operand: Operand) -> bool:
    """Whether the operand is all of a temporary, in C order."""
    whole = operand.offset == 0 and operand.strides == c_strides(operand.shape) and operand.size == operand.buffer.size
    return operand.buffer.role == TEMPORARY and whole


def keep_gradients(tracer: Tracer) -> list[tuple[Tensor, Tensor]]:
    """The leaves whose grad the step made, each with the tensor that will hold it from step to step."""
    kept: list[tuple[Tensor, Tensor]] = []
    for leaf in list(tracer.leaves.values()):
        if leaf.grad is None or not isinstance(leaf.grad.array, Traced):
            continue
        operand = leaf.grad.array.operand
        if not _is_own(operand):
            operand = tracer.copy(leaf.grad.array).operand
        operand.buffer.role = HELD
        operand.buffer.array = np.zeros(operand.shape, operand.dtype)
        leaf.grad = Tensor(operand.buffer.array)
        kept.append((leaf, leaf.grad))
    return kept
