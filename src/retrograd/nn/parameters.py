"""Modules that hold parameters by number or by name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from .module import PARAMETER, Module
from .parameter import Parameter

L = TypeVar("L", bound="ParameterList")


def _parameter(value: Any) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(value)


class ParameterList(Module):
    """Parameters that are indexed and iterated like a list, under the names 0, 1, …; what is none is made one.

    Example:
        >>> import retrograd as rg
        >>> from retrograd import nn
        >>> weights = nn.ParameterList([rg.ones(2), rg.zeros(3, 2)])
        >>> len(weights), weights[-1].shape
        (2, (3, 2))
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        super().__init__()
        self.extend(values)

    def __len__(self) -> int:
        return len(self._members(PARAMETER))

    def __iter__(self) -> Iterator[Parameter]:
        return iter([parameter for _, parameter in self._members(PARAMETER)])

    def __getitem__(self, index: int) -> Parameter:
        return self._members(PARAMETER)[index][1]

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, self._members(PARAMETER)[operator.index(index)][0], _parameter(value))

    def append(self: L, value: Any) -> L:
        """Add a parameter at the end; returns the list."""
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self: L, values: Iterable[Any]) -> L:
        """Add parameters at the end; returns the list."""
        for value in list(values):
            self.append(value)
        return self


class ParameterDict(Module):
    """Parameters by name, in the order in which they were added; what is none is made one.

    Example:
        >>> import retrograd as rg
        >>> scales = rg.nn.ParameterDict({'gain': rg.nn.Parameter(rg.ones(2))})
        >>> scales['gain'].shape
        (2,)
    """

    def __init__(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__()
        self.update(values)

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: str) -> bool:
        return key in self.keys()

    def __getitem__(self, key: str) -> Parameter:
        return dict(self.items())[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, _parameter(value))

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        delattr(self, key)

    def keys(self) -> list[str]:
        """The names."""
        return [name for name, _ in self.items()]

    def values(self) -> list[Parameter]:
        """The parameters."""
        return [parameter for _, parameter in self.items()]

    def items(self) -> list[tuple[str, Parameter]]:
        """(name, parameter) of each."""
        return self._members(PARAMETER)

    def update(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add parameters, replacing those of the same names."""
        for key, value in dict(values).items():
            self[key] = value
