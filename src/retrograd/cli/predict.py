"""`retrograd predict`: what a trained model makes of new rows."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import os
import sys
from typing import Any

import numpy as np

from ..kernels.spec import Array
from . import csv_file, dataset
from .errors import CommandError, UsageError
from .model import Model
from .output import check_writable, opened
from .table import Table, numbered


def run(args: argparse.Namespace) -> None:
    """Write a row of predictions for each row of data, as .csv to a file or to standard output."""
    if args.out:
        check_writable(args.out)
        if os.path.realpath(args.out) in (os.path.realpath(args.data), os.path.realpath(args.model)):
            raise UsageError("--out is the model or the data, which it would replace")
    model = Model.load(args.model)
    if args.missing:
        model.preprocessing = dataclasses.replace(model.preprocessing, impute=args.missing == "mean")
    table = read(args.data, model)
    columns = predict(model, table)
    with opened(args.out) if args.out else contextlib.nullcontext(sys.stdout) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    if args.out and not args.quiet:
        print(f"{len(table):,} predictions in {args.out}")


def read(path: str, model: Model) -> Table:
    """The columns of a .csv, or the X of an .npz, that the model takes.

    Raises:
        CommandError: they are not there, or hold what the model cannot take.
    """
    preprocessing = model.preprocessing
    if dataset.is_csv(path):
        return csv_file.read_csv_inputs(path, preprocessing.names, tuple(preprocessing.categories))
    table, _ = dataset.read_npz(path, with_target=False)
    table.check_size()
    if preprocessing.categories or preprocessing.names != numbered(len(preprocessing.names)):
        raise CommandError(f"{path}: the model takes a .csv, for it was trained on named columns")
    if table.names != preprocessing.names:
        raise CommandError(f"{path}: X has shape {table.numbers.shape}, the model takes {preprocessing.inputs} columns")
    return table


def predict(model: Model, table: Table) -> dict[str, list[Any]]:
    """The columns to write: the prediction and, of a classification, its probability, for each row."""
    outputs = model.outputs(model.preprocessing(table))
    if not model.labels:
        return {"prediction": model.numbers(outputs).tolist()}
    best = outputs.argmax(1)
    return {
        "prediction": [model.labels[i] for i in best],
        "probability": [f"{p:.6f}" for p in _probabilities(outputs)[np.arange(len(best)), best]],
    }


def _probabilities(logits: Array) -> Array:
    exponents = logits.astype(np.float64)
    e = np.exp(exponents - exponents.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)
