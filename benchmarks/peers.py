"""Training steps of retrograd and its peers: the same data, the same initial parameters, taken in turn in one run.

    python -m benchmarks.peers                      # the usual cases, all backends
    python -m benchmarks.peers --case house --threads 1 --backend c

Before a case is timed, every peer's first losses are compared with those of NumPy by hand; the exit status is 1
where they differ. A peer that is not installed is left out, with a word.
"""

from __future__ import annotations

import argparse
import math
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
NUMPY, TORCH, JAX, SCAN = "NumPy by hand", "PyTorch eager", "JAX jit", "JAX scan"
BASES = (NUMPY, TORCH, JAX, SCAN)
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
        steps: how many steps a call makes.
    """

    name: str
    make: Callable[[Case], Step]
    before: Callable[[], Any] = lambda: None
    steps: int = 1


def peers(backends: list[str]) -> list[Peer]:
    """All of them, the one that the others are compared with first."""
    from . import workload  # which imports NumPy, and so must wait for limit_threads

    def ours(kind: str, make: Callable[[Case], Step], backend: str, steps: int = 1) -> Peer:
        def make_there(case: Case) -> Step:
            use_backend(backend)
            return make(case)

        return Peer(f"retrograd {kind}, {backend}", make_there, lambda: use_backend(backend), steps)

    return [
        Peer(NUMPY, workload.numpy_step),
        Peer(TORCH, workload.torch_step),
        Peer("torch.compile", workload.torch_compiled_step),
        Peer(JAX, workload.jax_step),
        Peer(SCAN, workload.jax_scan_step, steps=workload.LOOP),
        Peer("scikit-learn", workload.sklearn_step),
        *(ours("eager", workload.retrograd_step, backend) for backend in backends),
        *(ours("compiled", workload.retrograd_compiled_step, backend) for backend in backends),
        *(ours("run", workload.retrograd_run_step, backend, workload.LOOP) for backend in backends),
    ]


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
    found: list[float] = []
    while len(found) < CHECKED_STEPS:
        made = step()
        found += [made.item()] if peer.steps == 1 else [float(loss) for loss in made]
    return found[:CHECKED_STEPS]


def deviation(found: list[float], expected: list[float]) -> float:
    """The largest relative difference between two lists of losses."""
    return max(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True))


def peak_flops(threads: int) -> float:
    """The processor's float32 multiply-adds, two operations each, a second; NaN without the C backend."""
    from retrograd import backends

    if "c" not in backends.available():
        return math.nan
    from retrograd.backends.c import peak

    return peak.flops(threads=threads)


def compare(case: Case, contestants: list[Peer], rounds: int, threads: int) -> bool:
    """Check, time and print one case, ratios as how many times as fast, and beside them the share of the peak, measured
    before and after; whether all losses agreed."""
    before = peak_flops(threads)
    steps = {peer.name: peer.make(case) for peer in contestants}
    first = {peer.name: losses(peer, steps[peer.name]) for peer in contestants}
    calls = best_in_turn(steps, rounds, {peer.name: peer.before for peer in contestants})
    seconds = {peer.name: calls[peer.name] / peer.steps for peer in contestants}
    agree = True
    peak = max(before, peak_flops(threads))
    heads = "".join(f"{'vs ' + base.removesuffix(' by hand').removesuffix(' eager'):>12}" for base in BASES)
    print(f"{'':28}{'µs/step':>10}{'GFLOP/s':>9}{'of peak':>9}{heads}{'losses differ by':>20}")
    for name, taken in seconds.items():
        differ = deviation(first[name], first[NUMPY])
        against = "".join(f"{seconds[base] / taken:12.2f}" if base in seconds else f"{'-':>12}" for base in BASES)
        print(
            f"  {name:26}{taken * 1e6:10.2f}{case.flops / taken / 1e9:9.1f}"
            f"{case.flops / taken / peak:9.1%}{against}"
            f"{differ:20.0e}{'' if differ < TOLERANCE else '  WRONG'}"
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
        "--peer", nargs="+", default=[""], help="only those with one of these words in their names, and NumPy by hand"
    )
    parser.add_argument(
        "--rounds", type=int, default=50, help="turns of each peer, the best counts; default %(default)s"
    )
    options = parser.parse_args()
    if not 1 <= options.threads <= processors():
        parser.error(f"--threads {options.threads}: this process may use 1 to {processors()}")
    limit_threads(options.threads)
    contestants = runnable(
        [p for p in peers(options.backend) if p.name == NUMPY or any(word in p.name for word in options.peer)]
    )
    agree = True
    for name in CASES if "all" in options.case else options.case:
        case = CASES[name]
        print(f"\n{name}: {case}, {options.threads} thread(s)")
        agree = compare(case, contestants, options.rounds, options.threads) and agree
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
