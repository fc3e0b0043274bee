"""The command line: `retrograd train`, `retrograd predict` and `retrograd info`.

A command is a module with a function run(arguments). An error of the user's is a CommandError: one line on standard
error, and exit status 2 where the arguments are wrong, 1 otherwise.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .. import __version__, backends
from . import info, predict, train
from .errors import CommandError, UsageError, listing, suggestion
from .model import ACTIVATIONS

INTERRUPTED = 130
"""The exit status that shells give a process ended by Ctrl-C: 128 + SIGINT."""
UNREAD = 141
"""The same of one whose output nobody reads: 128 + SIGPIPE."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and takes no abbreviations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments, those of the process by default.

    Returns:
        the exit status: 0; 1 for an error, 2 for an error in the arguments; 130 when interrupted, 141 when whoever
        read the output left.
    """
    try:
        args = _parser().parse_args(argv)
        with _backend(args.backend):
            if args.threads:
                backends.set_num_threads(args.threads)
            args.run(args)
        sys.stdout.flush()
        return 0
    except CommandError as error:
        return _fail(str(error), error.status)
    except MemoryError as error:
        return _fail(f"out of memory: {error}", CommandError.status)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the interpreter's own flush at its end
        return UNREAD


def _fail(message: str, status: int) -> int:
    print(f"retrograd: {message}", file=sys.stderr)
    return status


def _backend(name: str | None) -> backends.use:
    try:
        return backends.use(name or backends.current())
    except (backends.BackendUnavailable, ValueError) as reason:  # ValueError: RETROGRAD_NUM_THREADS is no number
        known = (*backends.MODULES, "auto")
        kind = UsageError if name and name not in known else CommandError
        raise kind(f"{reason}{suggestion(name or '', known)}") from None


def _parser() -> Parser:
    parser = Parser(
        prog="retrograd",
        description="Train dense neural networks on a CPU, and predict with them.",
        epilog="`retrograd COMMAND --help` tells more about each.",
    )
    parser.add_argument("--version", action="version", version=f"retrograd {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_train(commands)
    _add_predict(commands)
    _add_info(commands)
    return parser


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network on a .csv, an .npz, or the handwritten digits",
        description="Train a dense network, keep its best weights by the validation rows, and test it on rows that "
        "took no part in the training. Inputs are standardized, text columns become one-hot.",
        epilog="example: retrograd train houses.csv --target price --out model.safetensors",
    )
    parser.set_defaults(run=train.run)
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="a .csv with a header, or an .npz with arrays X and y; scikit-learn's handwritten digits by default",
    )

    add = parser.add_argument_group("data").add_argument
    add("--target", metavar="COLUMN", help="the column of the .csv to predict")
    add(
        "--task",
        **_one_of("task", ("classification", "regression")),
        help="by default, texts, bools and few different integers are classes, other numbers a regression's target",
    )
    add(
        "--missing",
        **_one_of("policy", ("error", "mean")),
        default="error",
        help="what to do with a missing input (default: %(default)s)",
    )
    add("--categorical", **_LIST, help="columns of the .csv to take as categories even where they hold numbers")
    add("--drop", **_LIST, help="columns of the .csv to leave out")
    add(
        "--test-fraction",
        **_FRACTION,
        default=0.2,
        help="the share of rows held out for the test (default: %(default)s)",
    )
    add("--val-fraction", **_FRACTION, default=0.1, help="the share of rows to validate on (default: %(default)s)")

    add = parser.add_argument_group("network").add_argument
    add(
        "--hidden",
        type=_widths,
        default="128,128",
        metavar="N,N",
        help="the widths of the hidden layers, or none for a linear model (default: %(default)s)",
    )
    add("--activation", **_one_of("activation", ACTIVATIONS), default="relu", help="(default: %(default)s)")
    add(
        "--dropout",
        **_FRACTION,
        default=0.2,
        help="the share of hidden values that a step leaves out (default: %(default)s)",
    )

    add = parser.add_argument_group("training").add_argument
    add("--epochs", **_COUNT, default=100, help="at most so many passes over the training rows (default: %(default)s)")
    add(
        "--patience",
        **_COUNT,
        default=20,
        help="epochs without a better validation before it stops (default: %(default)s)",
    )
    add("--batch-size", **_COUNT, default=32, help="rows a step (default: %(default)s)")
    add("--optimizer", **_one_of("optimizer", train.OPTIMIZERS), default="adam", help="(default: %(default)s)")
    add("--lr", **_RATE, help="the learning rate; 0.001 by default, of sgd (with momentum 0.9) 0.01")
    add(
        "--seed",
        **_SEED,
        default=0,
        help="of the split, the first weights, the order and dropout (default: %(default)s)",
    )
    _add_running(parser)

    add = parser.add_argument_group("output").add_argument
    add("--out", metavar="FILE", help="write the model here, as .safetensors")
    add("--json", metavar="FILE", help="write the metrics of every epoch and of the test here")
    add("--report", action="store_true", help="print whose fault the error is, layer by layer: the gradient report")
    add("--quiet", action="store_true", help="print only the result of the test, and the report")


def _add_predict(commands: Any) -> None:
    parser = commands.add_parser(
        "predict",
        help="predict with a trained model",
        description="Write a prediction for each row of the data, and the probability of a predicted class, as .csv.",
        epilog="example: retrograd predict model.safetensors houses.csv --out predictions.csv",
    )
    parser.set_defaults(run=predict.run)
    parser.add_argument("model", metavar="MODEL", help="what `retrograd train --out` wrote")
    parser.add_argument("data", metavar="DATA", help="a .csv with the model's columns, or an .npz with an array X")
    parser.add_argument("--out", metavar="FILE", help="where to write; to standard output by default")
    parser.add_argument(
        "--missing",
        **_one_of("policy", ("error", "mean")),
        help="what to do with a missing input; as in training by default",
    )
    _add_running(parser)
    parser.add_argument("--quiet", action="store_true", help="print nothing beside the predictions")


def _add_info(commands: Any) -> None:
    parser = commands.add_parser(
        "info",
        help="show versions, processor, backends and threads",
        description="Show versions, the processor's features, the backends and why one is missing, and the threads.",
    )
    parser.set_defaults(run=info.run)
    parser.add_argument(
        "--measure",
        action="store_true",
        help="measure the peak of arithmetic and the bandwidth of the caches and of memory, in some seconds",
    )
    _add_running(parser)


def _add_running(parser: Parser) -> None:
    add = parser.add_argument_group("running").add_argument
    names = ",".join((*backends.MODULES, "auto"))
    add("--backend", metavar=f"{{{names}}}", help="by default as RETROGRAD_BACKEND says, or the best that there is")
    add("--threads", **_THREADS, help="by default as RETROGRAD_NUM_THREADS or OMP_NUM_THREADS say, or all processors")


# What arguments may be


def _checked(kind: Callable[[str], Any], accept: Callable[[Any], bool], expected: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not accept(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return parse


def _one_of(what: str, known: Sequence[str] | dict[str, Any]) -> dict[str, Any]:
    def parse(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(
                f"unknown {what} {text!r}, expected {listing(list(known))}{suggestion(text, known)}"
            )
        return text

    return {"type": parse, "metavar": f"{{{','.join(known)}}}"}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _integers(text: str) -> list[int]:
    return [] if text == "none" else [int(width) for width in text.split(",")]


_widths = _checked(_integers, lambda widths: all(n >= 1 for n in widths), "a list of widths such as 64,64, or none")
_LIST: dict[str, Any] = {"type": _names, "default": [], "metavar": "A,B"}
_COUNT: dict[str, Any] = {"type": _checked(int, lambda n: n >= 1, "a whole number >= 1"), "metavar": "N"}
_THREADS: dict[str, Any] = {
    "type": _checked(int, lambda n: 1 <= n <= 1024, "a whole number in [1, 1024]"),
    "metavar": "N",
}
_SEED: dict[str, Any] = {
    "type": _checked(int, lambda n: 0 <= n < 2**64, "a whole number in [0, 2**64)"),
    "metavar": "N",
}
_RATE: dict[str, Any] = {"type": _checked(float, lambda x: 0 < x < math.inf, "a positive number"), "metavar": "X"}
_FRACTION: dict[str, Any] = {"type": _checked(float, lambda x: 0 <= x < 1, "a number in [0, 1)"), "metavar": "X"}
