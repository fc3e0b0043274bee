"""A function's run along which tangents travel at once: forward mode that keeps nothing but values and tangents.

The tangents of each op's outputs are calculated as soon as it ran, and what it was made of is forgotten: so memory is
freed as the function goes on. Where something beside the inputs asks for derivatives too, ops are recorded from there
on; their tangents follow when the function has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..kernels.spec import Array, active
from ..ops.rule import OUTPUT, Op
from ..tape import now, state
from ..tensor import Tensor
from .graph import ArrayTangents, Carried, Passing, Place, place, reached
from .recording import Recording, as_tensor, flat, is_differentiable, zeros_like

_algebra = ArrayTangents()


def stand_ins(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, dict[Tensor, Array]] | None:
    """The primals with a leaf in the place of each tensor, and the tangent of each leaf; or None where these tangents
    cannot be carried along: something around differentiates by them, ops do not run as they are called, or they are
    unlike the primals."""
    if state.kernels is not active:
        return None
    around = state.recording
    known: dict[Tensor, Array] = {}

    def stand_in(x: Any, t: Any) -> Any:
        if not isinstance(x, Tensor):
            if isinstance(x, dict):
                return {key: stand_in(v, t[key]) for key, v in x.items()}
            if isinstance(x, (tuple, list)):
                parts = [stand_in(v, s) for v, s in zip(x, t, strict=True)]
                return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)
            if not is_differentiable(x):
                return x
            x = as_tensor(x)
        if not isinstance(t, Tensor):
            t = Tensor(np.asarray(t, x.dtype)) if isinstance(t, float) else as_tensor(t)
        a, b = x.array, t.array
        dtype = a.dtype
        if b.dtype != dtype or a.shape != b.shape or dtype.kind != "f":
            raise ValueError
        if (x._requires_grad or t._requires_grad) and around:
            raise ValueError
        leaf = Tensor(a, True)
        leaf._version = x._version
        known[leaf] = b
        return leaf

    try:
        standing = stand_in(primals, tangents)
    except (ValueError, TypeError, LookupError):
        return None
    return (standing, known) if known else None


class Carrier(Recording):
    """A function's run, in forward mode from its start.

    Args:
        function: called with the inputs' stand-ins.
        tangents: of each stand-in, as an array.

    Raises:
        NoHistory: the function asks for derivatives by its own tensors, which takes a Recording.
    """

    def __init__(self, function: Callable[[list[Tensor]], Any], tangents: dict[Tensor, Array]) -> None:
        self._around = state.recording
        self.inputs = list(tangents)
        self._known: dict[Place, Any] = tangents
        self._since = now()
        self._mark = object()
        carrier, state.carrier = state.carrier, self
        try:
            self._run(function)
        finally:
            state.carrier = carrier

    def run(
        self, op: Op, operands: tuple[Tensor | None, ...], arrays: list[Any], attributes: dict[str, Any]
    ) -> tuple[Tensor, ...] | None:
        """Run an op that has a rule for its outputs and their tangents at once: its results, or None where `carry`
        is to be asked, after the op ran."""
        tangents = self._tangents_of(operands)
        if not tangents:
            return None
        made = op.dual(active, arrays, tangents, **attributes)  # type: ignore[misc]
        if made is None:
            return None
        results = tuple([Tensor(a) for a in made[0]])
        self._mark_results(op, results, made[1])
        return results

    def carry(
        self,
        op: Op,
        operands: tuple[Tensor | None, ...],
        attributes: dict[str, Any],
        results: tuple[Tensor, ...],
        residuals: tuple[Any, ...],
    ) -> bool:
        """Calculate the tangents of what an op made, unless it hangs on anything but the inputs that derivatives may
        be asked by; whether they were."""
        if state.kernels is not active:
            return False
        tangents = self._tangents_of(operands)
        if tangents is None:
            return False
        made: Any = (None,) * len(results)
        if tangents:
            saved = [(results[OUTPUT - i] if i < 0 else operands[i]).array for i in op.saves]  # type: ignore[union-attr]
            state.recording = False
            try:
                made = _algebra.push(Passing(op, attributes, operands, saved, residuals, len(results)), tangents)
            except NotImplementedError:  # which is no matter where no output hangs on it
                return False
            finally:
                state.recording = True
        self._mark_results(op, results, made if type(made) is tuple else (made,))
        return True

    def _tangents_of(self, operands: tuple[Tensor | None, ...]) -> list[Any] | None:
        """The tangent of each operand, None for zero; an empty list where all are. None in its place where an operand
        hangs on something beside the inputs that derivatives may be asked by."""
        tangents = []
        moves = False
        for x in operands:
            t = None
            if x is not None and x._requires_grad:
                if x.edge is None:
                    t = self._known.get(x)
                    if t is None and self._around:
                        return None
                else:
                    source, i = x.edge
                    if type(source) is Carried and source.run is self._mark:
                        t = source.tangents[i]
                    elif self._around or source.order > self._since:
                        return None
                if t is not None:
                    moves = True
            tangents.append(t)
        return tangents if moves else []

    def _mark_results(self, op: Op, results: tuple[Tensor, ...], tangents: tuple[Any, ...]) -> None:
        node = Carried(op.name, tangents, self._mark)
        for i, y in enumerate(results):
            y._requires_grad, y.edge = True, (node, i)

    def differentiate(self, value: Any) -> None:
        self.outputs = flat(value)
        try:
            self._tangents: list[Tensor] | None = [self._tangent(y) for y in self.outputs]
            self.recorded = self._kept = False
        except LookupError:
            self._tangents = None
            super().differentiate(value)

    def _tangent(self, y: Tensor) -> Tensor:
        """The output's tangent; LookupError where it is not known yet."""
        if not y._requires_grad:
            return zeros_like(y)
        if y.edge is None:
            return Tensor(self._known[y])
        source, i = y.edge
        if type(source) is not Carried or source.run is not self._mark:
            raise LookupError
        t = source.tangents[i]
        return zeros_like(y) if t is None else Tensor(t)

    def _starts(self) -> Iterable[Place]:
        starts: list[Place] = list(self.inputs)
        for node in reached(map(place, self.outputs), self._since):
            if type(node) is Carried and node.run is self._mark:
                for i, t in enumerate(node.tangents):
                    starts.append((node, i))
                    if t is not None:
                        self._known[node, i] = t
        return starts

    def tangents(self) -> list[Tensor]:
        """The outputs' tangents."""
        if self._tangents is not None:
            return self._tangents
        known = {p: Tensor(t) for p, t in self._known.items()} if self.recorded else self._known
        return self._carry(known, self.recorded, retain=False)
