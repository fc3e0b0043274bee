"""Training steps of retrograd and its peers: the same data, the same initial parameters, taken in turn in one run.

    python -m benchmarks.peers                      # the usual cases, all backends
    python -m benchmarks.peers --case house --threads 1 --backend c

Before a case is timed, every peer's first losses are compared with those of NumPy by hand; the exit status is 1
where they differ. A peer that is not installed is left out, with a word.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from . import BACKENDS, use_backend
from .cases import CASES, Case
from .timing import best_in_turn

if TYPE_CHECKING:
    from .workload import Step

USUAL = ["xs", "house", "rl", "mnist", "mid"]
NUMPY, TORCH = "NumPy by hand", "PyTorch eager"
CHECKED_STEPS = 10
TOLERANCE = 1e-4
"""Of the losses over CHECKED_STEPS steps, relative: float32 rounding, in sums of another order."""

THREAD_VARIABLES = (
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RETROGRAD_NUM_THREADS",
)


class Peer(NamedTuple):
    """A way to make a training step.

    Attributes:
        name: what the table calls it.
        make: from a case to its step; ImportError or NotImplementedError, with the reason, where it cannot run here.
        before: called before each of its turns.
    """

    name: str
    make: Callable[[Case], Step]
    before: Callable[[], Any] = lambda: None


def peers(backends: list[str]) -> list[Peer]:
    """All of them, the one that the others are compared with first."""
    from . import workload  # which imports NumPy, and so must wait for limit_threads

    def eager(backend: str) -> Peer:
        def before() -> None:
            use_backend(backend)

        def make(case: Case) -> Step:
            before()
            return workload.retrograd_step(case)

        return Peer(f"retrograd eager, {backend}", make, before)

    return [Peer(NUMPY, workload.numpy_step), Peer(TORCH, workload.torch_step), *map(eager, backends)]


def limit_threads(count: int) -> None:
    """Let this process use `count` processors and threads. Libraries read this when they are loaded."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(count)))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def processors() -> int:
    """How many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def losses(peer: Peer, step: Step) -> list[float]:
    """The losses of the first CHECKED_STEPS steps."""
    peer.before()
    return [step().item() for _ in range(CHECKED_STEPS)]


def deviation(found: list[float], expected: list[float]) -> float:
    """The largest relative difference between two lists of losses."""
    return max(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True))


def compare(case: Case, contestants: list[Peer], rounds: int) -> bool:
    """Check, time and print one case, ratios as how many times as fast; whether all losses agreed."""
    steps = {peer.name: peer.make(case) for peer in contestants}
    first = {peer.name: losses(peer, steps[peer.name]) for peer in contestants}
    seconds = best_in_turn(steps, rounds, {peer.name: peer.before for peer in contestants})
    agree = True
    print(f"{'':26}{'µs/step':>10}{'GFLOP/s':>9}{'vs NumPy':>10}{'vs PyTorch':>12}{'losses differ by':>20}")
    for name, taken in seconds.items():
        differ = deviation(first[name], first[NUMPY])
        against = [f"{seconds[base] / taken:.2f}" if base in seconds else "-" for base in (NUMPY, TORCH)]
        print(
            f"  {name:24}{taken * 1e6:10.1f}{case.flops / taken / 1e9:9.1f}{against[0]:>10}{against[1]:>12}"
            f"{differ:19.0e}{'' if differ < TOLERANCE else '  WRONG'}"
        )
        agree = agree and differ < TOLERANCE
    return agree


def runnable(candidates: list[Peer]) -> list[Peer]:
    """Those that can run here; says why of each that cannot."""
    found = []
    for peer in candidates:
        try:
            peer.make(CASES["xs"])
        except (ImportError, NotImplementedError) as reason:
            print(f"left out: {peer.name} ({reason})")
        else:
            found.append(peer)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=[*CASES, "all"], default=USUAL, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=processors(), help="default: this machine's, %(default)s")
    parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=BACKENDS, help="default: all")
    parser.add_argument(
        "--rounds", type=int, default=20, help="turns of each peer, the best counts; default %(default)s"
    )
    options = parser.parse_args()
    if not 1 <= options.threads <= processors():
        parser.error(f"--threads {options.threads}: this process may use 1 to {processors()}")
    limit_threads(options.threads)
    contestants = runnable(peers(options.backend))
    agree = True
    for name in CASES if "all" in options.case else options.case:
        case = CASES[name]
        print(f"\n{name}: {case}, {options.threads} thread(s)")
        agree = compare(case, contestants, options.rounds) and agree
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
