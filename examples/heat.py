"""A physics-informed network for the heat equation, u_t = DIFFUSION u_xx, on a rod whose ends are kept at 0.

python examples/heat.py --picture heat.png      train, and draw the solution
python examples/heat.py --eager                 the same without compiling the step
python examples/heat.py --compare               a step's time beside PyTorch's
"""

import numpy as np
from physics import Points, Problem, main

DIFFUSION = 0.1


def solution(points: Points) -> np.ndarray:
    """From u = sin(pi x) at time 0 the form stays and its height decays."""
    x, t = points.T
    return np.exp(-DIFFUSION * np.pi**2 * t) * np.sin(np.pi * x)


def problem() -> Problem:
    rng = np.random.default_rng(0)
    start = np.stack([np.linspace(0, 1, 64), np.zeros(64)], 1)
    ends = np.stack([np.arange(64) % 2, np.linspace(0, 1, 64)], 1)
    known = np.concatenate([start, ends]).astype(np.float32)
    return Problem(
        name="heat equation",
        residual=lambda u, slopes, bends: slopes[:, 1] - DIFFUSION * bends[:, 0],
        inside=rng.uniform(0, 1, (512, 2)).astype(np.float32),
        known=known,
        values=solution(known)[:, None],
        solution=solution,
        low=0.0,
        high=1.0,
    )


if __name__ == "__main__":
    main(problem(), width=32, depth=3, steps=4000)
