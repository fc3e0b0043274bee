"""Derivatives held against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.spec import Array
from ..tape import no_grad
from ..tensor import Tensor
from .functional import grad, jvp, vjp
from .recording import check_inputs, flat, like

SHOWN = 10
"""The deviations that a report lists."""


@dataclass(frozen=True)
class Deviation:
    """A derivative that is not what finite differences give.

    Attributes:
        order: 1, or 2 for a derivative of the gradient.
        mode: "reverse", "forward"; of order 2 the modes from the outside in, such as "forward over reverse".
        input: the number of the input tensor, counted through the containers among the arguments.
        index: the element of it.
        found: the derivative by that element, of a sum of the value's elements with random weights.
        expected: the same by finite differences.
    """

    order: int
    mode: str
    input: int
    index: tuple[int, ...]
    found: float
    expected: float

    @property
    def difference(self) -> float:
        return abs(self.found - self.expected)

    def __str__(self) -> str:
        which = "second derivative" if self.order == 2 else "derivative"
        return (
            f"{which}, {self.mode}: input {self.input} at {list(self.index)}: {self.found:.8g}, by finite differences "
            f"{self.expected:.8g}, difference {self.difference:.3g}"
        )


class GradientMismatch(AssertionError):
    """Derivatives that finite differences contradict; `deviations` lists them, the largest first."""

    def __init__(self, name: str, deviations: list[Deviation], checked: int) -> None:
        self.deviations = sorted(deviations, key=lambda d: -d.difference)
        lines = [f"check_grad: {name}: {len(deviations)} of {checked} derivatives differ from finite differences:"]
        lines += [f"  {d}" for d in self.deviations[:SHOWN]]
        if len(deviations) > SHOWN:
            lines.append(f"  and {len(deviations) - SHOWN} more")
        super().__init__("\n".join(lines))


def check_grad(
    f: Callable[..., Any],
    *args: Any,
    order: int = 1,
    modes: Sequence[str] = ("forward", "reverse"),
    step: float = 1e-4,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    seed: int = 0,
) -> bool:
    """Hold f's derivatives against finite differences, in double precision.

    The derivatives are those of a sum of the value's elements with random weights, by each element of each argument;
    those of order 2 are those of the first ones' sum with random weights. Finite differences take five points, with an
    error of step^4 / 30 of the fifth derivative (Abramowitz and Stegun, Handbook of Mathematical Functions (1964),
    25.3.6).

    Args:
        f: gives a floating tensor or a container of them, and the same for the same arguments.
        args: what to call it with; derivatives are by the floating tensors and arrays, and by those in containers,
            which are converted to float64.
        order: 1, or 2 to check derivatives of derivatives too.
        modes: "forward", "reverse" or both; of order 2 each over each.
        step: between the points.
        rtol, atol: a derivative d may differ from finite differences by atol + rtol |d|.
        seed: of the random weights.

    Returns:
        True.

    Raises:
        GradientMismatch: a derivative differs; an AssertionError whose message lists input, index, both values and
            their difference.
        TypeError: there is nothing floating among the arguments. ValueError: an unknown order or mode.

    Example:
        >>> import retrograd as rg
        >>> rg.check_grad(lambda x, y: rg.tanh(x @ y), rg.ones(2, 3), rg.ones(3), order=2)
        True
    """
    if order not in (1, 2):
        raise ValueError(f"check_grad: order is {order!r}, expected 1 or 2")
    if not modes or set(modes) - _FIRST.keys():
        raise ValueError(f"check_grad: modes are {tuple(modes)}, expected some of {', '.join(map(repr, _FIRST))}")
    chosen = [n for n, a in enumerate(args) if _is_floating(a)]
    if not chosen:
        raise TypeError("check_grad: no argument is a floating tensor, array or number, or a container of them")
    structure = tuple(check_inputs("check_grad", args[n]) for n in chosen)
    rng = np.random.default_rng(seed)

    def call(*inputs: Tensor) -> list[Tensor]:
        given = list(args)
        for n, argument in zip(chosen, like(structure, inputs), strict=True):
            given[n] = argument
        return flat(f(*given))

    points = [Tensor(np.array(t.array, np.float64, order="C")) for t in flat(structure)]
    with no_grad():
        weights = [Tensor(np.asarray(rng.uniform(0.5, 1.5, y.shape)).astype(y.dtype)) for y in call(*points)]

    def first(*inputs: Tensor) -> Tensor:
        return _weighted(call(*inputs), weights)

    probes = [Tensor(np.asarray(rng.uniform(0.5, 1.5, x.shape))) for x in points]
    functions: list[tuple[int, str, Callable[..., Tensor]]] = [(1, mode, first) for mode in modes]
    if order == 2:
        functions += [(2, f"{{}} over {inner}", _along(first, probes, inner)) for inner in modes]
    deviations, checked = [], 0
    for level, name, function in functions:
        expected = _differences(function, points, step)
        for mode in modes if level == 2 else (name,):
            found = _FIRST[mode](function, points)
            for i, (have, want) in enumerate(zip(found, expected, strict=True)):
                checked += want.size
                wrong = ~(np.abs(have - want) <= atol + rtol * np.abs(want))
                deviations += [
                    Deviation(
                        level, name.format(mode), i, tuple(map(int, at)), float(have[tuple(at)]), float(want[tuple(at)])
                    )
                    for at in np.argwhere(wrong)
                ]
    if deviations:
        raise GradientMismatch(getattr(f, "__name__", repr(f)), deviations, checked)
    return True


def _is_floating(argument: Any) -> bool:
    tensors = [] if isinstance(argument, (bool, int)) else flat(argument)
    return isinstance(argument, float) or any(t.dtype.kind == "f" for t in tensors)


def _weighted(values: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    total = Tensor(np.zeros(()))
    for y, w in zip(values, weights, strict=True):
        total = total + (y * w).sum()
    return total


def _along(f: Callable[..., Tensor], probes: list[Tensor], mode: str) -> Callable[..., Tensor]:
    """f's derivative along the probes."""
    if mode == "forward":
        return lambda *inputs: jvp(f, inputs, tuple(probes))[1]
    return lambda *inputs: _weighted(grad(f, range(len(inputs)))(*inputs), probes)


def _reverse(f: Callable[..., Tensor], points: list[Tensor]) -> list[Array]:
    value, pull = vjp(f, *points)
    return [g.numpy() for g in pull(Tensor(np.ones((), value.dtype)))]


def _forward(f: Callable[..., Tensor], points: list[Tensor]) -> list[Array]:
    found = []
    for i, x in enumerate(points):
        slopes = np.zeros(x.shape)
        for at in np.ndindex(x.shape):
            tangents = [np.zeros(p.shape) for p in points]
            tangents[i][at] = 1
            slopes[at] = jvp(f, tuple(points), tuple(map(Tensor, tangents)))[1].item()
        found.append(slopes)
    return found


_FIRST: dict[str, Callable[[Callable[..., Tensor], list[Tensor]], list[Array]]] = {
    "forward": _forward,
    "reverse": _reverse,
}


def _differences(f: Callable[..., Tensor], points: list[Tensor], step: float) -> list[Array]:
    """The derivative of f by each element of each point."""
    found = []
    for i, x in enumerate(points):
        slopes = np.zeros(x.shape)
        for at in np.ndindex(x.shape):
            near = list(_moved(f, points, i, at, step))
            slopes[at] = (near[0] - 8 * near[1] + 8 * near[2] - near[3]) / (12 * step)
        found.append(slopes)
    return found


def _moved(f: Callable[..., Tensor], points: list[Tensor], i: int, at: tuple[int, ...], step: float) -> Iterator[float]:
    for steps in (-2, -1, 1, 2):
        x = points[i].array.copy()
        x[at] += steps * step
        with no_grad():
            yield f(*points[:i], Tensor(x), *points[i + 1 :]).item()
