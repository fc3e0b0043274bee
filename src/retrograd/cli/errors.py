"""What a command says when it cannot go on: one line on standard error, and an exit status."""

from __future__ import annotations

import contextlib
import difflib
import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any


class CommandError(Exception):
    """An error in what the user gave: its message is the one line they see."""

    status = 1


class UsageError(CommandError):
    """An error in the command's arguments."""

    status = 2


def suggestion(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" for the nearest of the known names, or nothing where none is near."""
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def listing(names: Sequence[str], most: int = 20) -> str:
    """The names, separated by commas; of many, the first and how many there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, … ({len(names)} in all)"


def extra(module: str) -> Any:
    """Import a module of the `train` extra.

    Raises:
        CommandError: it is not installed; says how to install it.
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        name = {"sklearn": "scikit-learn"}.get(package, package)
        raise CommandError(f"{name} is not installed: pip install 'retrograd[train]'") from None
    return importlib.import_module(module)


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what can go wrong with opening and decoding a text file into a CommandError that names it."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
