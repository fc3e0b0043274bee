"""Tables from .csv files.

A file is read twice: by Python's csv module for its structure, which gives each row its line and finds rows that are
too short or too long, then by pandas for its values.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np

from ..kernels.spec import Array
from .errors import CommandError, UsageError, extra, listing, reading, suggestion
from .table import Table, is_missing, unusable
from .target import Target, Task, as_target

FEW_CATEGORIES, MANY_CATEGORIES = 20, 1000
"""A text column may hold the first number of different values in any case, and the second at most."""


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
    texts, others = [name for name in kept if name in categorical], [name for name in kept if name not in categorical]
    columns = _columns(path, header, lines, texts, others, numeric=False)
    y = columns.pop(target)
    table = _table(path, columns, lines)
    table.check_size()
    for name, values in table.texts.items():
        _check_categories(path, name, values)
    absent = is_missing(y)
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
    columns = _columns(path, header, lines, texts, names, numeric=True)
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
                blank = row in ([], [""])
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
    name, times = Counter(header).most_common(1)[0]
    if times > 1:
        raise CommandError(f"{path}: the header names column {name!r} {times} times")
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise CommandError(f"{path}: its values seem to be separated by semicolons or tabs, expected commas")


def _columns(
    path: str, header: list[str], lines: Array, texts: Collection[str], others: Collection[str], numeric: bool
) -> dict[str, Array]:
    """Columns by name, in the file's order: numbers, or objects (str, None where missing).

    Args:
        texts: columns to take as text.
        others: columns of which the values decide.
        numeric: whether the others must be numbers.
    """
    pandas = extra("pandas")
    try:
        with reading(path):
            frame = pandas.read_csv(
                path,
                names=header,
                header=0,
                usecols=[*texts, *others],
                dtype={name: str for name in texts},
                skipinitialspace=True,
                low_memory=False,
                encoding="utf-8-sig",
            )
    except pandas.errors.ParserError as error:
        raise CommandError(f"{path}: {error}") from None
    if len(frame) != len(lines):
        raise CommandError(f"{path}: blank lines that cannot be told from rows; remove them")
    return {
        name: _texts(frame[name]) if name in texts else _numbers_or_texts(path, name, frame[name], lines, numeric)
        for name in map(str, frame.columns)
    }


def _texts(series: Any) -> Array:
    texts = np.full(len(series), None, object)
    present = series.notna().to_numpy()
    texts[present] = [str(value) for value in series[present]]
    return texts


def _numbers_or_texts(path: str, name: str, series: Any, lines: Array, numeric: bool) -> Array:
    """Numbers if all values are such (a bool is 0 or 1), texts if at most half are; in between, something is wrong."""
    pandas = extra("pandas")
    present = series.notna().to_numpy()
    numbers = pandas.to_numeric(series, errors="coerce").to_numpy()
    broken = present & np.isnan(numbers)
    if broken.any():
        if 2 * broken.sum() >= present.sum() and not numeric:
            return _texts(series)
        row = int(np.argmax(broken))
        hint = "" if numeric else f", as most of the column are; to take all as categories, pass --categorical {name}"
        raise CommandError(f"{path}: line {lines[row]}, column {name!r}: {series.iloc[row]!r} is not a number{hint}")
    bad = unusable(numbers)
    if bad:
        raise CommandError(f"{path}: line {lines[bad]}, column {name!r}: {numbers[bad]} is not a finite float32 number")
    return numbers


def _table(path: str, columns: dict[str, Array], lines: Array) -> Table:
    texts = {name: values for name, values in columns.items() if values.dtype == object}
    names = tuple(name for name in columns if name not in texts)
    numbers = np.empty((len(lines), len(names)))
    for i, name in enumerate(names):
        numbers[:, i] = columns[name]
    return Table(path, names, numbers, texts, lines)


def _check_categories(path: str, name: str, values: Array) -> None:
    n = len(set(values) - {None})
    if n > MANY_CATEGORIES or n > max(FEW_CATEGORIES, len(values) // 2):
        raise CommandError(
            f"{path}: text column {name!r} holds {n:,} different values in {len(values):,} rows, too many for "
            f"categories; leave it out with --drop {name}"
        )
