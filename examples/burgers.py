"""A physics-informed network for Burgers' equation, u_t + u u_x = VISCOSITY u_xx, whose solution steepens into a shock.

python examples/burgers.py --picture burgers.png      train, and draw the solution
python examples/burgers.py --eager                    the same without compiling the step
python examples/burgers.py --compare                  a step's time beside PyTorch's
"""

import numpy as np
from physics import Points, Problem, main

VISCOSITY = 0.04 / np.pi


def solution(points: Points) -> np.ndarray:
    """From u = -sin(pi x) at time 0, by the transform of Cole (1951) and Hopf (1950), whose integrals over the real
    line Gauss and Hermite's quadrature takes."""
    x, t = (c[:, None] for c in points.astype(np.float64).T)
    nodes, weights = np.polynomial.hermite.hermgauss(100)
    y = x - 2 * np.sqrt(VISCOSITY * t) * nodes
    exponent = -np.cos(np.pi * y) / (2 * np.pi * VISCOSITY)
    density = weights * np.exp(exponent - exponent.max(1, keepdims=True))
    return -(density * np.sin(np.pi * y)).sum(1) / density.sum(1)


def problem() -> Problem:
    rng = np.random.default_rng(0)
    anywhere, near = rng.uniform([-1, 0], [1, 1], (320, 2)), rng.uniform([-0.15, 0], [0.15, 1], (192, 2))
    start = np.stack([np.linspace(-1, 1, 64), np.zeros(64)], 1)
    ends = np.stack([2.0 * (np.arange(32) % 2) - 1, np.linspace(0, 1, 32)], 1)
    known = np.concatenate([start, ends])
    return Problem(
        name="Burgers' equation",
        residual=lambda u, slopes, bends: slopes[:, 1] + u[:, 0] * slopes[:, 0] - VISCOSITY * bends[:, 0],
        inside=np.concatenate([anywhere, near]).astype(np.float32),  # the shock stands at 0
        known=known.astype(np.float32),
        values=solution(known)[:, None].astype(np.float32),
        solution=solution,
        low=-1.0,
        high=1.0,
    )


if __name__ == "__main__":
    main(problem(), width=32, depth=4, steps=10000)
