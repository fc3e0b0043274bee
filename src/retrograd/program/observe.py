"""Observers of compiled steps: some calls of a step run as another program, which measures as it goes.

The other program is traced from the same function with the observer's ops around it; the calls between run the plain
one, at no cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any

from ..kernels.spec import Array


class Observer:
    """Asks for some calls of compiled steps to be observed, while it is among `observers`.

    Attributes:
        key: equal for observers that make the same program of a step; it is kept for those that come after.
    """

    key: Hashable

    def due(self, step: Any) -> float:
        """Which call of the step is to be observed next, by the count of step.calls; math.inf, none will be."""
        raise NotImplementedError

    def observe(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Call the step's function with ops of the observer's own; returns what the function does, and a reading.

        Its last arguments are the observer's: what given() gave.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """An observed call is about to be traced or run."""
        raise NotImplementedError

    def given(self) -> list[Array]:
        """Arrays that the call is to read, as they are before it: gradients, or what stands for them. They are taken
        to be the same where the same program of the step ran before it."""
        raise NotImplementedError

    def receive(self, step: Any, reading: Any) -> float:
        """An observed call of the step ran, the latest that step.calls counts, and this is what it read. Returns what
        due() would now."""
        raise NotImplementedError


observers: list[Observer] = []
"""Those in force: see join()."""

_asked: set[Any] = set()  # the steps that know their next observer of those in force


def join(observer: Observer) -> None:
    """Put it in force; it is asked before the next call of each step."""
    observers.append(observer)
    _ask_again()


def leave(observer: Observer) -> None:
    """Put it out of force."""
    observers.remove(observer)
    _ask_again()


def _ask_again() -> None:
    for step in list(_asked):
        step.due, step.next_observer = 0, None
    _asked.clear()


def ask(step: Any) -> Observer | None:
    """Find out step.due and step.next_observer. Returns who observes the next call of the step, or None."""
    first, at = None, math.inf
    for observer in observers:
        wanted = observer.due(step)
        if wanted < at:
            first, at = observer, wanted
    step.due, step.next_observer = at, first
    _asked.add(step)
    return first if at <= step.calls else None


def unobserved(step: Any, calls: int) -> int:
    """How many of the next `calls` of the step pass before one is observed; they count as run."""
    if not observers:
        return calls
    if ask(step) is not None:
        return 0
    calls = int(min(calls, step.due - step.calls))
    step.calls += calls
    return calls
