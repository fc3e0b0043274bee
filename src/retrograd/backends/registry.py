"""Which backend runs: loading, choosing and switching.

A backend is a module of this package with a function `load() -> Backend` that raises BackendUnavailable, with the
reason in words, where it cannot run here; one entry in `MODULES` makes it known.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection
from typing import Any

from ..kernels.spec import TABLE, activate, revise
from . import threads
from .interpreter import Interpreter

MODULES = {"c": ".c", "numba": ".numba", "numpy": ".numpy"}
"""The backends, best first: the order in which `auto` tries them."""


class BackendUnavailable(RuntimeError):
    """A backend that cannot run on this machine; the message says why and what would help."""


class Unsupported(Exception):
    """What in a program it is that a backend does not run in one call.

    Attributes:
        instruction: the call that it has no compiled form for; None where it is nothing of one call.
    """

    def __init__(self, reason: str, instruction: Any = None) -> None:
        super().__init__(reason)
        self.instruction = instruction


class Backend:
    """A table of kernel implementations.

    Attributes:
        name: what RETROGRAD_BACKEND calls it.
        table: kernel name → function of the kernel's own signature; a kernel that is not in it runs its
            NumPy reference.
        set_num_threads: called with the number of threads (>= 1) when the backend comes into force and when it changes.
        describe: facts for `retrograd info`, as word → value.
        load_program: a Program → an object whose run(inputs, results, scalars) executes a step of it, or Unsupported;
            by default an Interpreter that calls the table's kernels one by one.
        compiles: the kernels that load_program has a compiled form for; None: it needs none.
    """

    def __init__(
        self,
        name: str,
        table: dict[str, Callable[..., Any]],
        set_num_threads: Callable[[int], None],
        describe: Callable[[], dict[str, str]],
        load_program: Callable[[Any], Any] | None = None,
        compiles: Collection[str] | None = None,
    ) -> None:
        unknown = table.keys() - TABLE.keys()
        if unknown:
            raise KeyError(f"backend {name}: no such kernels in the vocabulary: {', '.join(sorted(unknown))}")
        self.name = name
        self.table = table
        self.set_num_threads = set_num_threads
        self.describe = describe
        self.load_program = load_program or (lambda program: Interpreter(program, table))
        self.compiles = compiles


_loaded: dict[str, Backend | BackendUnavailable] = {}
_current: Backend | Exception
"""The backend in force; or why what the environment asks for cannot be."""


def _load(name: str) -> Backend | BackendUnavailable:
    if name not in _loaded:
        try:
            _loaded[name] = importlib.import_module(MODULES[name], __package__).load()
        except BackendUnavailable as reason:
            _loaded[name] = reason
    return _loaded[name]


def available() -> tuple[str, ...]:
    """The names of the backends that load here, best first."""
    return tuple(name for name in MODULES if isinstance(_load(name), Backend))


def missing() -> dict[str, str]:
    """The backends that do not load here, each with the reason."""
    return {name: str(_load(name)) for name in MODULES if not isinstance(_load(name), Backend)}


def current() -> str:
    """The name of the backend in force."""
    return _in_force().name


def describe(name: str) -> dict[str, str]:
    """Facts about a backend that loads (its instruction set, its compiler …), as word → value."""
    return _require(name).describe()


def load_program(program: Any) -> Any:
    """The program in the form that the backend in force runs: an object with run(inputs, results, scalars).

    Raises:
        Unsupported: the backend does not run it in one call.
    """
    return _in_force().load_program(program)


def interpret(program: Any) -> Interpreter:
    """The program as calls of the kernels in force, one after the other."""
    return Interpreter(program, _in_force().table)


def compiles(kernel: str) -> bool:
    """Whether the backend in force runs the kernel within a program; else its call stands apart."""
    known = _in_force().compiles
    return known is None or kernel in known


def _require(name: str) -> Backend:
    if name in MODULES:
        backend = _load(name)
        if isinstance(backend, Backend):
            return backend
        complaint = f"backend {name!r} is not available: {backend}"
    else:
        complaint = f"unknown backend {name!r}"
    others = "".join(f"; {other} is not ({why})" for other, why in missing().items() if other != name)
    raise BackendUnavailable(f"{complaint}. Available: {', '.join(available())}{others}")


class use:
    """Switch the backend, for the whole process; as a context manager, until the block ends.

    Args:
        name: "c", "numba", "numpy", or "auto" for the best that loads.

    Raises:
        BackendUnavailable: the name is unknown or the backend does not load; says what is available and why
            the rest is not. The backend in force stays.

    Example:
        >>> import retrograd as rg
        >>> with rg.backends.use("numpy"):
        ...     rg.backends.current()
        'numpy'
    """

    def __init__(self, name: str) -> None:
        backend = _require(_best() if name == "auto" else name)
        self._previous = globals().get("_current", backend)
        _put_in_force(backend)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        _put_in_force(self._previous)


def _put_in_force(backend: Backend | Exception) -> None:
    global _current
    if isinstance(backend, Backend):
        backend.set_num_threads(threads.count())
    _current = backend
    activate(backend.table if isinstance(backend, Backend) else dict.fromkeys(TABLE, _refuse))


def _in_force() -> Backend:
    if isinstance(_current, Exception):
        raise type(_current)(*_current.args)
    return _current


def _refuse(*arrays: Any, **attributes: Any) -> Any:
    return _in_force()


def _best() -> str:
    return next(name for name in MODULES if isinstance(_load(name), Backend))


def set_num_threads(n: int) -> None:
    """Set how many threads the kernels may use, in the whole process.

    Raises:
        ValueError: n is not a whole number >= 1.

    Example:
        >>> import retrograd as rg
        >>> before = rg.get_num_threads()
        >>> rg.set_num_threads(1)
        >>> rg.get_num_threads()
        1
        >>> rg.set_num_threads(before)
    """
    threads.set_count(n)
    _in_force().set_num_threads(n)
    revise()


def get_num_threads() -> int:
    """How many threads the kernels may use: as set, or from RETROGRAD_NUM_THREADS, OMP_NUM_THREADS, or the
    number of processors that this process may run on.

    Example:
        >>> import retrograd as rg
        >>> rg.get_num_threads() >= 1
        True
    """
    return threads.count()


def _follow_environment() -> None:
    """Where the environment asks for what cannot be, the import succeeds and the first use raises the error: until
    then a program can report it in its own way, or use() another backend."""
    try:
        use(os.environ.get("RETROGRAD_BACKEND", "").strip().lower() or "auto")
    except (BackendUnavailable, ValueError) as reason:
        _put_in_force(reason)


_follow_environment()
