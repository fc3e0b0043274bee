"""Elementwise calls as the text of one loop: those over one shape that follow each other run together.

A value that one call makes and a later one of the same loop reads stays in a register; one that nothing else reads is
never written to memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...kernels.elementary import BINARY, UNARY
from ..registry import Unsupported
from .activation import EXPRESSIONS

BOOL = np.dtype(bool)


class View(NamedTuple):
    """An operand as a record tells of it.

    Attributes:
        slot: the word of the table that holds its buffer's address.
        offset: bytes from there to its first element; advance: bytes from a row of the batch to the next, 0 where a
            slice of the batch does not move it.
        dtype, shape, strides: as an array's, strides in elements.
        batch: the axis that is the batch, of which a slice is taken; None where it is taken whole.
    """

    slot: int
    offset: int
    advance: int
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    batch: int | None


class Number(NamedTuple):
    """A floating-point number, by the word of the table that holds it."""

    word: int


_ARITHMETIC = {
    "negative": "-{x}",
    "absolute": "abs({x})",
    "sign": "{T}(1) if {x} > {T}(0) else ({T}(-1) if {x} < {T}(0) else {x})",
    "square": "{x} * {x}",
    "add": "{a} + {b}",
    "subtract": "{a} - {b}",
    "multiply": "{a} * {b}",
    "maximum": "{a} if {a} >= {b} or {a} != {a} else {b}",
    "minimum": "{a} if {a} <= {b} or {a} != {a} else {b}",
    "accumulate": "{a} + {b}",
    **{name: f"numpy.{name}({{a}}, {{b}})" for name in ("remainder", "fmod", "floor_divide")},
}
_FLOATING = {  # and the activations
    "exp": "elementary.exp({x})",
    "log": "log({x})",
    "sqrt": "sqrt({x})",
    "divide": "{a} / {b}",
    "power": "{a} ** {b}",
    **{name: f"{name}({{x}})" for name in ("erf", "erfc", "lgamma")},
    **{name: f"numpy.{function.__name__}({{x}})" for name, (function, _) in UNARY.items()},
    **{name: f"numpy.{function.__name__}({{a}}, {{b}})" for name, (function, _) in BINARY.items()},
}
_COMPARISONS = {
    "equal": "{a} == {b}",
    "not_equal": "{a} != {b}",
    "less": "{a} < {b}",
    "less_equal": "{a} <= {b}",
    "greater": "{a} > {b}",
    "greater_equal": "{a} >= {b}",
}
_LOGICAL = {"logical_and": "{a} & {b}", "logical_or": "{a} | {b}", "logical_not": "not {x}"}
_COPIES = {"copy": "{x}", "cast": "{x}", "assign": "{values}", "full": "{value}"}
KERNELS = frozenset({*_ARITHMETIC, *_FLOATING, *_COMPARISONS, *_LOGICAL, *_COPIES, *EXPRESSIONS, "where", "clamp"})
"""The kernels that a loop can hold."""


class Statement(NamedTuple):
    """A call in a loop: an expression that leaves open the names of its operands and the type {T} that it computes in,
    those, what it writes, and whether what comes out is a boolean instead."""

    expression: str
    dtype: np.dtype
    views: dict[str, View]
    numbers: dict[str, Number]
    target: View
    compares: bool = False


def statement(kernel: str, arguments: dict[str, Any], target: View) -> Statement:
    """The statement of a call of one of KERNELS; its numbers are given as Number.

    Raises:
        Unsupported: the dtype is none that it can compute in.
    """
    views = {key: value for key, value in arguments.items() if isinstance(value, View)}
    numbers = {key: value for key, value in arguments.items() if isinstance(value, Number)}
    dtypes = [view.dtype for key, view in views.items() if key != "condition"]
    dtype = np.result_type(*dtypes) if dtypes else target.dtype
    if kernel == "where":
        expression = "{a} if {condition} else {b}"
    elif kernel == "clamp":
        expression = _clamp(numbers)
    elif kernel in _COPIES:
        expression, dtype = _COPIES[kernel], target.dtype
    elif kernel in _LOGICAL:
        expression, dtype = _LOGICAL[kernel], BOOL
    elif kernel in _COMPARISONS:
        expression = _COMPARISONS[kernel]
    elif kernel in _ARITHMETIC:
        expression = _ARITHMETIC[kernel]
    elif arguments.get("exponent"):
        expression = f"{{a}} ** {arguments['exponent']}"
    else:
        expression = _FLOATING[kernel] if kernel in _FLOATING else EXPRESSIONS[kernel][arguments["activation"]]
        if dtype.kind != "f":
            raise Unsupported(f"{kernel} of {dtype}")
    if dtype == BOOL and (kernel in _ARITHMETIC or kernel == "clamp"):
        raise Unsupported(f"{kernel} of booleans")
    if any(d.kind not in "fiub" or (d.itemsize == 2 and d.kind == "f") for d in (dtype, target.dtype, *dtypes)):
        raise Unsupported(f"{kernel} of {dtype}")
    return Statement(expression, dtype, views, numbers, target, kernel in _COMPARISONS)


def _clamp(limits: dict[str, Number]) -> str:
    expression = "{x}"
    if "low" in limits:
        expression = "({low} if {x} < {low} else {x})"
    if "high" in limits:
        expression = "({high} if E > {high} else E)".replace("E", expression)
    return expression


class Loop:
    """Statements over one shape, one after the other for each element.

    Args:
        shape: of the whole batch, where its first axis is one.
        batch: the rows of the batch, of which the first axis is a slice; 0 where it is taken whole.
    """

    def __init__(self, shape: tuple[int, ...], batch: int) -> None:
        self.shape = shape
        self.batch = batch
        self.statements: list[Statement] = []

    def entry(self, stored: list[View]) -> tuple[str, list[View], list[int], list[Number]]:
        """The text of an entry that runs the loop, and the operands, whole numbers and numbers of its record.

        Args:
            stored: those of the targets that are written to memory.
        """
        made: set[View] = set()
        loaded: list[View] = []
        for statement in self.statements:
            loaded += dict.fromkeys(v for v in statement.views.values() if v not in made and v not in loaded)
            made.add(statement.target)
        views = list(dict.fromkeys(loaded + stored))
        numbers = list(dict.fromkeys(n for statement in self.statements for n in statement.numbers.values()))
        extents, strides = self._collapse(views)
        integers = [0, extents[0] // self.batch] if self.batch else [extents[0], 0]
        integers += extents[1:]
        depth, inner = len(extents), len(extents) - 1

        def integer(value: int) -> str:
            integers.append(value)
            return f"integer(record, {len(integers) - 1})"

        lines = ["n0 = extent(record, 0, rows)"]
        lines += [f"n{axis} = integer(record, {axis + 1})" for axis in range(1, depth)]
        heads: list[list[str]] = [[] for _ in range(depth)]  # what stands before the loop over each axis
        names: dict[View, str] = {}  # how an element of each is read and written
        for i, (view, steps) in enumerate(zip(views, strides, strict=True)):
            kind, item = name(view.dtype), view.dtype.itemsize
            address = f"p{i}"
            heads[0].append(f"{address} = place(record, {i}, start)")
            moved = [axis for axis, step in enumerate(steps[:inner]) if step]
            for axis in moved:
                heads[0].append(f"s{i}_{axis} = {integer(steps[axis])}")
                heads[axis + 1].append(f"{address}_{axis} = {address} + i{axis} * s{i}_{axis}")
                address = f"{address}_{axis}"
            ready = heads[moved[-1] + 1 if moved else 0]
            if steps[inner] == item:
                ready.append(f"a{i} = array({kind}, {address}, (n{inner},))")
                names[view] = f"a{i}[i{inner}]"
            elif steps[inner] == 0 and view not in stored:
                ready.append(f"x{i} = array({kind}, {address}, (1,))[0]")
                names[view] = f"x{i}"
            else:
                heads[0].append(f"s{i} = {integer(steps[inner])}")
                names[view] = f"array({kind}, {address} + i{inner} * s{i}, (1,))[0]"
        typed = {(n, s.dtype) for s in self.statements for n in s.numbers.values()}
        at = len(integers)
        constants: dict[Any, Any] = {}
        for number, dtype in sorted(typed, key=lambda pair: (pair[0], pair[1].str)):
            constants[number, dtype] = f"c{len(constants)}"
            word = f"number(record, {at + numbers.index(number)})"
            heads[0].append(f"{constants[number, dtype]} = {name(dtype)}({word})")
        for axis in range(depth):
            lines += ["    " * axis + head for head in heads[axis]]
            lines.append("    " * axis + f"for i{axis} in range(n{axis}):")
        lines += ["    " * depth + line for line in self._body(loaded, stored, names, constants)]
        text = "\n".join(["def loop(record, start, rows):", *("    " + line for line in lines), "    return 0"])
        return text, views, integers, numbers

    def _body(
        self,
        loaded: list[View],
        stored: list[View],
        names: dict[View, str],
        constants: dict[tuple[Number, np.dtype], str],
    ) -> list[str]:
        lines: list[str] = []
        values: dict[Any, Any] = {}
        for view in loaded:
            values[view] = f"v{len(values)}"
            lines.append(f"{values[view]} = {names[view]}")
        for count, statement in enumerate(self.statements):
            given = {
                key: values[view] if key == "condition" else _converted(values[view], view.dtype, statement.dtype)
                for key, view in statement.views.items()
            }
            given |= {key: constants[number, statement.dtype] for key, number in statement.numbers.items()}
            made = statement.expression.format(T=name(statement.dtype), **given)
            dtype = BOOL if statement.compares else statement.dtype
            values[statement.target] = f"w{count}"
            lines.append(f"w{count} = {_converted(made, dtype, statement.target.dtype)}")
        lines += [f"{names[view]} = {values[view]}" for view in stored]
        return lines

    def _collapse(self, views: list[View]) -> tuple[list[int], list[list[int]]]:
        """The sizes of as few axes as the views can be walked by, and each view's strides along them, in bytes."""
        extents: list[int] = []
        strides: list[list[int]] = [[] for _ in views]
        steps = [self._strides(v) for v in views]
        for axis, n in enumerate(self.shape):
            if n == 1 and not (self.batch and axis == 0):
                continue
            if extents and all(done[-1] == step[axis] * n for done, step in zip(strides, steps, strict=True)):
                extents[-1] *= n
                for done, step in zip(strides, steps, strict=True):
                    done[-1] = step[axis]
            else:
                extents.append(n)
                for done, step in zip(strides, steps, strict=True):
                    done.append(step[axis])
        return (extents, strides) if extents else ([1], [[v.dtype.itemsize] for v in views])

    def _strides(self, view: View) -> list[int]:
        """The view's strides along the loop's axes, in bytes, as it broadcasts to them."""
        own = [s * view.dtype.itemsize if n > 1 else 0 for n, s in zip(view.shape, view.strides, strict=True)]
        return [0] * (len(self.shape) - len(own)) + own


def name(dtype: np.dtype) -> str:
    """What a text calls a dtype."""
    return "boolean" if dtype == BOOL else dtype.name


def _converted(text: str, given: np.dtype, wanted: np.dtype) -> str:
    if given == wanted:
        return text
    return f"(({text}) != 0)" if wanted == BOOL else f"{name(wanted)}({text})"
