"""What a training or prediction reads: a .csv, an .npz, or scikit-learn's handwritten digits."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Collection
from typing import Any

import numpy as np

from ..kernels.spec import Array
from ..ops.random import Generator, permutation
from .csv_file import read_csv
from .errors import CommandError, UsageError, extra, listing, reading
from .table import Table, numbered, unusable
from .target import Target, Task, as_target


def load(
    path: str | None, target: str | None, task: Task | None, categorical: Collection[str], drop: Collection[str]
) -> tuple[Table, Target]:
    """The inputs and the target of a training file; of scikit-learn's handwritten digits where there is no path.

    Args:
        path: a .csv with a header, or an .npz with arrays X and y.
        target: the column to predict; of a .csv only.
        task: what to make of the target, or None to follow from its values.
        categorical: columns of a .csv to take as text, though they may look like numbers.
        drop: columns of a .csv to leave out.

    Raises:
        CommandError: the file cannot be read, or does not hold what it should; names the place.
    """
    if path is not None and is_csv(path):
        return read_csv(path, target, task, categorical, drop)
    if target is not None or categorical or drop:
        raise UsageError("--target, --categorical and --drop name columns of a .csv file; this data has none")
    table, y = digits() if path is None else read_npz(path)
    table.check_size()
    return table, as_target(table.source, "y", y, task)


def is_csv(path: str) -> bool:
    """Whether the file is a .csv, by its name; UsageError where it is not an .npz either."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (".csv", ".npz"):
        raise UsageError(f"{path}: expected a .csv or an .npz file")
    return suffix == ".csv"


def digits() -> tuple[Table, Array]:
    """scikit-learn's handwritten digits: 1,797 images of 8 by 8 pixels, and which digit each shows."""
    X, y = extra("sklearn.datasets").load_digits(return_X_y=True)
    return Table("digits", numbered(X.shape[1]), X, {}), y


def read_npz(path: str, with_target: bool = True) -> tuple[Table, Any]:
    """X (rows, columns) and y (rows,) or (rows, 1) of an .npz; y is None without the target.

    Raises:
        CommandError: no such file, not an .npz, an array is missing, or has another shape or dtype.
    """
    wanted = ("X", "y") if with_target else ("X",)
    try:
        with reading(path), open(path, "rb") as archive:
            if not zipfile.is_zipfile(archive):
                raise CommandError(f"{path}: not an .npz archive, or one that is cut short")
            with np.load(archive, allow_pickle=False) as file:
                absent = [name for name in wanted if name not in file.files]
                if absent:
                    raise CommandError(f"{path}: no array {absent[0]!r}; it holds {listing(file.files) or 'none'}")
                X, y = file["X"], file["y"] if with_target else None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CommandError(f"{path}: not a readable .npz of plain arrays: {error}") from None
    if X.ndim != 2 or X.dtype.kind not in "biuf":
        raise CommandError(f"{path}: X is {X.dtype} of shape {X.shape}, expected numbers of shape (rows, columns)")
    table = Table(path, numbered(X.shape[1]), X if X.dtype in (np.float32, np.float64) else X.astype(np.float64), {})
    bad = unusable(X)
    if bad:
        raise CommandError(f"{table.place(bad[0], table.names[bad[1]])}: {X[bad]} is not a finite float32 number")
    return table, y if y is None else _npz_target(path, X, y)


def _npz_target(path: str, X: Array, y: Array) -> Array:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != X.shape[:1] or y.dtype.kind not in "biufU":
        raise CommandError(
            f"{path}: y is {y.dtype} of shape {y.shape}, expected numbers or texts of shape ({len(X)},) beside X of "
            f"shape {X.shape}"
        )
    bad = None if y.dtype.kind == "U" else unusable(y, nan=True)
    if bad:
        raise CommandError(f"{path}: y{list(bad)} is {y[bad]}, not a finite float32 number")
    return y


def split(classes: Array | None, rows: int, test: float, validation: float, seed: int) -> tuple[Array, Array, Array]:
    """Row numbers to train on, to validate on and to test on: disjoint, random, and all rows together.

    Args:
        classes: (rows,) class indices, of which each part gets its share; None to take no account of any.
        test, validation: shares of the rows, each in [0, 1).
        seed: of the random order.

    Raises:
        CommandError: there are too few rows for a part that is asked for.
    """
    order = permutation(rows, Generator(seed))
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    tested, rest = _draw(order, round(test * rows))
    validated, trained = _draw(rest, round(validation * rows))
    if not len(trained) or (test and not len(tested)) or (validation and not len(validated)):
        raise CommandError(f"{rows} rows are too few to hold out {test:g} for a test and {validation:g} for validation")
    return np.sort(trained), np.sort(validated), np.sort(tested)


def _draw(order: Array, count: int) -> tuple[Array, Array]:
    """`count` of the rows, evenly spaced, so that what stands together in order gives its share; and the rest."""
    i = np.arange(len(order))
    drawn = (i + 1) * count // max(len(order), 1) > i * count // max(len(order), 1)
    return order[drawn], order[~drawn]
