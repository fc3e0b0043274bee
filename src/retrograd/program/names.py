"""What the names in a step's function stand for, outside of it: a trace is good while they stand for the same.

A notebook's cell that makes a model anew gives its name another object, and so does `agent.target = deepcopy(agent.q)`.
Python looks names up at each call, and a program must not outlive what it was traced from. The names are read off the
bytecode: globals, variables of functions around, and attributes of what those stand for: objects, classes, and modules
that are not installed packages or Python's own. What stands in lists and dictionaries is read at the trace alone.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any

_OWN = __name__.partition(".")[0]

_PLAIN = (int, float, bool, str, bytes, complex, type(None))
"""Of these an equal one is as good as the same one."""


class Names:
    """The names that functions look up outside of themselves, with what they stand for now.

    Args:
        functions: those that a trace ran, functions or bound methods; what they call by name is looked into as well.
        skip: whether a function, by its code, is not to be looked into.

    Attributes:
        in_places: the dictionary, the key and the object of each that stands in one.
        in_cells: the cell and the object of each variable of a function around.
        in_attributes: the owner, the name and the object of each attribute that a class has.
    """

    def __init__(self, functions: Iterable[Callable[..., Any]], skip: Callable[[types.CodeType], bool]) -> None:
        self._skip = skip
        self._found: dict[tuple[int, str], tuple[dict[str, Any], str, Any]] = {}
        self._attributes: dict[tuple[int, str], tuple[Any, str, Any]] = {}
        self._cells: dict[int, tuple[str, tuple[types.CellType, Any]]] = {}
        self._seen: set[tuple[types.CodeType, int]] = set()
        for function in functions:
            self._follow(function)
        self.in_places = list(self._found.values())
        self.in_cells = [cell for _, cell in self._cells.values()]
        self.in_attributes = list(self._attributes.values())

    def same(self) -> bool:
        """Whether each name stands for the same object, or an equal number or text."""
        try:
            for place, name, value in self.in_places:
                if place[name] is not value:
                    return self._equal()
            for cell, value in self.in_cells:
                if cell.cell_contents is not value:
                    return self._equal()
            for owner, name, value in self.in_attributes:
                if getattr(owner, name) is not value:
                    return self._equal()
        except (AttributeError, KeyError, ValueError):  # it has been deleted
            return False
        return True

    def rebound(self) -> Iterator[tuple[str, Any, Any]]:
        """The names that stand for another number or text than at first, with the first one and that of now."""
        found = [(name, value, place.get(name)) for place, name, value in self.in_places]
        found += [(name, value, cell.cell_contents) for name, (cell, value) in self._cells.values()]
        return (f for f in found if all(isinstance(v, _PLAIN) for v in f[1:]) and not _as_good(*f[1:]))

    def _equal(self) -> bool:
        places = [(place, name, place[name]) for place, name, _ in self.in_places]
        cells = [(cell, cell.cell_contents) for cell, _ in self.in_cells]
        attributes = [(owner, name, getattr(owner, name)) for owner, name, _ in self.in_attributes]
        before = [*self.in_places, *self.in_cells, *self.in_attributes]
        if not all(map(_as_good, *(map(itemgetter(-1), all_) for all_ in ([*places, *cells, *attributes], before)))):
            return False
        self.in_places, self.in_cells, self.in_attributes = places, cells, attributes
        return True

    def _follow(self, function: Any) -> None:
        function = inspect.unwrap(function)
        while isinstance(function, functools.partial):
            function = inspect.unwrap(function.func)
        owner = getattr(function, "__self__", None)
        function = getattr(function, "__func__", function)
        if isinstance(function, types.FunctionType) and not self._skip(function.__code__):
            cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
            self._read(function.__code__, function.__globals__, cells, owner)

    def _read(
        self, code: types.CodeType, globals_: dict[str, Any], cells: dict[str, types.CellType], owner: Any
    ) -> None:
        if (code, id(owner)) in self._seen:
            return
        self._seen.add((code, id(owner)))
        first = code.co_varnames[:1] if owner is not None else ()
        value: Any = None  # what the latest instruction loaded, where that is known
        for instruction in dis.get_instructions(code):
            kind, name = instruction.opname, instruction.argval
            if kind in ("LOAD_GLOBAL", "LOAD_NAME"):
                value = self._in(globals_, name)
            elif kind in ("LOAD_ATTR", "LOAD_METHOD"):
                value = None if value is None else self._attribute(value, name)
            elif kind == "LOAD_DEREF":
                value = self._in_cell(name, cells.get(name))
            elif kind.startswith("LOAD_FAST"):
                value = owner if (name[-1:] if isinstance(name, tuple) else (name,)) == first else None
            elif kind != "EXTENDED_ARG":
                value = None
        for inner in code.co_consts:
            if isinstance(inner, types.CodeType):
                self._read(inner, globals_, cells, owner if first and first[0] in inner.co_freevars else None)

    def _in(self, place: Any, name: str) -> Any:
        """What a name of a namespace stands for; None where there is none, or it is not for the step to change."""
        if type(place) is not dict or name not in place:
            return None
        if isinstance(place[name], types.ModuleType):
            return _unsettled(place[name])
        self._found[id(place), name] = place, name, place[name]
        return self._known(place[name])

    def _in_cell(self, name: str, cell: types.CellType | None) -> Any:
        try:
            value = None if cell is None else cell.cell_contents
        except ValueError:  # empty
            return None
        if cell is None:
            return None
        if isinstance(value, types.ModuleType):
            return _unsettled(value)
        self._cells[id(cell)] = name, (cell, value)
        return self._known(value)

    def _attribute(self, value: Any, name: str) -> Any:
        held = getattr(value, "__dict__", None)
        if held is None:
            return None
        if not isinstance(value, type) and name in held:
            return self._in(held, name)
        found = inspect.getattr_static(value, name, None)
        if isinstance(found, types.FunctionType):
            if not isinstance(value, type):
                self._follow(types.MethodType(found, value))
        elif found is not None and not hasattr(type(found), "__get__") and getattr(value, name, None) is found:
            self._attributes[id(value), name] = value, name, found
            return self._known(found)
        return None

    def _known(self, value: Any) -> Any:
        if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            self._follow(value)
        return value


def _unsettled(module: types.ModuleType) -> types.ModuleType | None:
    """A module whose names may come to stand for something else; None for another."""
    top = module.__name__.partition(".")[0]
    file = getattr(module, "__file__", None) or ""
    installed = "site-packages" in file or "dist-packages" in file
    return None if installed or top == _OWN or top in sys.stdlib_module_names else module


def _as_good(now: Any, then: Any) -> bool:
    return now is then or (type(now) is type(then) and isinstance(now, _PLAIN) and now == then)
