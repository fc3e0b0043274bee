"""From a table to the matrix that a network takes: one-hot encoding and standardization.

Numeric columns come first, each less its mean and divided by its standard deviation; then a column for each category of
each text column, 0 or 1, less its mean. A missing value is the mean, so 0. Constant columns are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.spec import Array
from .errors import CommandError
from .table import Table, is_missing


@dataclass(frozen=True)
class Preprocessing:
    """What it takes to treat new rows as the training rows were treated.

    Attributes:
        names: the numeric columns.
        categories: text column → its categories.
        mean, scale: (inputs,) float64; scale is not zero.
        impute: whether a missing value is replaced by the mean; otherwise it is an error.
    """

    names: tuple[str, ...]
    categories: dict[str, list[str]]
    mean: Array
    scale: Array
    impute: bool

    @property
    def inputs(self) -> int:
        """How many inputs the network has."""
        return len(self.mean)

    @staticmethod
    def fit(table: Table, rows: Array, impute: bool) -> Preprocessing:
        """Means and standard deviations over `rows` of the table; categories over all of it.

        Raises:
            CommandError: a column has no value there.
        """
        categories = {name: sorted(set(values) - {None}) for name, values in table.texts.items()}
        matrix = _encode(table, table.names, categories)[rows]
        present = ~np.isnan(matrix)
        count = present.sum(0)
        if not count.all():
            name = _owners(table.names, categories)[int(np.argmin(count))]
            raise CommandError(f"{table.source}: column {name!r} has no value in the training rows; leave it out")
        mean = np.where(present, matrix, 0).sum(0, dtype=np.float64) / count
        deviation = np.sqrt(np.where(present, np.square(matrix - mean), 0).sum(0) / count)
        lowest = np.fmin.reduce(matrix)
        constant = lowest == np.fmax.reduce(matrix)
        category = np.arange(len(mean)) >= len(table.names)
        # of a constant column the value itself, which its rounded mean may miss
        mean, scale = np.where(constant, lowest, mean), np.where(constant | category, 1.0, deviation)
        return Preprocessing(table.names, categories, mean, scale, impute)

    def __call__(self, table: Table) -> Array:
        """The network's inputs, (rows, inputs) float32.

        Raises:
            CommandError: a value is missing and impute is False, or a category was not in the training data; names
                the place.
        """
        if not self.impute:
            table.check_complete()
        for name, known in self.categories.items():
            expected = {*known, None}
            for row, value in enumerate(table.texts[name]):
                if value not in expected:
                    raise CommandError(f"{table.place(row, name)}: {value!r} is not a category of the training data")
        matrix = (_encode(table, self.names, self.categories) - self.mean) / self.scale
        return np.nan_to_num(matrix, copy=False, nan=0.0).astype(np.float32)

    def arrays(self) -> dict[str, Array]:
        """The numbers to save, by name."""
        return {"mean": self.mean, "scale": self.scale}

    def facts(self) -> dict[str, Any]:
        """The rest to save, as JSON."""
        return {"numeric": list(self.names), "categories": self.categories, "impute": self.impute}

    @staticmethod
    def restore(facts: dict[str, Any], arrays: dict[str, Array]) -> Preprocessing:
        """What arrays() and facts() were made of."""
        return Preprocessing(tuple(facts["numeric"]), facts["categories"], impute=facts["impute"], **arrays)


def _encode(table: Table, names: tuple[str, ...], categories: dict[str, list[str]]) -> Array:
    blocks = [table.numbers]
    for name, known in categories.items():
        values = table.texts[name]
        one_hot = (values[:, None] == np.array(known, object)).astype(np.float64)
        one_hot[is_missing(values)] = np.nan
        blocks.append(one_hot)
    return np.concatenate(blocks, axis=1)


def _owners(names: tuple[str, ...], categories: dict[str, list[str]]) -> list[str]:
    """The table's column that each input is made from."""
    return [*names, *(name for name, known in categories.items() for _ in known)]
