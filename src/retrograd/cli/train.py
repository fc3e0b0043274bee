"""`retrograd train`: a dense network, trained with early stopping and judged on rows that it never saw."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import __version__, backends, optim
from ..kernels.spec import Array
from ..nn import functional as F
from ..ops.random import manual_seed
from ..program import compile
from ..tensor import Tensor
from . import dataset
from .errors import CommandError, UsageError, extra
from .model import Model
from .output import check_writable, opened
from .preprocess import Preprocessing
from .table import Table
from .target import Target

OPTIMIZERS: dict[str, tuple[Callable[..., optim.Optimizer], dict[str, float]]] = {
    "sgd": (optim.SGD, {"lr": 1e-2, "momentum": 0.9}),
    "adam": (optim.Adam, {"lr": 1e-3}),
    "adamw": (optim.AdamW, {"lr": 1e-3}),
    "rmsprop": (optim.RMSprop, {"lr": 1e-3}),
}
"""The optimizers by name, and what they are given; --lr takes the place of the learning rate."""


def run(args: argparse.Namespace) -> None:
    """Train, report on standard output, and write the files that were asked for."""
    if args.test_fraction + args.val_fraction >= 1:
        raise UsageError("--test-fraction and --val-fraction together leave no rows to train on")
    _check_outputs(args)
    table, target = dataset.load(args.data, args.target, args.task, args.categorical, args.drop)
    if args.missing == "error":
        table.check_complete()
    rows = dataset.split(
        target.values if target.labels else None, len(table), args.test_fraction, args.val_fraction, args.seed
    )
    manual_seed(args.seed)
    preprocessing = Preprocessing.fit(table, rows[0], args.missing == "mean")
    model = Model.build(target, rows[0], args.hidden, args.activation, args.dropout, preprocessing)
    if not args.quiet:
        _announce(table, target, rows, model)
    inputs = preprocessing(table)
    training, validation, test = ((inputs[part], target.values[part]) for part in rows)
    began = time.perf_counter()
    with _watched(model, len(training[0]), args) as watch:
        history, best = fit(model, training, validation, args)
    seconds = time.perf_counter() - began
    result = score(model, *test) if len(test[0]) else None
    rate = len(rows[0]) * len(history) / seconds
    if not args.quiet:
        print(_outcome(history, best, seconds, rate))
    print(_verdict(result, len(test[0])))
    if watch is not None:
        print(f"\n{watch.report()}\n")
    if args.out:
        model.save(args.out)
    if args.json:
        metrics = _setting(args, table, target, rows, model) | {
            "history": history,
            "best_epoch": best,
            "held_out": result,
            "timings": {"training_seconds": seconds, "rows_per_second": rate},
        }
        if watch is not None:
            metrics["report"] = watch.report().to_dict()
        with opened(args.json) as file:
            file.write(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    if not args.quiet:
        if args.json:
            print(f"metrics    {args.json}")
        print(f"model      {args.out}" if args.out else "model      not saved; --out model.safetensors keeps it")


def _watched(model: Model, rows: int, args: argparse.Namespace) -> contextlib.AbstractContextManager[Any]:
    """A watch on the first step of each epoch, or None where no report was asked for."""
    if not args.report:
        return contextlib.nullcontext()
    from ..inspect import watch

    return watch(model.network, every=-(-rows // args.batch_size))


def fit(
    model: Model, training: tuple[Array, Array], validation: tuple[Array, Array], args: argparse.Namespace
) -> tuple[list[dict[str, Any]], int]:
    """Train the model's network, and leave it with the weights of its best epoch by the validation metric.

    Args:
        training, validation: inputs (rows, inputs) float32 and the target's values (rows,); with no rows to validate
            on, the last epoch is the best.
        args: epochs, batch_size, optimizer, lr, patience, seed and quiet.

    Returns:
        for each epoch its loss and validation metrics, and the number of the best epoch, from 1.

    Raises:
        CommandError: the loss is not finite.
    """
    settings = _optimizer_settings(args)
    optimizer = OPTIMIZERS[args.optimizer][0](model.network.parameters(), **settings)
    loss_of = F.cross_entropy if model.labels else F.mse_loss
    goal = training[1] if model.labels else _standardized(model, training[1])

    def step(x: Tensor, y: Tensor) -> Tensor:
        loss = loss_of(model.network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    history: list[dict[str, Any]] = []
    best = 0
    best_rank: tuple[float, ...] = (-math.inf,)
    best_weights: dict[str, Array] = {}

    def end_epoch(number: int, info: dict[str, Any]) -> bool:
        """Note how the epoch went; whether it was the last one that is worth it."""
        nonlocal best, best_rank, best_weights
        epoch = number + 1
        entry: dict[str, Any] = {"epoch": epoch, "loss": _mean_loss(info["losses"], args.batch_size, len(goal))}
        rank: tuple[float, ...] = (epoch,)
        shown = f"loss {entry['loss']:.4f}"
        if len(validation[0]):
            metrics = score(model, *validation)
            entry |= {f"val_{name}": value for name, value in metrics.items()}
            rank = (metrics["accuracy"], -metrics["loss"]) if model.labels else (-metrics["rmse"],)
            shown += f", val {_metric(metrics)}"
        if not math.isfinite(entry["loss"] + entry.get("val_loss", 0)):
            lower = settings["lr"] / 10
            raise CommandError(f"training diverged: the loss is not finite in epoch {epoch}; try --lr {lower:g}")
        history.append(entry)
        bar.set_description_str(f"epoch {epoch}/{args.epochs}", refresh=False)
        bar.set_postfix_str(shown, refresh=False)
        bar.update(len(goal))
        if rank > best_rank:
            best, best_rank = epoch, rank
            best_weights = {name: t.numpy().copy() for name, t in model.network.state_dict().items()}
        return epoch - best >= args.patience

    with _progress(args, len(goal)) as bar:
        compile(step).run(
            *(training[0], goal),
            batch_size=args.batch_size,
            epochs=args.epochs,
            shuffle=True,
            seed=args.seed,
            callback=end_epoch,
        )
    model.network.load_state_dict(best_weights)
    return history, best


def _optimizer_settings(args: argparse.Namespace) -> dict[str, float]:
    return OPTIMIZERS[args.optimizer][1] | ({"lr": args.lr} if args.lr else {})


def _mean_loss(losses: Array, batch_size: int, rows: int) -> float:
    """The mean over an epoch's rows of the losses of its batches, of which the last one may be short."""
    sizes = np.minimum(batch_size, rows - batch_size * np.arange(len(losses)))
    return float(np.average(losses.astype(np.float64), weights=sizes))


def _standardized(model: Model, values: Array) -> Array:
    return ((values - model.offset) / model.factor).astype(np.float32)[:, None]


def score(model: Model, inputs: Array, values: Array) -> dict[str, Any]:
    """How well the model predicts these rows: loss and accuracy, or loss, RMSE and R² (None where it is undefined)."""
    outputs = model.outputs(inputs)
    if model.labels:
        loss = F.cross_entropy(outputs, values).item()
        return {"loss": loss, "accuracy": float(np.mean(outputs.argmax(1) == values))}
    squared = np.square(model.numbers(outputs) - values)
    spread = float(np.square(values - values.mean()).mean())
    loss = F.mse_loss(outputs, _standardized(model, values)).item()
    mse = float(squared.mean())
    return {"loss": loss, "rmse": math.sqrt(mse), "r2": 1 - mse / spread if spread else None}


def _progress(args: argparse.Namespace, rows: int) -> Any:
    return extra("tqdm").tqdm(
        desc=f"epoch 1/{args.epochs}",
        total=args.epochs * rows,
        unit=" rows",
        unit_scale=True,
        leave=False,
        disable=True if args.quiet else None,  # None: where standard error is no terminal
        bar_format="{desc} |{bar}| {rate_fmt}{postfix} [{elapsed}<{remaining}]",
        dynamic_ncols=True,
    )


def _check_outputs(args: argparse.Namespace) -> None:
    """What would fail after the training, fails before."""
    paths = [path for path in (args.out, args.json) if path]
    if args.out:
        extra("safetensors")
        check_writable(args.out, regular=True)
    if args.json:
        check_writable(args.json)
    names = [os.path.realpath(path) for path in (*paths, args.data) if path]
    if len(set(names)) < len(names):
        raise UsageError("--out, --json and the data must be different files")


def _announce(table: Table, target: Target, rows: tuple[Array, ...], model: Model) -> None:
    trained, validated, tested = (f"{len(part):,}" for part in rows)
    kind = f"{len(target.labels)} classes" if target.labels else "regression"
    print(f"data       {table.source}: {len(table):,} rows, {model.preprocessing.inputs:,} inputs, {kind}")
    print(f"rows       {trained} to train on, {validated} to validate on, {tested} held out")
    print(f"network    {model.describe()}")
    print(f"backend    {_running_on()}", flush=True)


def _running_on() -> str:
    threads = backends.get_num_threads()
    isa = backends.describe(backends.current()).get("instruction set")
    return f"{backends.current()}{f' ({isa})' if isa else ''}, {threads} thread{'s' * (threads > 1)}"


def _metric(metrics: dict[str, Any]) -> str:
    if "accuracy" in metrics:
        return f"accuracy {metrics['accuracy']:.2%}".replace("%", " %")
    return f"RMSE {metrics['rmse']:.5g}"


def _outcome(history: list[dict[str, Any]], best: int, seconds: float, rate: float) -> str:
    chosen = history[best - 1]
    validation = {name.removeprefix("val_"): value for name, value in chosen.items() if name.startswith("val_")}
    found = f"\nbest       epoch {best}, validation {_metric(validation)}" if validation else ""
    return f"trained    {len(history)} epochs in {seconds:.1f} s, {rate:,.0f} rows/s{found}"


def _verdict(result: dict[str, Any] | None, rows: int) -> str:
    if result is None:
        return "held out   no rows, so no test"
    r2 = "" if result.get("r2") is None else f", R² {result['r2']:.4f}"
    return f"held out   {_metric(result)}{r2} on {rows:,} rows"


def _setting(
    args: argparse.Namespace, table: Table, target: Target, rows: tuple[Array, ...], model: Model
) -> dict[str, Any]:
    """All that the training started from, for the metrics file."""
    options = (
        *("seed", "epochs", "patience", "batch_size", "optimizer", "hidden", "activation", "dropout"),
        *("test_fraction", "val_fraction", "missing"),
    )
    return {
        "data": table.source,
        "target": target.name,
        "task": target.task,
        "classes": target.labels,
        "rows": dict(zip(("train", "validation", "held_out"), map(len, rows), strict=True)),
        "inputs": model.preprocessing.inputs,
        "parameters": model.parameters,
        "options": {name: getattr(args, name) for name in options} | _optimizer_settings(args),
        "environment": {
            "retrograd": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "backend": backends.current(),
            "threads": backends.get_num_threads(),
        },
    }
