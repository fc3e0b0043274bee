"""Dual tensors: forward mode as it goes, as in PyTorch. A tensor carries a tangent, and what is made of it does too.

    with rg.autograd.forward_ad.dual_level():
        y = f(rg.autograd.forward_ad.make_dual(x, t))
        value, tangent = rg.autograd.forward_ad.unpack_dual(y)

The tangents are calculated when they are asked for, along what was recorded by then. rg.jvp does it for a function.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import NamedTuple

from ..tape import carried_by, now, set_grad_enabled, state
from ..tensor import Tensor
from .graph import Place, Region, place, push, tangents_of
from .recording import check_inputs, fresh, matching


class UnpackedDualTensor(NamedTuple):
    """A tensor and its tangent, None where that is zero."""

    primal: Tensor
    tangent: Tensor | None


class _Levels(threading.local):
    def __init__(self) -> None:
        self.open: list[dual_level] = []


_levels = _Levels()


class dual_level:
    """A block in which tensors can carry tangents; what is done in it is recorded. Levels nest: an inner one's tangents
    can be differentiated by an outer one.

    Example:
        >>> import retrograd as rg
        >>> from retrograd.autograd import forward_ad as fwad
        >>> with fwad.dual_level():
        ...     x = fwad.make_dual(rg.tensor(2.0), rg.tensor(1.0))
        ...     fwad.unpack_dual(x**3)
        UnpackedDualTensor(primal=tensor(8.), tangent=tensor(12.))
    """

    def __enter__(self) -> dual_level:
        self.around = state.recording
        self.since = now()
        self.duals: set[Place] = set()
        self.known: dict[Place, Tensor] = {}
        self._recording, self._carrier = set_grad_enabled(True), carried_by(None)
        self._recording.__enter__()
        self._carrier.__enter__()
        _levels.open.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        _levels.open.remove(self)
        self.known.clear()
        self._carrier.__exit__(kind, value, trace)
        self._recording.__exit__(kind, value, trace)


def _innermost(name: str) -> dual_level:
    if not _levels.open:
        raise RuntimeError(f"{name}: there are no dual tensors outside a dual_level() block")
    return _levels.open[-1]


def make_dual(tensor: Tensor, tangent: Tensor) -> Tensor:
    """The tensor, carrying a tangent of its shape and dtype in the innermost dual_level.

    Raises:
        RuntimeError: there is no dual_level. TypeError: the tensor is not floating.
        ValueError: the tangent is unlike it.
    """
    level = _innermost("make_dual")
    check_inputs("make_dual", tensor)
    (tangent,) = matching("make_dual", "tangent", [tensor], tensor, tangent)
    dual = fresh(tensor)
    level.known[place(dual)] = tangent
    level.duals.add(place(dual))
    return dual


def unpack_dual(tensor: Tensor) -> UnpackedDualTensor:
    """The tensor, and the tangent that it carries in the innermost dual_level.

    Raises:
        RuntimeError: there is no dual_level. NotImplementedError: an op has no rule for forward mode; names it.
    """
    level = _innermost("unpack_dual")
    at = place(tensor)
    with set_grad_enabled(level.around):
        push(Region(level.known, [at], level.since).nodes, level.known, tangents_of(create_graph=True))
    tangent = level.known.get(at)
    closed = Region(level.duals, [at], level.since).closed and all(type(p) is not tuple for p in level.duals)
    if level.around and not (closed and (tangent is None or not _hangs(tangent, level))):
        return UnpackedDualTensor(tensor, tangent)
    return UnpackedDualTensor(tensor.detach(), None if tangent is None else tangent.detach())


def _hangs(tangent: Tensor, level: dual_level) -> bool:
    """Whether the tangent's own derivatives are asked for by something outside the level."""
    return not Region(level.duals, [place(tangent)], level.since).closed
