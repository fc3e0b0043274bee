"""What the examples of physics-informed networks share: a network of place and time, its training, and a picture.

Raissi, Perdikaris and Karniadakis, Physics-informed neural networks (2019): the network's derivatives, by automatic
differentiation, must solve the differential equation at points of the domain, and its values fit the known ones.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import retrograd as rg
import retrograd.nn.functional as F
from retrograd import nn, optim

Points = np.ndarray
"""(rows, 2): place and time."""


class Problem(NamedTuple):
    """A differential equation with known values, and its solution to hold the network against.

    Attributes:
        name: for files and reports.
        residual: residual(u, slopes, bends), what the equation says must be 0, from the network's value at the points
            (rows, 1), its slopes (rows, 2) by place and time, and their slopes along the place (rows, 2).
        inside: points at which the equation must hold.
        known: points at which the value is known.
        values: (rows, 1) those values.
        solution: the true values at points, (rows,).
        low, high: the ends of the place; time goes from 0 to 1.
    """

    name: str
    residual: Callable[[Any, Any, Any], Any]
    inside: Points
    known: Points
    values: np.ndarray
    solution: Callable[[Points], np.ndarray]
    low: float
    high: float


def network(layers: Any, width: int, depth: int) -> Any:
    """A dense network of two inputs and one output, of retrograd's or PyTorch's layers."""
    hidden = [m for _ in range(depth - 1) for m in (layers.Linear(width, width), layers.Tanh())]
    return layers.Sequential(layers.Linear(2, width), layers.Tanh(), *hidden, layers.Linear(width, 1))


def step_of(problem: Problem, model: nn.Module, optimizer: optim.Optimizer) -> Callable[..., rg.Tensor]:
    """A training step: a function of points inside, known points and their values, that gives the loss."""
    along = rg.tensor(np.tile([1.0, 0.0], (len(problem.inside), 1)), dtype="float32")

    def value(points: rg.Tensor) -> tuple[rg.Tensor, rg.Tensor]:
        u = model(points)
        return u.sum(), u  # of a sum over rows each row has the slopes of its own value

    slopes_of = rg.grad(value, has_aux=True)

    def step(inside: rg.Tensor, known: rg.Tensor, values: rg.Tensor) -> rg.Tensor:
        slopes, bends, u = rg.jvp(slopes_of, (inside,), (along,), has_aux=True)
        loss = problem.residual(u, slopes, bends).square().mean() + F.mse_loss(model(known), values)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def pytorch_step_of(problem: Problem, width: int, depth: int) -> Callable[[], Any]:
    """The same step in PyTorch, run eagerly."""
    import torch

    model = network(torch.nn, width, depth)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    inside = torch.tensor(problem.inside, requires_grad=True)
    known, values = torch.tensor(problem.known), torch.tensor(problem.values)

    def step() -> Any:
        u = model(inside)
        (slopes,) = torch.autograd.grad(u.sum(), inside, create_graph=True)
        (bends,) = torch.autograd.grad(slopes[:, 0].sum(), inside, create_graph=True)
        loss = problem.residual(u, slopes, bends).square().mean() + torch.nn.functional.mse_loss(model(known), values)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def train(problem: Problem, model: nn.Module, steps: int, compiled: bool) -> float:
    """Train the model; the seconds that it took."""
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    step = step_of(problem, model, optimizer)
    if compiled:
        step = rg.compile(step)
    data = [rg.tensor(a) for a in (problem.inside, problem.known, problem.values)]
    start = time.perf_counter()
    for n in range(steps):
        loss = step(*data)
        schedule.step()
        if n % max(1, steps // 10) == 0:
            print(f"step {n:6d}  loss {loss.item():.3e}")
    return time.perf_counter() - start


def grid(problem: Problem, places: int = 201, times: int = 101) -> Points:
    """All points of a grid over the domain, place by place within each time."""
    x, t = np.meshgrid(np.linspace(problem.low, problem.high, places), np.linspace(0, 1, times))
    return np.stack([x.ravel(), t.ravel()], 1).astype(np.float32)


def relative_error(problem: Problem, model: nn.Module) -> float:
    """The norm of the network's error over the norm of the solution, on a grid."""
    points = grid(problem)
    true = problem.solution(points)
    with rg.no_grad():
        found = model(rg.tensor(points)).numpy()[:, 0]
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def compare(problem: Problem, width: int, depth: int, repeats: int = 5, steps: int = 40) -> None:
    """Time a step of each kind by turns, and print the best of each."""
    model = network(nn, width, depth)
    eager = step_of(problem, model, optim.Adam(model.parameters(), lr=1e-3))
    compiled = rg.compile(eager)
    data = [rg.tensor(a) for a in (problem.inside, problem.known, problem.values)]
    calls: dict[str, Callable[[], Any]] = {
        "PyTorch, eager": pytorch_step_of(problem, width, depth),
        "retrograd, eager": lambda: eager(*data),
        "retrograd, compiled": lambda: compiled(*data),
    }
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            for _ in range(steps):
                call()
            best[name] = min(best[name], (time.perf_counter() - start) / steps)
    for name, seconds in best.items():
        print(
            f"{name:20s} {seconds * 1e6:8.0f} µs a step, {best['PyTorch, eager'] / seconds:5.1f} times PyTorch's speed"
        )


def picture(problem: Problem, model: nn.Module, path: str) -> None:
    """Draw the network's solution, its error, and both solutions at four times."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    points = grid(problem)
    with rg.no_grad():
        found = model(rg.tensor(points)).numpy()[:, 0].reshape(101, 201)
    true = problem.solution(points).reshape(101, 201)
    extent = (0.0, 1.0, problem.low, problem.high)
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), constrained_layout=True)
    images = (("network", found, "viridis"), ("network - solution", found - true, "RdBu_r"))
    for axis, (title, image, colours) in zip(axes[:2], images, strict=True):
        shown = axis.imshow(image.T, origin="lower", aspect="auto", extent=extent, cmap=colours)
        figure.colorbar(shown, ax=axis)
        axis.set(title=title, xlabel="t", ylabel="x")
    x = np.linspace(problem.low, problem.high, 201)
    for n in (0, 25, 50, 100):
        (line,) = axes[2].plot(x, true[n], lw=4, alpha=0.35)
        axes[2].plot(x, found[n], "--", color=line.get_color(), label=f"t = {n / 100:g}")
    axes[2].set(title="solution, network (dashed)", xlabel="x", ylabel="u")
    axes[2].legend()
    figure.suptitle(f"{problem.name}: relative error {100 * relative_error(problem, model):.2f} %")
    figure.savefig(path, dpi=110)


def main(problem: Problem, width: int, depth: int, steps: int) -> None:
    """Train as the command line says, and report."""
    parser = argparse.ArgumentParser(description=f"A physics-informed network for the {problem.name}.")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--eager", action="store_true", help="do not compile the training step")
    parser.add_argument("--compare", action="store_true", help="only time a step, beside PyTorch's")
    parser.add_argument("--picture", metavar="FILE", help="draw the solution")
    options = parser.parse_args()
    rg.manual_seed(0)
    if options.compare:
        compare(problem, width, depth)
        return
    model = network(nn, width, depth)
    seconds = train(problem, model, options.steps, compiled=not options.eager)
    print(f"{options.steps} steps in {seconds:.1f} s; relative error {100 * relative_error(problem, model):.2f} %")
    if options.picture:
        picture(problem, model, options.picture)
