"""Derive the polynomial coefficients of math.inc and print them as C tables.

Each polynomial is the minimax one: the Remez exchange finds the p of the given degree for which the largest
weight * |p - f| over an interval is smallest; the weight makes that the relative error of the function that the
polynomial serves. Run: python csrc/coefficients.py (needs mpmath).
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import NamedTuple

import mpmath
from mpmath import erf, erfc, exp, expm1, log, mpf, pi, sqrt

mpmath.mp.dps = 60
Real = Callable[[mpf], mpf]


class Approximation(NamedTuple):
    name: str
    meaning: str
    f: Real
    weight: Real
    low: mpf
    high: mpf
    degree: int
    suffix: str  # of the C type's constants


def remez(f: Real, weight: Real, low: mpf, high: mpf, degree: int) -> tuple[list[mpf], mpf]:
    """The minimax polynomial, lowest power first, and its largest weighted error."""
    n = degree + 2
    points = [(low + high) / 2 - (high - low) / 2 * mpmath.cos(pi * (i + 0.5) / n) for i in range(n)]
    grid = mpmath.linspace(low, high, 60 * n)
    values = [(x, f(x), weight(x)) for x in grid]
    for _ in range(12):
        system = mpmath.matrix(n, n)
        for i, x in enumerate(points):
            for j in range(degree + 1):
                system[i, j] = x**j
            system[i, degree + 1] = (-1) ** i / weight(x)
        powers = list(mpmath.lu_solve(system, mpmath.matrix([f(x) for x in points])))[:-1]
        errors = [w * (mpmath.polyval(powers[::-1], x) - y) for x, y, w in values]
        points = [grid[i] for i in alternating_extrema(errors, n)]
    return powers, max(abs(e) for e in errors)


def alternating_extrema(errors: list[mpf], n: int) -> list[int]:
    """The indices of n extrema of alternating sign, the largest that there are."""
    extrema: list[int] = []
    for i, e in enumerate(errors):
        if not extrema or (e > 0) != (errors[extrema[-1]] > 0):
            extrema.append(i)
        elif abs(e) > abs(errors[extrema[-1]]):
            extrema[-1] = i
    while len(extrema) > n:
        extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
    if len(extrema) < n:
        raise ArithmeticError(f"{len(extrema)} alternations of the error, expected {n}")
    return extrema


# Quotients that are 0/0 at 0 go over to their series below TINY; weights that vanish at 0 stop at FLOOR.
TINY, FLOOR = mpf(10) ** -9, mpf(10) ** -4


def exp_tail(r: mpf) -> mpf:
    return (expm1(r) - r) / r**2 if abs(r) > TINY else 0.5 + r / 6


def log_tail(z: mpf) -> mpf:
    s = sqrt(z)
    return (log((1 + s) / (1 - s)) - 2 * s) / (s * z) if z > TINY else mpf(2) / 3 + 2 * z / 5


def erf_tail(z: mpf) -> mpf:
    return erf(sqrt(z)) / sqrt(z) - 1 if z > TINY else 2 / sqrt(pi) * (1 - z / 3) - 1


def approximations(suffix: str) -> list[Approximation]:
    single = suffix == "f"
    half_ln2 = log(2) / 2 * mpf("1.001")
    return [
        Approximation(
            *("EXP_TAIL", "(exp(r) - 1 - r) / r^2", exp_tail, lambda r: (r * r + FLOOR) / exp(r)),
            *(-half_ln2, half_ln2, 4 if single else 9, suffix),
        ),
        Approximation(
            *("LOG_TAIL", "(log((1+s)/(1-s)) - 2s) / s^3 in z = s^2", log_tail, lambda z: z / 2 + FLOOR),
            *(TINY, mpf(1) / 9, 3 if single else 9, suffix),
        ),
        Approximation(
            *("ERF_TAIL", "erf(x)/x - 1 in z = x^2", erf_tail, lambda z: 1 / (1 + erf_tail(z))),
            *(TINY, mpf(1), 6 if single else 11, suffix),
        ),
        Approximation(
            *("LOG_ERFC", "log(1 - erf(x))", lambda x: log(erfc(x)), lambda x: erfc(x) / erf(x)),
            *(mpf(1), mpf("3.95") if single else mpf(6), 6 if single else 17, suffix),
        ),
    ]


def show(a: Approximation) -> None:
    powers, error = remez(a.f, a.weight, a.low, a.high, a.degree)
    numbers = ", ".join(mpmath.nstr(c, 9 if a.suffix else 17) + a.suffix for c in powers)
    print(f"/* {a.meaning}: {mpmath.nstr(error, 2)} */")
    print(textwrap.fill(f"{a.name}[] = {{{numbers}}};", 116, subsequent_indent="    "))


if __name__ == "__main__":
    for suffix in ("f", ""):
        for approximation in approximations(suffix):
            show(approximation)
