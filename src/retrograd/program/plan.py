"""A Plan: a traced step's program, what it belongs to, and the backend's loaded form of it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends import registry
from ..kernels.memory import aligned_zeros
from ..kernels.spec import Array, revision
from ..tensor import Tensor
from .containers import map_arrays
from .ir import HELD, RESULT, TEMPORARY, Operand, Program, c_strides
from .names import Names
from .pieces import load
from .trace import Traced, Tracer, is_of_library, memory_of

COPIED = 4096
"""A result of up to so many elements is made in one place, which the backend has to be told once, and copied."""


class Plan:
    """What CompiledStep keeps for one signature.

    Args:
        tracer: after the user's function has run.
        program: after its passes.
        returned: what the function returned, a Result in place of each tensor.
        gradients: the leaves whose grad the step sets, each with the tensor that holds it from step to step, or None.
        lock: held while the program runs: there is one arena and one place for results, and programs may share more.

    Attributes:
        gradients: the leaves whose grad the step sets, each with that.
        lasting: whether a step leaves the gradients that it depends on as they are, so that another may follow.
        written: the ids of the arrays outside the step that its program changes.
        loaded: the program as the backend in force runs it.
        pace: seconds that a step took lately, where many ran in one call; infinite before.
    """

    def __init__(
        self,
        tracer: Tracer,
        program: Program,
        returned: Any,
        gradients: list[tuple[Tensor, Tensor | None]],
        lock: threading.Lock,
    ) -> None:
        self.program = program
        self.gradients = gradients
        self._guards = tracer.guards
        self._names = Names(tracer.functions, is_of_library)
        self._reads = tracer.reads
        self._host_calls = tracer.host_calls
        leaves = list(tracer.leaves.values())
        self._memory = [(t, t.array) for t in leaves]
        changed = [o.buffer.array for i in program.instructions for o in i.written() if o.buffer.role == HELD]
        written = {id(a) for array in changed if array is not None for a in (array, memory_of(array))}
        self.written = frozenset(written)
        self._entry_grads = tracer.relied_on()
        self._entry_leaves = tracer.relied_on_to_be_there()
        left = {id(leaf): gradient for leaf, gradient in gradients}
        self.lasting = all(left.get(id(t), g) is g for t, g in self._entry_grads)
        self._looked_at = tracer.require_unchanged(self.written)
        self._versions = [t._version for t in leaves if id(t.array) in written or id(memory_of(t.array)) in written]
        self._lock = lock
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self.pace = math.inf
        self._places = [np.empty(o.shape, o.dtype) if o.size <= COPIED else None for o in program.results]
        self._copied = all(p is not None for p in self._places)
        self._build = _builder(returned, self._places)
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
            if self._loaded_for != _loading():
                self._load()
        if not self._names.same():
            return False
        if self._looked_at and not all(array.tobytes() == numbers for array, numbers in self._looked_at):
            return False
        for leaf in self._entry_leaves:  # loops, for what a generator costs: see run()
            if leaf._grad is None:
                return False
        for leaf, gradient in self._entry_grads:  # noqa: SIM110
            if leaf._grad is not gradient:
                return False
        return True

    def apart(self, array: Array) -> Array:
        """The array, or a copy where it is memory that the program changes."""
        return array.copy() if id(array) in self.written or id(array.base) in self.written else array

    def _load(self) -> None:
        self.loaded = load(self.program)
        self.program.threads = self.loaded.threads
        self.program.divided = self.loaded.reason
        self._loaded_for = _loading()

    def numbers(self) -> list[Any]:
        """The values of the program's scalars for the step to come; what Python has to do for it is done."""
        if self._revision != revision[0]:  # by what Python did for the step before, of many in one call
            self._numbers = _numbers(self._reads)
        return self._numbers + _numbers(self._host_calls) if self._host_calls else self._numbers

    def run(self, inputs: list[Array]) -> Any:
        """One step; valid() must have held. Returns what the user's function does."""
        if self._copied:  # the usual case, written out: on a small network each microsecond here is seen
            self._acquire()
            try:
                self.loaded.run(inputs, self._places, self.numbers() if self._host_calls else self._numbers)
                made = self._build(self._places)
            finally:
                self._release()
            for version in self._versions:
                version[0] += 1
            for leaf, gradient in self.gradients:
                leaf._grad = gradient
            return made
        results = [np.empty(o.shape, o.dtype) if p is None else p for o, p in zip(self.program.results, self._places)]  # noqa: B905
        with self._lock:
            self.loaded.run(inputs, results, self.numbers() if self._host_calls else self._numbers)
            made = self._build(results)
        self.finish()
        return made

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

    def leaves(self, arrays: list[Array]) -> bool:
        """Whether each of these is a gradient that it leaves behind."""
        return {id(a) for a in arrays} <= {id(g.array) for _, g in self.gradients if g is not None}

    def finish(self) -> None:
        """After steps have run: count the changes of what they wrote, and show the gradients."""
        for version in self._versions:
            version[0] += 1
        for leaf, gradient in self.gradients:
            leaf._grad = gradient


def _loading() -> tuple[str, int]:
    """What a backend's loaded form of a program depends on: which backend, and the number of threads."""
    return registry.current(), registry.get_num_threads()


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


def _builder(returned: Any, places: list[Array | None]) -> Callable[[list[Array]], Any]:
    """What makes of the results what the step returns, with tensors in their places, copies of those that have a place:
    one expression."""
    names: dict[str, Any] = {"Tensor": Tensor}
    return eval(f"lambda results: {_expression(returned, places, names)}", names)  # type: ignore[no-any-return]


def _expression(returned: Any, places: list[Array | None], names: dict[str, Any]) -> str:
    """The text that makes it; what it needs of Python goes among the names."""

    def name(value: Any) -> str:
        names[key := f"_{len(names)}"] = value
        return key

    if isinstance(returned, Result):
        place = places[returned.n]
        return f"Tensor(results[{returned.n}])" if place is None else f"Tensor({name(place.copy)}())"
    if isinstance(returned, (tuple, list)):
        parts = "".join(f"{_expression(r, places, names)}, " for r in returned)
        if type(returned) is tuple:
            return f"({parts})"
        make = name(type(returned))
        return f"{make}({parts})" if hasattr(type(returned), "_fields") else f"{make}([{parts}])"
    if isinstance(returned, dict):
        return "{" + ", ".join(f"{name(k)}: {_expression(r, places, names)}" for k, r in returned.items()) + "}"
    return name(returned)


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


def keep_gradients(tracer: Tracer, own: list[Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    """The leaves whose grad the step set, each with the tensor that will hold it from step to step, or None; `own` are
    those that other programs of the step hold theirs in."""
    kept: list[tuple[Tensor, Tensor | None]] = []
    before = {key: (leaf, leaf._grad) for key, leaf in tracer.leaves.items()} | tracer.entry_grads
    known = {key: before[key][1] for key in before.keys() - tracer.cleared}
    relied_on = {id(leaf): grad for leaf, grad in tracer.relied_on()}
    known.update(relied_on)
    for key, leaf in (tracer.leaves | tracer.cleared).items():
        if leaf._grad is not None and isinstance(leaf._grad.array, Traced):
            made, before = leaf._grad.array, relied_on.get(key)
            if any(before is grad for grad in own):  # it stays where it is, that the next step may depend on it too
                tracer.assign(before.array, made)
                leaf._grad = before
            else:
                leaf._grad = _held(tracer, made)
        elif key in known and leaf._grad is known[key]:
            continue
        kept.append((leaf, leaf._grad))
    return kept


def _held(tracer: Tracer, gradient: Traced) -> Tensor:
    """A gradient that the step made, in memory that stays."""
    operand = gradient.operand if _is_own(gradient.operand) else tracer.copy(gradient).operand
    operand.buffer.role = HELD
    operand.buffer.array = aligned_zeros(operand.shape, operand.dtype)
    return Tensor(operand.buffer.array)
