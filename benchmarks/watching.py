"""What watching a compiled training costs: ten steps with rg.inspect.watch(every=10) beside ten without.

python -m benchmarks.watching
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim

from .timing import best_in_turn

SHAPES = ((64, 64), (64, 256), (64, 1024), (128, 64), (128, 256), (256, 256))
"""Width of the three hidden layers, and rows of a batch."""


def ten_steps(width: int, rows: int, stack: contextlib.ExitStack | None) -> Callable[[], None]:
    """Ten steps of a classifier's training with Adam; watched until the stack closes, if one is given."""
    hidden = [layer for _ in range(3) for layer in (nn.Linear(width, width), nn.ReLU())]
    model = nn.Sequential(*hidden, nn.Linear(width, 10))
    optimizer = optim.Adam(model.parameters())
    x, y = rg.randn(rows, width), rg.randint(0, 10, (rows,))

    @rg.compile
    def step(x: rg.Tensor, y: rg.Tensor) -> rg.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    if stack is not None:
        stack.enter_context(rg.inspect.watch(model, every=10))

    def ten() -> None:
        for _ in range(10):
            step(x, y)

    return ten


def main() -> None:
    print("width   rows   plain      watched")
    for width, rows in SHAPES:
        with contextlib.ExitStack() as stack:
            functions = {"plain": ten_steps(width, rows, None), "watched": ten_steps(width, rows, stack)}
            best = best_in_turn(functions, rounds=200)
        plain, watched = best["plain"] / 10, best["watched"] / 10
        print(f"{width:5} {rows:6}   {plain * 1e6:5.0f} us   + {watched / plain - 1:.1%}")


if __name__ == "__main__":
    main()
