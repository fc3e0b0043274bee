"""Derive the polynomial coefficients of math.inc and print them as C tables.

Each polynomial is the minimax one: the Remez exchange finds the p of the given degree for which the largest
weight * |p - f| over an interval is smallest; the weight makes that the relative error of the function that the
polynomial serves. Run: python csrc/coefficients.py (needs mpmath).
"""

from __future__ import annotations

import itertools
import struct
import textwrap
from collections.abc import Callable
from typing import NamedTuple

import mpmath
from mpmath import erf, erfc, exp, expm1, log, log1p, mpf, pi, sin, sqrt, tanh

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


def sin_tail(z: mpf) -> mpf:
    r = sqrt(z)
    return (sin(r) - r) / (r * z) if z > TINY else -mpf(1) / 6 + z / 120


def normal_tail(a: mpf) -> mpf:
    """The standard normal distribution's weight below -a, over exp(-a^2/2)."""
    return erfc(a / sqrt(mpf(2))) / 2 * exp(a * a / 2)


TAIL_CENTRE = mpf("4.5")


def normal_tail_of_quotient(q: mpf) -> mpf:
    a = TAIL_CENTRE * (1 + q) / (1 - q)
    return normal_tail(a) * (a + TAIL_CENTRE)


def approximations(suffix: str) -> list[Approximation]:
    single = suffix == "f"
    half_ln2 = log(2) / 2 * mpf("1.001")
    of_doubles = Approximation(
        *("NORMAL_TAIL", "normal_tail(a) (a + c) in q = (a - c) / (a + c), c = TAIL_CENTRE", normal_tail_of_quotient),
        *(lambda q: 1 / normal_tail_of_quotient(q), mpf(-1), (39 - TAIL_CENTRE) / (39 + TAIL_CENTRE), 22, suffix),
    )
    return ([] if single else [of_doubles]) + [
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
        Approximation(
            *("SIN_TAIL", "(sin(r) - r) / r^3 in z = r^2", sin_tail, lambda z: z * sqrt(z) / sin(sqrt(z)) + FLOOR),
            *(TINY, mpf("1.61") ** 2, 3 if single else 7, suffix),
        ),
    ]


def show(a: Approximation) -> None:
    powers, error = remez(a.f, a.weight, a.low, a.high, a.degree)
    numbers = ", ".join(mpmath.nstr(c, 9 if a.suffix else 17) + a.suffix for c in powers)
    print(f"/* {a.meaning}: {mpmath.nstr(error, 2)} */")
    print(textwrap.fill(f"{a.name}[] = {{{numbers}}};", 116, subsequent_indent="    "))


class Pieces(NamedTuple):
    """A function on [0, highest] in pieces, those where x + offset has the same bits up to a few of its mantissa."""

    name: str
    piece: Callable[[mpf, mpf, int], tuple[list[mpf], mpf]]  # from low to high, of a degree: as remez gives it
    offset: mpf
    highest: mpf
    last: mpf  # no piece begins beyond
    begins_name: str = (
        ""  # of the table of values where the pieces begin, kept out of the powers but for their last digits
    )

    def begins(self, mantissa_bits: int) -> list[mpf]:
        steps = 2**mantissa_bits
        sums = [mpf(2) ** exponent * (1 + mpf(i) / steps) for exponent in range(-1, 4) for i in range(steps)]
        return [x - self.offset for x in sums if self.offset <= x < self.offset + self.last]


def tanh_piece(low: mpf, high: mpf, degree: int) -> tuple[list[mpf], mpf]:
    """tanh(low + r) in powers of r, with no constant part where low is 0."""
    if low:
        return remez(lambda r: tanh(low + r), lambda r: 1 / tanh(low + r), mpf(0), high - low, degree)
    powers, error = remez(lambda r: tanh(r) / r, lambda r: r / tanh(r), TINY, high, degree - 1)
    return [mpf(0), *powers], error


def tail_piece(low: mpf, high: mpf, degree: int) -> tuple[list[mpf], mpf]:
    """x normal_tail(x) at x = low + r, likewise."""
    if low:
        value = lambda r: (low + r) * normal_tail(low + r)  # noqa: E731
        return remez(value, lambda r: 1 / value(r), mpf(0), high - low, degree)
    powers, error = remez(normal_tail, lambda r: 1 / normal_tail(r), mpf(0), high, degree - 1)
    return [mpf(0), *powers], error


TANH = Pieces("TANH_PIECES", tanh_piece, mpf("0.75"), mpf("9.1"), mpf("9.1"))
TAIL = Pieces("TAIL_PIECES", tail_piece, mpf("0.75"), mpf("14.7"), mpf("11.2"), "TAIL_BEGINS")


def show_pieces(p: Pieces, lanes: int, mantissa_bits: int, degree: int) -> None:
    """A row for each power; the piece from `low` on is in the column that the bits of low + offset name."""
    begins = p.begins(mantissa_bits)
    columns, errors = [[mpf(0)] * (degree + 1)] * lanes, []
    for low, high in itertools.pairwise([*begins, p.highest]):
        (bits,) = struct.unpack("<I", struct.pack("<f", float(low + p.offset)))
        columns[(bits >> 23 - mantissa_bits) % lanes], error = p.piece(low, high, degree)
        errors.append(error)
    print(f"/* {mpmath.nstr(max(errors), 2)} */")
    rows = [list(row) for row in zip(*columns, strict=True)]
    if p.begins_name:
        print(f"{p.begins_name}[{lanes}] =")
        show_row(rows[0], ";")
        rows[0] = [c - struct.unpack("<f", struct.pack("<f", float(c)))[0] for c in rows[0]]
    print(f"{p.name}[][{lanes}] = {{")
    for row in rows:
        show_row(row, ",")
    print("};")


def show_row(row: list[mpf], end: str) -> None:
    numbers = ", ".join(mpmath.nstr(c, 9) + "f" for c in row)
    print(textwrap.fill(f"{{{numbers}}}{end}", 116, initial_indent="    ", subsequent_indent="     "))


def log1p_tail(r: mpf) -> mpf:
    return (log1p(r) - r) / r**2 if abs(r) > TINY else -mpf(1) / 2 + r / 3


def of_float(x: float | mpf) -> mpf:
    """x rounded to a float."""
    (number,) = struct.unpack("<f", struct.pack("<f", float(x)))
    return mpf(number)


def off_a_float(x: mpf) -> mpf:
    """How far x is from the next float, relative to x."""
    return abs(x - of_float(x)) / abs(x)


def reciprocal(low: mpf, high: mpf) -> mpf:
    """A float near the reciprocal of what lies between low and high whose logarithms, to the bases e and 2, are nearly
    floats (Gal and Bachelis, ACM TOMS 17(1), 1991); 1 beside 1."""
    if 1 in (low, high):
        return mpf(1)
    near = of_float(2 / (low + high))
    floats = (near + i * mpf(2) ** -23 for i in range(-4000, 4000))
    return min(floats, key=lambda c: max(off_a_float(log(c)), off_a_float(log(c) / log(2))))


def show_log_pieces() -> None:
    """Of [3/4, 3/2), by the first four bits of the mantissa."""
    begins = [(1 + mpf(i) / 16) / (1 if i < 8 else 2) for i in range(16)]
    ends = [begin + mpf(1) / (16 if begin >= 1 else 32) for begin in begins]
    reciprocals = [reciprocal(*piece) for piece in zip(begins, ends, strict=True)]
    for name, row in (
        ("LOG_RECIPROCALS", reciprocals),
        ("LOG_BEGINS", [-log(c) for c in reciprocals]),
        ("LOG2_BEGINS", [-log(c) / log(2) for c in reciprocals]),
    ):
        print(f"{name}[16] =")
        show_row(row, ";")
    low = min(c * begin - 1 for c, begin in zip(reciprocals, begins, strict=True))
    high = max(c * end - 1 for c, end in zip(reciprocals, ends, strict=True))
    meaning = f"(log(1 + r) - r) / r^2, {mpmath.nstr(low, 3)} <= r <= {mpmath.nstr(high, 3)}"
    show(Approximation("LOG1P_TAIL", meaning, log1p_tail, lambda r: abs(r) + FLOOR, low, high, 3, "f"))


if __name__ == "__main__":
    for suffix in ("f", ""):
        for approximation in approximations(suffix):
            show(approximation)
    show_pieces(TANH, lanes=16, mantissa_bits=2, degree=6)
    show_pieces(TANH, lanes=8, mantissa_bits=1, degree=7)
    show_pieces(TAIL, lanes=16, mantissa_bits=2, degree=6)
    show_pieces(TAIL, lanes=8, mantissa_bits=1, degree=8)
    show_log_pieces()
