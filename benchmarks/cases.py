"""The training steps that are measured: dense networks of the sizes that people train on CPUs."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """A network and its batch; the step is forward, mean squared error, backward and update, in float32.

    Attributes:
        widths: features of the input, of each hidden layer and of the output.
        batch: rows of a batch.
        activation: after each layer but the last: relu or tanh.
        optimizer: sgd (plain) or adam.
    """

    widths: tuple[int, ...]
    batch: int
    activation: str = "relu"
    optimizer: str = "sgd"

    def __str__(self) -> str:
        n = len(self.widths)
        widths = f"{n - 1} layers of {self.widths[0]}" if n > 6 else "-".join(map(str, self.widths))
        return f"{widths}, batch {self.batch}, {self.activation}, {self.optimizer}"

    @property
    def flops(self) -> int:
        """Floating-point operations of a step's products, two a multiply-add (the input's gradient is not needed)."""
        layers = [n * m for n, m in zip(self.widths, self.widths[1:], strict=False)]
        return 2 * self.batch * (3 * sum(layers) - layers[0])


LEARNING_RATE = 1e-3

CASES = {
    "xs": Case((4, 16, 1), 16),
    "house": Case((8, 32, 32, 1), 32),
    "rl": Case((17, 64, 64, 6), 64),
    "cliff45": Case((10, 45, 45, 10), 128),
    "cliff46": Case((10, 46, 46, 10), 128),
    "pinn": Case((3, 128, 128, 128, 128, 1), 256),
    "deep": Case((64,) * 33, 64),
    # the example of SimpleChains.jl: 2-by-2 matrices to their exponentials
    "matexp": Case((4, 32, 16, 4), 10_000, "tanh", "adam"),
    "mnist": Case((784, 128, 10), 64),
    "mid": Case((256, 512, 512, 256), 128),
    "large": Case((1024, 2048, 2048, 1024), 512),
    "xl": Case((4096, 4096, 4096), 1024),
    "skinny": Case((512, 2048, 512), 1),
}
"""By name: from a network whose arithmetic takes a third of a microsecond to one that is nothing but arithmetic."""
