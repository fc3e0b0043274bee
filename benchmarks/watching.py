"""What watching a training costs, eager or compiled: ten steps with rg.inspect.watch(every=10) beside ten without.

python -m benchmarks.watching [backend [eager]]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim

SHAPES = ((64, 32), (64, 64), (64, 128), (64, 256), (64, 512), (128, 32), (128, 64), (128, 256), (256, 64), (256, 256))
"""Width of the three hidden layers, and rows of a batch."""
ROUNDS = 50


def training(width: int, rows: int, compiled: bool) -> tuple[nn.Module, Callable[..., Any], rg.Tensor, rg.Tensor]:
    """A classifier, its step with Adam, and a batch."""
    hidden = [layer for _ in range(3) for layer in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(*hidden, nn.Linear(width, 10))
    optimizer = optim.Adam(model.parameters())

    def step(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return model, rg.compile(step) if compiled else step, rg.randn(rows, width), rg.randint(0, 10, (rows,))


def main() -> None:
    with rg.backends.use(*sys.argv[1:2] or ["auto"]):
        print("width   rows   plain        observed   ten steps")
        for width, rows in SHAPES:
            model, step, x, y = training(width, rows, compiled="eager" not in sys.argv)
            plain, observed, both = [], [], []
            for _ in range(ROUNDS):
                step(x, y)  # which finds the caches as the others left them
                start = perf_counter()
                for _ in range(10):
                    step(x, y)
                plain.append((perf_counter() - start) / 10)
                with rg.inspect.watch(model, every=10):
                    for _ in range(20):
                        step(x, y)
                    start = perf_counter()
                    step(x, y)
                    first = perf_counter()
                    for _ in range(9):
                        step(x, y)
                    end = perf_counter()
                observed.append(first - start)
                both.append((end - start) / 10)
            extra = median(b / p for b, p in zip(both, plain, strict=True)) - 1
            costs = median(o / p for o, p in zip(observed, plain, strict=True))
            print(f"{width:5} {rows:6}   {median(plain) * 1e6:5.0f} us   x {costs:5.2f}      {extra:+5.1%}", flush=True)


if __name__ == "__main__":
    main()
