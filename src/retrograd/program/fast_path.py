"""Calls of a compiled step that repeat the latest: what has to be looked at before the program runs once more.

A small network's program runs for less than a microsecond, and each look of Python at something takes a twentieth of
one. So the two types here are also written in C (csrc/python/fast_path.c), which the package uses where it was built.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import CellType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.spec import Array, active, revision
from ..tape import counter, state
from ..tensor import Tensor
from .returned import Result

if TYPE_CHECKING:
    from .plan import Plan

MISSED: Any = object()
"""What a fast path returns that has done nothing: another plan may be the one for the call."""


class PythonFastPath:
    """Calls of one plan with `count` arrays or tensors of the shapes and dtypes of the latest.

    Called with those, it returns what the step does, or MISSED. In C it runs the plan's program itself while no other
    thread does, through an entry (see there), and as Plan.run() else.

    Args:
        count: how many arguments are given at each call.
        recording: whether the plan is for threads that record; none is for those with kernels of their own, or that
            run a program just now.
        items, cells, attributes, gradients, there: what the plan depends on, one after the other: dictionary, key and
            value; cell and contents (and `cell_contents`, the descriptor of that); object, name and value; leaf and
            gradient; leaves that must have one.
        revision: the rest of it, as long as the number in there is what it was when the plan was valid.
        valid: Plan.valid(), which decides where something is not the same.
        take_turn, give_turn: acquire() and release() of the lock under which the program runs.
        forms: arrays of the shapes and dtypes that inputs must have: the latest ones may have got others.
        asks: of each argument, whether it requires a gradient.
        inputs: what the program ran on last: the arguments' arrays, then those that stay as they are.
        written: ids of the arrays that the program changes, which it cannot read as arguments where they lie.
        readable: makes what it can read of an array.
        entry: Plan.entry(); what it gave is good as long as the number in `changes` is what it was.
        run: runs the plan where that has no entry, on a list of inputs.
        places: where the program's results are made.
        build: makes of those what the step returns; None where that is a tensor of the first one.
        tensor: the type, and `slots`, how to make one without calling it: the descriptors of its slots, each with its
            value: array and version first, whose values are made anew, then the gradient and whether it requires one.
        counter: the order of recording; count_changes: called where something was recorded since the call before.
        shown: leaves, each with the gradient that it has after a call, where it had another before.
        missed: MISSED.

    Attributes:
        inputs: as above; may be set.
    """

    def __init__(self, **given: Any) -> None:
        self._given = SimpleNamespace(**given)
        self._seen: Any = None
        self.inputs: list[Array] = given["inputs"]

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        of = self._given
        right = len(arguments) == of.count and state.recording == of.recording and state.kernels is active
        if keywords or not right or state.running or not self._is_valid():
            return MISSED
        inputs = list(self.inputs)
        for n, argument in enumerate(arguments):
            array, like = argument.array if isinstance(argument, Tensor) else argument, of.forms[n]
            if type(array) is not Array or array.dtype != like.dtype or array.shape != like.shape:
                return MISSED
            if of.asks[n] != (isinstance(argument, Tensor) and argument._requires_grad):
                return MISSED
            inputs[n] = of.readable(array)
        self.inputs = inputs
        return of.run(inputs)

    def _is_valid(self) -> bool:
        now = self._given.revision[0]
        if now == self._seen and self._is_same():
            return True
        if not self._given.valid():
            return False
        self._seen = now
        return True

    def _is_same(self) -> bool:
        of = self._given
        try:
            return (
                all(place[key] is value for place, key, value in _by(3, of.items))
                and all(cell.cell_contents is value for cell, value in _by(2, of.cells))
                and all(getattr(owner, name) is value for owner, name, value in _by(3, of.attributes))
                and all(leaf._grad is gradient for leaf, gradient in _by(2, of.gradients))
                and all(leaf._grad is not None for leaf in of.there)
            )
        except (AttributeError, KeyError, ValueError):  # a name has gone
            return False


def _by(count: int, values: tuple[Any, ...]) -> Iterable[tuple[Any, ...]]:
    return zip(*[iter(values)] * count, strict=True)


class PythonCaller:
    """What is called as its latest call was, as long as that does, and no observers are in force; else as
    _call_otherwise(*args, **kwargs) is."""

    _latest_call: Any
    _observers: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._observers and self._latest_call is not None:
            made = self._latest_call(*args, **kwargs)
            if made is not MISSED:
                return made
        return self._call_otherwise(*args, **kwargs)

    def _call_otherwise(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


FRAMES = 1
"""Of Python between a caller and _call_otherwise()."""

if TYPE_CHECKING:
    FastPath = PythonFastPath
    Caller = PythonCaller
else:
    try:
        from .._speedups import Caller, FastPath

        FRAMES = 0
    except ImportError:  # built without a C compiler
        Caller, FastPath = PythonCaller, PythonFastPath


def fast_path(plan: Plan, inputs: list[Array], arguments: Sequence[Any]) -> FastPath:
    """The fast path of a plan for calls with arguments such as these, whose arrays are the first of the inputs."""
    count = len(arguments)
    guards = plan.guards()
    return FastPath(
        count=count,
        missed=MISSED,
        recording=plan.recording,
        items=_flat(guards.items),
        cells=_flat(guards.cells),
        attributes=_flat(guards.attributes),
        cell_contents=CellType.cell_contents,
        gradients=_flat(guards.gradients),
        there=tuple(guards.there),
        revision=revision,
        valid=plan.valid,
        take_turn=plan.turn.acquire,
        give_turn=plan.turn.release,
        forms=tuple(np.broadcast_to(np.empty((), o.dtype), o.shape) for o in plan.program.inputs),
        asks=tuple(isinstance(a, Tensor) and a.requires_grad for a in arguments),
        inputs=inputs,
        written=plan.written,
        readable=plan.readable,
        run=plan.run,
        entry=plan.entry,
        changes=plan.changes,
        places=tuple(plan.places),
        build=None if isinstance(plan.returned, Result) and plan.places[0] is not None else plan.build,
        tensor=Tensor,
        slots=_SLOTS,
        counter=counter,
        count_changes=plan.count_changes,
        shown=_flat(plan.shown()),
    )


def _flat(rows: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(value for row in rows for value in row)


def _slots() -> Iterable[tuple[Any, Any]]:
    """The descriptors of Tensor's slots, with what a new tensor has in them, in the order that a fast path expects."""
    new, first = Tensor(Array(0)), ("array", "_version", "_grad", "_requires_grad")
    names = [*first] + [name for name in Tensor.__slots__ if name not in ("__weakref__", *first)]
    yield from ((Tensor.__dict__[name], getattr(new, name)) for name in names)


_SLOTS = _flat(_slots())
