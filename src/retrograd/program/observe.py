"""Observers of compiled steps: some calls of a step run as another program, which measures as it goes.

The other program is traced from the same function with the observer's ops around it; the calls between run the plain
one, at no cost.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from typing import Any

from ..kernels.spec import Array


class Observer:
    """Asks for some calls of compiled steps to be observed, while it is among `observers`.

    Attributes:
        key: equal for observers that make the same program of a step; it is kept for those that come after.
    """

    key: Hashable

    def wait(self, step: Any) -> float:
        """How many more calls of the step pass before the one to observe: 0, the next one; math.inf, none will be."""
        raise NotImplementedError

    def passed(self, step: Any, calls: int) -> None:
        """So many calls of the step run unobserved; a negative number takes back what it was told before."""
        raise NotImplementedError

    def observe(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Call the step's function with ops of the observer's own; returns what the function does, and a reading.

        Its last arguments are the observer's: what prepare() gave.
        """
        raise NotImplementedError

    def prepare(self, step: Any) -> list[Array]:
        """An observed call of the step is about to be traced or run. Returns arrays that it is to read, as they are
        before the call."""
        raise NotImplementedError

    def receive(self, step: Any, reading: Any) -> None:
        """An observed call of the step ran, and this is what it read."""
        raise NotImplementedError


observers: list[Observer] = []
"""Those in force: see join()."""

_ahead: set[Any] = set()  # the steps that count calls as run before they do, in `unobserved`


def join(observer: Observer) -> None:
    """Put it in force; it is asked before the next call of each step."""
    _take_all_back()
    observers.append(observer)


def leave(observer: Observer) -> None:
    """Put it out of force."""
    _take_all_back()
    observers.remove(observer)


def due(step: Any, calls: int) -> tuple[Observer | None, int]:
    """Who observes the next call of the step, or None, and how many of the next `calls` pass before one is observed;
    they count as run."""
    _take_back(step)
    for observer in observers:
        wait = observer.wait(step)
        if not wait:
            return observer, 0
        if wait < calls:
            calls = int(wait)
    for observer in observers:
        observer.passed(step, calls)
    return None, calls


def due_now(step: Any) -> Observer | None:
    """Who observes the next call of the step, or None. As long as step.unobserved is above 0, nobody does, and whoever
    calls it counts that down instead of asking."""
    observer, calls = due(step, sys.maxsize)
    if observer is None:
        step.unobserved = calls - 1
        _ahead.add(step)
    return observer


def _take_back(step: Any) -> None:
    if step.unobserved:
        for observer in observers:
            observer.passed(step, -step.unobserved)
        step.unobserved = 0


def _take_all_back() -> None:
    for step in _ahead:
        _take_back(step)
    _ahead.clear()
