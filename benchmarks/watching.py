"""What watching a training costs, eager or compiled: ten steps with rg.inspect.watch(every=10) beside ten without.

python -m benchmarks.watching [backend [eager]]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import cycle, product
from statistics import median
from time import perf_counter
from typing import Any

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim

SHAPES = ((64, 32), (64, 64), (64, 128), (64, 256), (64, 512), (128, 32), (128, 64), (128, 256), (256, 64), (256, 256))
"""Width of the three hidden layers, and rows of a batch."""
ROUNDS, SECONDS = 50, 2
"""At least, of each shape: what a single round finds is mostly what else the machine does."""


def training(
    width: int, rows: int, optimizer_of: Callable[..., optim.Optimizer], compiled: bool
) -> tuple[nn.Module, Callable[[], Any]]:
    """A classifier, and what takes a step of its training, on one batch after another."""
    hidden = [layer for _ in range(3) for layer in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(*hidden, nn.Linear(width, 10))
    optimizer = optimizer_of(model.parameters(), lr=1e-3)

    def step(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    taken = rg.compile(step) if compiled else step
    batches = cycle([(rg.randn(rows, width), rg.randint(0, 10, (rows,))) for _ in range(7)])
    return model, lambda: taken(*next(batches))


def main() -> None:
    with rg.backends.use(*sys.argv[1:2] or ["auto"]):
        print("       width   rows   plain        observed   ten steps")
        for (width, rows), optimizer in product(SHAPES, (optim.SGD, optim.Adam)):
            model, step = training(width, rows, optimizer, compiled="eager" not in sys.argv)
            plain, observed, both = [], [], []
            began = perf_counter()
            while len(plain) < ROUNDS or perf_counter() < began + SECONDS:
                step()  # which finds the caches as the others left them
                start = perf_counter()
                for _ in range(10):
                    step()
                plain.append((perf_counter() - start) / 10)
                with rg.inspect.watch(model, every=10):
                    for _ in range(20):
                        step()
                    start = perf_counter()
                    step()
                    first = perf_counter()
                    for _ in range(9):
                        step()
                    end = perf_counter()
                observed.append(first - start)
                both.append((end - start) / 10)
            extra = median(b / p for b, p in zip(both, plain, strict=True)) - 1
            costs = median(o / p for o, p in zip(observed, plain, strict=True))
            shape = f"{optimizer.__name__:5} {width:6} {rows:6}"
            print(f"{shape}   {median(plain) * 1e6:5.0f} us   x {costs:5.2f}      {extra:+5.1%}", flush=True)


if __name__ == "__main__":
    main()
