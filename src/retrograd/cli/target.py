"""What is to be predicted, and whether that is a class or a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..kernels.spec import Array
from .errors import CommandError

Task = Literal["classification", "regression"]

FEW = 20
"""A target of whole numbers is taken for classes up to so many different ones."""


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


def as_target(source: str, name: str, y: Array, task: Task | None) -> Target:
    """What to learn from the target's values: bool, integers, floats, or texts.

    Texts, bools and few different integers are classes; other numbers are a regression's.
    """
    whole = y.dtype.kind in "iu"
    if task is None:
        distinct = len(np.unique(y)) if whole else 0
        few = whole and distinct <= min(FEW, max(2, len(y) // 2))
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
    if len(labels) > max(FEW, len(y) // 2):
        raise CommandError(f"{source}: {name!r} holds {len(labels):,} different classes in {len(y):,} rows, too many")
    return Target(name, task, indices.astype(np.int64), labels.tolist())
