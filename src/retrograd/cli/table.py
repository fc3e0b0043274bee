"""Inputs as they were read: numbers and texts in columns, before anything is done to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..kernels.spec import Array
from .errors import CommandError

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Table:
    """Rows of inputs.

    Attributes:
        source: what they were read from, for messages.
        names: the numeric columns.
        numbers: (rows, len(names)), float32 or float64, NaN where missing.
        texts: text column → (rows,) object array of str, None where missing.
        lines: (rows,) the line of the file on which each row begins, from 1; None where the source has no lines.
    """

    source: str
    names: tuple[str, ...]
    numbers: Array
    texts: dict[str, Array]
    lines: Array | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def check_size(self) -> None:
        """Raise CommandError where there are no rows, or no columns."""
        if not len(self):
            raise CommandError(f"{self.source}: no rows")
        if not self.names and not self.texts:
            raise CommandError(f"{self.source}: no columns to predict the target from")

    def place(self, row: int, column: str) -> str:
        """How to find a value: file, line (or row, from 0, of an array) and column."""
        where = f"row {row}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.source}: {where}, column {column!r}"

    def check_complete(self) -> None:
        """Raise CommandError at the first missing value."""
        absent = np.column_stack([np.isnan(self.numbers), *map(is_missing, self.texts.values())])
        if absent.any():
            row, column = np.argwhere(absent)[0]
            name = (*self.names, *self.texts)[column]
            raise CommandError(
                f"{self.place(row, name)}: missing value ({absent.sum():,} in all); "
                "fill it in, or pass --missing mean to put the column's mean in its place"
            )


def is_missing(values: Array) -> Array:
    """Where a column has no value: None among objects, NaN among numbers."""
    return np.array([value is None for value in values]) if values.dtype == object else np.isnan(values)


def unusable(values: Array, nan: bool = False) -> tuple[int, ...] | None:
    """Where the first number stands that float32 cannot hold, or (if asked) that is NaN; None where all is well."""
    bad = np.abs(values) > LARGEST
    if nan:
        bad |= np.isnan(values)
    return tuple(map(int, np.argwhere(bad)[0])) if bad.any() else None


def numbered(columns: int) -> tuple[str, ...]:
    """The names of an array's columns."""
    return tuple(f"x{i}" for i in range(columns))
