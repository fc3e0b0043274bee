"""Modules that hold modules."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from ..kernels.spec import active
from ..tape import state
from .module import MODULE, Module

R = TypeVar("R", bound="Row")


class Row(Module):
    """Modules in a row, under the names 0, 1, …: what Sequential and ModuleList share."""

    def _row(self) -> list[tuple[str, Module]]:
        return self._members(MODULE)

    def _set_row(self, modules: Iterable[Module]) -> None:
        modules = list(modules)
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"{type(self).__name__}: item {i} is a {type(module).__name__}, expected a Module")
        for name, _ in self._row():
            delattr(self, name)
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def __len__(self) -> int:
        return len(self._row())

    def __iter__(self) -> Iterator[Module]:
        return iter([module for _, module in self._row()])

    def _at(self, index: int) -> tuple[str, Module]:
        row = self._row()
        i = operator.index(index)
        if not -len(row) <= i < len(row):
            raise IndexError(f"{type(self).__name__}: index {i} is out of range for {len(row)} modules")
        return row[i]

    def __getitem__(self, index: int | slice) -> Any:
        return type(self)._of(dict(self._row()[index])) if isinstance(index, slice) else self._at(index)[1]

    @classmethod
    def _of(cls: type[R], modules: dict[str, Module]) -> R:
        row = cls()
        row._set_row(modules.values())
        return row

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._at(index)[0], module)

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self)
        if not isinstance(index, slice):
            self._at(index)
        del modules[index]
        self._set_row(modules)

    def append(self: R, module: Module) -> R:
        """Add a module at the end; returns the container."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self: R, modules: Iterable[Module]) -> R:
        """Add modules at the end; returns the container."""
        for module in list(modules):
            self.append(module)
        return self

    __iadd__ = extend

    def insert(self: R, index: int, module: Module) -> R:
        """Put a module before the one at `index`; returns the container."""
        modules = list(self)
        modules.insert(index, module)
        self._set_row(modules)
        return self

    def pop(self, index: int = -1) -> Module:
        """Take the module at `index` out and return it."""
        module = self._at(index)[1]
        del self[index]
        return module


class ModuleList(Row):
    """Modules that are indexed and iterated like a list.

    Example:
        >>> import retrograd as rg
        >>> layers = rg.nn.ModuleList([rg.nn.Linear(2, 4), rg.nn.Linear(4, 1)])
        >>> len(layers), sum(p.size for p in layers.parameters())
        (2, 17)
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self._set_row(modules or ())


class Sequential(Row):
    """Modules one after the other, each given what the one before it returned.

    A layer that takes an activation (`takes_activation`) does the one that follows it (`fused_activation`) in its own
    pass: the same result from half the passes. Both must be exactly the classes that declare so, without hooks.

    Args:
        *modules: the modules; or one mapping name → module.

    Example:
        >>> from retrograd import nn
        >>> nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
        Sequential(  # 321 parameters
          (0): Linear(in_features=8, out_features=32, bias=True)  # 288 parameters
          (1): ReLU()
          (2): Linear(in_features=32, out_features=1, bias=True)  # 33 parameters
        )
    """

    _plan: tuple[object, list[Callable[[Any], Any]]] = (None, [])

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self._set_row(modules)

    @classmethod
    def _of(cls, modules: dict[str, Module]) -> Sequential:
        return cls(modules)

    def forward(self, input: Any) -> Any:
        structure, stages = self._plan
        if structure is not Module.structure:
            stages = self._make_plan()
        for stage in stages:
            input = stage(input)
        return input

    def _make_plan(self) -> list[Callable[[Any], Any]]:
        structure = Module.structure
        stages: list[Callable[[Any], Any]] = []
        modules = list(self)
        while modules:
            module = modules.pop(0)
            if modules and _declared(module, "takes_activation") and _declared(modules[0], "fused_activation"):
                stages.append(functools.partial(_activated, module, modules.pop(0)))
            else:
                stages.append(module)
        self._plan = (structure, stages)
        return stages

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_plan"}


def _activated(layer: Any, activation: Any, input: Any) -> Any:
    fused = activation.fused_activation
    if state.kernels is not active:
        layer._announce()
        activation._announce()
    return activation(layer(input)) if fused is None else layer.forward(input, *fused)


def _declared(module: Module, attribute: str) -> Any:
    """What the module's own class declares, where calling the module is no more than that class's forward()."""
    if module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__:
        return None
    return vars(type(module)).get(attribute)


class ModuleDict(Module):
    """Modules by name, in the order in which they were added.

    Example:
        >>> import retrograd as rg
        >>> heads = rg.nn.ModuleDict({'policy': rg.nn.Linear(4, 2), 'value': rg.nn.Linear(4, 1)})
        >>> heads['value'](rg.ones(3, 4)).shape
        (3, 1)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Module:
        return dict(self._members(MODULE))[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: str) -> bool:
        return key in self.keys()

    def keys(self) -> list[str]:
        """The names."""
        return [name for name, _ in self._members(MODULE)]

    def values(self) -> list[Module]:
        """The modules."""
        return [module for _, module in self._members(MODULE)]

    def items(self) -> list[tuple[str, Module]]:
        """(name, module) of each."""
        return self._members(MODULE)

    def pop(self, key: str) -> Module:
        """Take the module of this name out and return it.

        Raises:
            KeyError: there is none.
        """
        module = self[key]
        delattr(self, key)
        return module

    def clear(self) -> None:
        """Take all modules out."""
        for key in self.keys():
            delattr(self, key)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, replacing those of the same names."""
        for key, module in dict(modules).items():
            self[key] = module
