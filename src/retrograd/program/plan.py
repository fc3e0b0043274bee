"""A Plan: a traced step's program, what it belongs to, and the backend's loaded form of it."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Sequence
from types import CellType
from typing import Any, NamedTuple

import numpy as np

from ..backends import registry
from ..kernels.memory import aligned_zeros
from ..kernels.spec import Array, revision
from ..tape import now, state
from ..tensor import Tensor
from .containers import array_of, map_arrays
from .ir import HELD, RESULT, TEMPORARY, Operand, Program, c_strides
from .names import Names
from .pieces import load
from .returned import Result, builder
from .trace import Traced, Tracer, is_of_library, memory_of

COPIED = 4096
"""A result of up to so many elements is made in one place, which the backend has to be told once, and copied."""


class Guards(NamedTuple):
    """What a plan depends on beside what is counted: a dictionary's keys and values, the contents of cells, objects'
    attributes, the gradients of leaves, and which leaves must have one."""

    items: list[tuple[dict[str, Any], str, Any]]
    cells: list[tuple[CellType, Any]]
    attributes: list[tuple[Any, str, Any]]
    gradients: list[tuple[Tensor, Tensor | None]]
    there: list[Tensor]


class Plan:
    """What CompiledStep keeps for one signature.

    Args:
        tracer: after the user's function has run.
        program: after its passes.
        returned: what the function returned, a Result in place of each tensor.
        gradients: the leaves whose grad the step sets, each with the tensor that holds it from step to step, or None.
        recording: whether operations were recorded where the function was called.
        turn: held while the program runs: there is one arena and one place for results, and programs may share more.

    Attributes:
        gradients: the leaves whose grad the step sets, each with that.
        places: where a result is made that is copied, else None.
        copies: whether all results are.
        build: makes what the function returned of the program's results.
        revision: of what is counted there, when the plan last looked at what the trace depended on.
        values: those of the program's scalars that Python does not work out for each step.
        calls_host: whether there are others.
        lasting: whether a step leaves the gradients that it depends on as they are, so that another may follow.
        written: the ids of the arrays outside the step that its program changes.
        loaded: the program as the backend in force runs it.
        changes: how often what entry() prepares may have changed.
        finished: the place in the order of recording where steps ended last.
        pace: seconds that a step took lately, where many ran in one call; infinite before.
    """

    def __init__(
        self,
        tracer: Tracer,
        program: Program,
        returned: Any,
        gradients: list[tuple[Tensor, Tensor | None]],
        recording: bool,
        turn: threading.Lock,
    ) -> None:
        self.program = program
        self.returned = returned
        self.gradients = gradients
        self.recording = recording
        self.turn = turn
        self.changes = [0]
        self._guards = tracer.guards
        self._names = Names(tracer.functions, is_of_library)
        self._reads = tracer.reads
        self._host_calls = tracer.host_calls
        self.calls_host = bool(tracer.host_calls)
        leaves = list(tracer.leaves.values())
        changed = [o.buffer.array for i in program.instructions for o in i.written() if o.buffer.role == HELD]
        self._changed = [array for array in changed if array is not None]
        written = {id(a) for array in changed if array is not None for a in (array, memory_of(array))}
        self.written = frozenset(written)
        self._entry_grads = tracer.relied_on()
        self._entry_leaves = tracer.relied_on_to_be_there()
        held = [g for _, g in (*gradients, *self._entry_grads) if g is not None]
        self._memory = [(t, t.array) for t in (*leaves, *held)]
        left = {id(leaf): gradient for leaf, gradient in gradients}
        self.lasting = all(left.get(id(t), g) is g for t, g in self._entry_grads)
        self._looked_at = tracer.require_unchanged(self.written)
        self._versions = [t._version for t in leaves if id(t.array) in written or id(memory_of(t.array)) in written]
        self.finished = -1
        self.pace = math.inf
        self.places = [np.empty(o.shape, o.dtype) if o.size <= COPIED else None for o in program.results]
        self.copies = all(p is not None for p in self.places)
        self.build = builder(returned, self.places)
        self.values = _numbers(self._reads)
        self._load()
        self.revision = -1  # the trace itself may have changed what it depended on

    def valid(self) -> bool:
        """Whether what the trace depended on is as it was."""
        if self.revision != revision[0]:
            if not all(read() == value for read, value in self._guards):
                return False
            if not all(t.array is a for t, a in self._memory):
                return False
            now = revision[0]
            self.values = _numbers(self._reads)
            self.changes[0] += 1
            if self._loaded_for != _loading():
                self._load()
            self.revision = now
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

    def guards(self) -> Guards:
        """What stands for valid()."""
        items = list(self._names.in_places)
        if self._looked_at:
            items.append(({}, "", None))  # never there: those numbers have to be compared
        names = self._names
        return Guards(items, names.in_cells, names.in_attributes, self._entry_grads, self._entry_leaves)

    def readable(self, array: Array) -> Array:
        """The array, or a copy where the program cannot read it as it lies, or changes that memory."""
        if not array.flags.carray:
            array = array_of(array)
        base: Any = array
        while isinstance(base, np.ndarray):
            if id(base) in self.written:
                return array.copy()
            base = base.base
        if base is None or not any(np.may_share_memory(array, own) for own in self._changed):
            return array
        return array.copy()  # of a buffer that is none of NumPy's, and lies over what the program changes

    def fits(self, arrays: Sequence[Array]) -> bool:
        """Whether the program could run on these, which are C contiguous."""
        forms = [(o.shape, o.dtype) for o in self.program.inputs]
        return [(a.shape, a.dtype) for a in arrays] == forms

    def entry(self, latest: Any) -> Any:
        """The entry of the loaded form as it is now (see Loaded.entry of the C backend), with its results in the places
        and the scalars' values for the step to come; None where there is none. `latest` is the one that the fast path
        had before, or None."""
        if not self.copies or not hasattr(self.loaded, "entry"):
            return None
        made = latest if latest is not None and latest.loaded is self.loaded else self.loaded.entry()
        if made is not None:
            made.prepare(self.places, self.numbers())
            self.changes[0] += self.calls_host  # it is to be asked for again where Python works for each step
        return made

    def _load(self) -> None:
        with self._in_turn():  # programs share memory, which may have to grow
            self.loaded = load(self.program)
        self.program.threads = self.loaded.threads
        self.program.divided = self.loaded.reason
        self.changes[0] += 1
        self._loaded_for = _loading()

    def numbers(self) -> list[Any]:
        """The values of the program's scalars for the step to come; what Python has to do for it is done."""
        if self.revision != revision[0]:  # by what Python did for the step before, of many in one call
            self.values = _numbers(self._reads)
        return self.values + _numbers(self._host_calls) if self._host_calls else self.values

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        """A block that no other thread runs meanwhile, here or in a program that shares memory with this one."""
        if state.running:
            raise RuntimeError("compile: a program cannot be run, or loaded, by a finalizer or a callback of another's")
        with self.turn:
            try:
                state.running = True
                yield
            finally:
                state.running = False

    def run(self, inputs: list[Array]) -> Any:
        """One step; valid() must have held. Returns what the user's function does."""
        with self._in_turn():
            results = self.result_arrays()
            self.changes[0] += 1
            self.loaded.run(inputs, results, self.numbers())
            made = self.build(results)
        self.finish()
        return made

    def result_arrays(self) -> list[Array]:
        """Where the results of a step to come are made."""
        if self.copies:
            return self.places  # type: ignore[return-value]
        pairs = zip(self.program.results, self.places, strict=True)
        return [np.empty(o.shape, o.dtype) if place is None else place for o, place in pairs]

    def run_into(self, inputs: list[Array], results: list[Array]) -> None:
        """One step, its results into the arrays given."""
        with self._in_turn():
            self.changes[0] += 1
            self.loaded.run(inputs, results, self.numbers())
        self.finish()

    def run_many(self, arrays: list[Array], order: Array | None, first: int, losses: Array) -> None:
        """Steps on batches of rows, in one call of the backend: see Loaded.run_steps of the C backend."""
        with self._in_turn():
            self.changes[0] += 1
            numbers = [self.numbers() for _ in range(len(losses) if self._host_calls else 1)]
            self.loaded.run_steps(arrays, order, first, numbers, losses)
        self.finish()

    def leaves(self, arrays: list[Array]) -> bool:
        """Whether each of these is a gradient that it leaves behind."""
        return {id(a) for a in arrays} <= {id(g.array) for _, g in self.gradients if g is not None}

    def finish(self) -> None:
        """After steps have run: count the changes of what they wrote, and show the gradients. What was changed before
        need not count again as long as nobody has recorded anything since."""
        place = now()
        if place != self.finished + 1:
            self.count_changes()
        self.finished = place
        for leaf, gradient in self.gradients:
            leaf._grad = gradient

    def count_changes(self) -> None:
        """Count one more change of each array that the program writes."""
        for version in self._versions:
            version[0] += 1

    def shown(self) -> list[tuple[Tensor, Tensor | None]]:
        """The leaves, with the gradients, that have others before a step for which valid() held than after it."""
        before = {id(leaf): gradient for leaf, gradient in self._entry_grads}
        return [pair for pair in self.gradients if before.get(id(pair[0]), self) is not pair[1]]


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
