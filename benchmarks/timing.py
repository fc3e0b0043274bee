"""Timing several functions side by side, so that a noisy machine troubles all of them alike."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, process_time, sleep
from timeit import timeit
from typing import Any

TURN_SECONDS = 0.004
"""Short, so that among many turns some are left alone by the rest of the machine."""
TURN_CALLS = 16
LONGEST_TURN_SECONDS = 0.05
"""But of so many calls, if they take no longer than that: after a wait the first ones find caches cold and threads
asleep."""

LOOK_SECONDS = 0.01
"""Longer than a tick of the system's clock, at which it counts what threads on other cores used."""
PATIENCE_SECONDS = 0.5

Function = Callable[[], Any]


def best_in_turn(functions: dict[str, Function], rounds: int = 50, before: dict[str, Function] | None = None):
    """Seconds a call of each function, by name: the best of `rounds` turns, taken one function after the other.

    A turn is as many calls as fit into about TURN_SECONDS, or TURN_CALLS where they fit into LONGEST_TURN_SECONDS, at
    least one, after a call of the function's entry in `before`, if any, which does not count. Nor does the first call
    of all, which may compile or allocate.
    """

    def prepare(name: str) -> None:
        wait_for_idle_threads()
        if before and name in before:
            before[name]()

    calls, best = {}, dict.fromkeys(functions, float("inf"))
    for name, function in functions.items():
        prepare(name)
        calls[name] = _calls_in_a_turn(function)
    for _ in range(rounds):
        for name, function in functions.items():
            prepare(name)
            if calls[name] > 1:
                function()  # which wakes the threads that it uses
            best[name] = min(best[name], timeit(function, number=calls[name]) / calls[name])
    return best


def wait_for_idle_threads() -> None:
    """Until the threads of this process sleep, for PATIENCE_SECONDS at most.

    Those of a BLAS go on looking for work for up to 0.15 s after a product, and whoever comes next would share their
    core.
    """
    end = monotonic() + PATIENCE_SECONDS
    while monotonic() < end:
        before = process_time()
        sleep(LOOK_SECONDS)
        if process_time() - before < LOOK_SECONDS / 4:
            return


def _calls_in_a_turn(function: Function) -> int:
    function()
    calls = 1
    while (seconds := timeit(function, number=calls)) < TURN_SECONDS / 2:
        calls *= 2
    fit = int(LONGEST_TURN_SECONDS / seconds * calls)
    return max(calls, min(TURN_CALLS, fit))
