"""A function's run along which tangents travel at once: forward mode that keeps nothing but values and tangents.

The tangents of each op's outputs are calculated as soon as it ran, and what it was made of is forgotten: so memory is
freed as the function goes on. Where something beside the inputs asks for derivatives too, ops are recorded from there
on; their tangents follow when the function has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..kernels.spec import active
from ..ops.rule import OUTPUT, Op
from ..tape import carried_by, now, state
from ..tensor import Tensor
from .graph import Carried, Place, place, reached, tangents_of
from .recording import Recording, flat, leaf, zeros_like


class Carrier(Recording):
    """A function's run, in forward mode from its start.

    Args:
        function, inputs: as a Recording's.
        tangents: of the inputs.

    Raises:
        NoHistory: the function asks for derivatives by its own tensors, which takes a Recording.
    """

    def __init__(
        self, function: Callable[[list[Tensor]], Any], inputs: Sequence[Tensor], tangents: Sequence[Tensor]
    ) -> None:
        self._around = state.recording
        self.inputs = [leaf(x) for x in inputs]
        self._known: dict[Place, Any] = dict(zip(self.inputs, [t.array for t in tangents], strict=True))
        self._algebra = tangents_of(create_graph=False)
        self._since = now()
        self._mark = object()
        with carried_by(self):
            self._run(function)

    @staticmethod
    def fits(tensors: Sequence[Tensor]) -> bool:
        """Whether these inputs and tangents can be carried along: nothing around differentiates by them, and ops run
        as they are called."""
        return state.kernels is active and not (state.recording and any([t._requires_grad for t in tensors]))

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
        tangents = []
        moves = False
        for x in operands:
            t = None
            if x is not None and x._requires_grad:
                if x.edge is None:
                    t = self._known.get(x)
                    if t is None and self._around:
                        return False
                else:
                    source, i = x.edge
                    if type(source) is Carried and source.run is self._mark:
                        t = source.tangents[i]
                    elif self._around or source.order > self._since:
                        return False
                if t is not None:
                    moves = True
            tangents.append(t)
        saved = [(results[OUTPUT - i] if i < 0 else operands[i]).array for i in op.saves]  # type: ignore[union-attr]
        node = Carried(op, attributes, operands, saved, residuals, len(results), self._mark)
        made: Any = (None,) * len(results)
        if moves:
            state.recording = False
            try:
                made = self._algebra.push(node, tangents)
            except NotImplementedError:  # which is no matter where no output hangs on it
                return False
            finally:
                state.recording = True
        node.tangents = made if type(made) is tuple else (made,)
        node.forget()
        for i, y in enumerate(results):
            y._requires_grad, y.edge = True, (node, i)
        return True

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
