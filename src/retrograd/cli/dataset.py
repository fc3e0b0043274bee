"""From a data file to a table of inputs and a target.

A table keeps what was read as it was read: numbers with NaN, texts with None where a value is missing. What a network
needs (encoding, standardization) is preprocess.py's.
"""

from __future__ import annotations

import csv
import os
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..kernels.spec import Array
from .errors import CommandError, UsageError, extra, listing, reading, suggestion

Task = Literal["classification", "regression"]

FEW_CLASSES = 20
"""A target of whole numbers is taken for classes up to so many different ones."""
MANY_CATEGORIES = 1000
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

    def place(self, row: int, column: str) -> str:
        """How to find a value: file, line (or row, from 0, of an array) and column."""
        where = f"row {row}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.source}: {where}, column {column!r}"

    def check_complete(self) -> None:
        """Raise CommandError at the first missing value."""
        missing = [np.isnan(self.numbers), *(np.equal(values, None)[:, None] for values in self.texts.values())]
        absent = np.concatenate(missing, axis=1, dtype=bool)
        if absent.any():
            row, column = np.argwhere(absent)[0]
            name = (*self.names, *self.texts)[column]
            raise CommandError(
                f"{self.place(row, name)}: missing value ({absent.sum():,} in all); "
                "fill it in, or pass --missing mean to put the column's mean in its place"
            )


@dataclass(frozen=True)
class Target:
    """What is to be predicted.

    Attributes:
        name: the target's column.
        task: "classification" or "regression".
        values: (rows,) class indices as int64, or numbers as float64.
        labels: the classes, in the order of the indices; None for a regression.
    """

    name: str
    task: Task
    values: Array
    labels: list[Any] | None


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
    _check_size(table)
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
    return Table("digits", _numbered(X), X, {}), y


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
    table = Table(path, _numbered(X), X if X.dtype in (np.float32, np.float64) else X.astype(np.float64), {})
    bad = _unusable(X)
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
    bad = None if y.dtype.kind == "U" else _unusable(y, nan=True)
    if bad:
        raise CommandError(f"{path}: y{list(bad)} is {y[bad]}, not a finite float32 number")
    return y


def _unusable(values: Array, nan: bool = False) -> tuple[int, ...] | None:
    """Where the first number stands that float32 cannot hold, or (if asked) that is NaN; None where all is well."""
    bad = np.abs(values) > LARGEST
    if nan:
        bad |= np.isnan(values)
    return tuple(map(int, np.argwhere(bad)[0])) if bad.any() else None


def _numbered(X: Array) -> tuple[str, ...]:
    return tuple(f"x{i}" for i in range(X.shape[1]))


def read_csv(
    path: str, target: str | None, task: Task | None, categorical: Collection[str], drop: Collection[str]
) -> tuple[Table, Target]:
    """The inputs and the target of a .csv with a header; see load()."""
    header, lines = _scan(path)
    if target is None:
        raise UsageError(f"{path}: pass --target COLUMN, one of its columns: {listing(header)}")
    for option, names in (("--target", (target,)), ("--categorical", categorical), ("--drop", drop)):
        for name in names:
            if name not in header:
                raise CommandError(
                    f"{path}: {option}: no column {name!r}; columns: {listing(header)}{suggestion(name, header)}"
                )
    if target in drop:
        raise UsageError(f"--drop {target}: it is the target")
    kept = [name for name in header if name not in drop]
    columns = _columns(path, header, kept, categorical, lines)
    y = columns.pop(target)
    table = _table(path, columns, lines)
    _check_size(table)
    for name, values in table.texts.items():
        _check_categories(path, name, values)
    absent = np.equal(y, None) if y.dtype == object else np.isnan(y) if y.dtype.kind == "f" else np.zeros(len(y), bool)
    if absent.any():
        raise CommandError(f"{table.place(int(np.argmax(absent)), target)}: the target has no value")
    return table, as_target(path, target, y, task)


def read_csv_inputs(path: str, names: Collection[str], texts: Collection[str]) -> Table:
    """The named numeric and text columns of a .csv with a header; the others are left out.

    Raises:
        CommandError: the file cannot be read, lacks columns (listed), or has a text where a number is expected.
    """
    header, lines = _scan(path)
    absent = [name for name in (*names, *texts) if name not in header]
    if absent:
        raise CommandError(
            f"{path}: the model needs columns that are not there: {listing(absent)}; there are: {listing(header)}"
        )
    columns = _columns(path, header, [*names, *texts], texts, lines)
    for name in names:
        values = columns[name]
        if values.dtype == object:
            row = next(i for i, value in enumerate(values) if value is not None)
            raise CommandError(_not_a_number(path, lines[row], name, values[row]))
    return _table(path, {name: columns[name] for name in (*names, *texts)}, lines)


def _scan(path: str) -> tuple[list[str], Array]:
    """The header of a .csv, and the line on which each of its rows begins; checks that all have the header's width."""
    with reading(path), open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True, skipinitialspace=True)
        header: list[str] = []
        lines = []
        begin = 1
        try:
            for row in reader:
                blank = not row or (len(row) == 1 and row[0].isspace())
                if not blank and not header:
                    header = [name.strip() for name in row]
                elif not blank:
                    if len(row) != len(header):
                        raise CommandError(
                            f"{path}: line {begin} has {len(row)} values, expected {len(header)} as in the header"
                        )
                    lines.append(begin)
                begin = reader.line_num + 1
        except csv.Error as error:
            raise CommandError(f"{path}: line {begin}: {error}") from None
    _check_header(path, header)
    if not lines:
        raise CommandError(f"{path}: no rows after the header")
    return header, np.array(lines)


def _check_header(path: str, header: list[str]) -> None:
    if not header:
        raise CommandError(f"{path}: the file is empty, expected a header and rows")
    if "" in header:
        raise CommandError(
            f"{path}: column {header.index('') + 1} of the header has no name; "
            "if it is pandas' index, write the file with index=False"
        )
    for name in header:
        if header.count(name) > 1:
            raise CommandError(f"{path}: the header names column {name!r} {header.count(name)} times")
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise CommandError(f"{path}: its values seem to be separated by semicolons or tabs, expected commas")


def _columns(
    path: str, header: list[str], kept: Collection[str], categorical: Collection[str], lines: Array
) -> dict[str, Array]:
    """The kept columns by name, in the file's order: numbers, or objects (str, None where missing)."""
    pandas = extra("pandas")
    with reading(path):
        frame = pandas.read_csv(
            path,
            names=header,
            header=0,
            usecols=list(kept),
            dtype={name: str for name in categorical if name in kept},
            skipinitialspace=True,
            low_memory=False,
            encoding="utf-8-sig",
        )
    if len(frame) != len(lines):
        raise CommandError(f"{path}: quoted line breaks or blank lines that cannot be told apart; remove them")
    return {str(name): _column(path, str(name), frame[name], name in categorical, lines) for name in frame.columns}


def _column(path: str, name: str, series: Any, categorical: bool, lines: Array) -> Array:
    pandas = extra("pandas")
    if pandas.api.types.is_numeric_dtype(series) and not categorical:  # bool among them
        values = series.to_numpy()
        bad = _unusable(values)
        if bad:
            raise CommandError(
                f"{path}: line {lines[bad]}, column {name!r}: {values[bad]} is not a finite float32 number"
            )
        return values
    present = series.notna().to_numpy()
    if not categorical:
        numbers = pandas.to_numeric(series, errors="coerce")
        numeric = numbers.notna().to_numpy()
        if (numeric == present).all():
            return _column(path, name, numbers, categorical, lines)
        if 2 * numeric.sum() > present.sum():
            row = int(np.argmax(present & ~numeric))
            raise CommandError(_not_a_number(path, lines[row], name, series.iloc[row]))
    texts = np.full(len(series), None, object)
    texts[present] = [str(value) for value in series[present]]
    return texts


def _not_a_number(path: str, line: int, name: str, value: str) -> str:
    return (
        f"{path}: line {line}, column {name!r}: {value!r} is not a number, as the column's other values are; "
        f"correct it, or pass --categorical {name} to take them all as categories"
    )


def _table(path: str, columns: dict[str, Array], lines: Array) -> Table:
    texts = {name: values for name, values in columns.items() if values.dtype == object}
    names = tuple(name for name in columns if name not in texts)
    numbers = np.empty((len(lines), len(names)))
    for i, name in enumerate(names):
        numbers[:, i] = columns[name]
    return Table(path, names, numbers, texts, lines)


def _check_size(table: Table) -> None:
    if not len(table):
        raise CommandError(f"{table.source}: no rows")
    if not table.names and not table.texts:
        raise CommandError(f"{table.source}: no columns to predict the target from")


def _check_categories(path: str, name: str, values: Array) -> None:
    n = len(set(values) - {None})
    if n > MANY_CATEGORIES or n > max(FEW_CLASSES, len(values) // 2):
        raise CommandError(
            f"{path}: text column {name!r} holds {n:,} different values in {len(values):,} rows, too many for "
            f"categories; leave it out with --drop {name}"
        )


def as_target(source: str, name: str, y: Array, task: Task | None) -> Target:
    """What to learn from the target's values: bool, integers, floats, or texts.

    Texts, bools and few different integers are classes; other numbers are a regression's.
    """
    whole = y.dtype.kind in "iu"
    if task is None:
        distinct = len(np.unique(y)) if whole else 0
        few = whole and distinct <= min(FEW_CLASSES, max(2, len(y) // 2))
        task = "classification" if few or y.dtype.kind in "bOU" else "regression"
    if task == "regression":
        if y.dtype.kind in "OU":
            raise CommandError(f"{source}: a regression's target must be numbers, {name!r} holds {str(y[0])!r}")
        return Target(name, task, y.astype(np.float64), None)
    if y.dtype.kind == "f":
        fractions = y != np.floor(y)
        if fractions.any():
            value = y[np.argmax(fractions)]
            raise CommandError(f"{source}: a classification's target must be classes, {name!r} holds {value}")
        y = y.astype(np.int64)
    labels, indices = np.unique(y.astype(str) if y.dtype == object else y, return_inverse=True)
    if len(labels) < 2:
        raise CommandError(f"{source}: {name!r} is {labels[0]!s} in every row; a classification needs two classes")
    if len(labels) > max(FEW_CLASSES, len(y) // 2):
        raise CommandError(f"{source}: {name!r} holds {len(labels):,} different classes in {len(y):,} rows, too many")
    return Target(name, task, indices.astype(np.int64), labels.tolist())


def split(classes: Array | None, rows: int, test: float, validation: float, seed: int) -> tuple[Array, Array, Array]:
    """Row numbers to train on, to validate on and to test on: disjoint, random, and all rows together.

    Args:
        classes: (rows,) class indices, of which each part gets its share; None to take no account of any.
        test, validation: shares of the rows, each in [0, 1).
        seed: of the random order.

    Raises:
        CommandError: there are too few rows for a part that is asked for.
    """
    from ..ops.random import Generator, permutation

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
