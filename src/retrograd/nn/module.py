"""Module: parameters, buffers and other modules under names, and a forward function.

What is registered lies in the instance's `__dict__`, where Python finds it without detour; the registry beside it
holds the names in order, each with its kind.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from .. import dtypes
from ..kernels.memory import aligned_copy
from ..kernels.spec import active, revise
from ..ops.creation import as_tensor
from ..tape import RemovableHandle, no_grad, state
from ..tensor import Tensor
from .parameter import Parameter

M = TypeVar("M", bound="Module")

_PLAIN = (int, float, str, tuple, list, type(None))
"""Of these types are the options of layers."""

PARAMETER, BUFFER, TRANSIENT, MODULE = "parameter", "buffer", "transient buffer", "module"
"""What a registered name can stand for; a transient buffer is one that state_dict() leaves out."""


class IncompatibleKeys(NamedTuple):
    """What load_state_dict() returns: the keys that it looked for in vain, and those that it had no use for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """The base of layers and networks.

    A subclass calls `super().__init__()`, assigns Parameters and Modules to attributes, which registers them, and
    defines `forward`. Calling the module runs its hooks around `forward`.

    Attributes:
        training: set by train() and eval(); read by layers such as Dropout.

    Example:
        >>> import retrograd as rg
        >>> from retrograd import nn
        >>> class Scale(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.factor = nn.Parameter(rg.ones(3))
        ...     def forward(self, x):
        ...         return x * self.factor
        >>> Scale()
        Scale()  # 3 parameters
        >>> Scale()(rg.tensor([1.0, 2.0, 3.0]))
        tensor([1., 2., 3.], grad_fn=<multiply>)
    """

    training: bool
    _registered: dict[str, str]
    _forward_hooks: dict[int, Callable[..., Any]]
    _forward_pre_hooks: dict[int, Callable[..., Any]]

    _options: tuple[str, ...] = ()
    """What the constructors of its classes take that are of this package; they keep it under the same names."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith(__package__) and "__init__" in vars(cls):
            cls._options = (*cls._options, *inspect.signature(cls).parameters)

    structure: object = object()
    """Replaced whenever any module's members, hooks or forward change: plans made from them compare it."""

    if TYPE_CHECKING:
        # What is registered is an attribute; a type checker sees it here.
        def __getattr__(self, name: str) -> Any: ...

    def __init__(self) -> None:
        self.__dict__.update(training=True, _registered={}, _forward_hooks={}, _forward_pre_hooks={})

    # Running it

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module calculates; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.kernels is not active:
            self._announce()
        if self._forward_hooks or self._forward_pre_hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _announce(self) -> None:
        """Say that what follows depends on the module."""
        state.kernels.guard(self._form)
        state.kernels.calls(self.forward)

    def _form(self) -> tuple[Any, ...]:
        """What decides how the module runs: its mode, its options, its members and its hooks."""
        options = [value for name in self._options if isinstance(value := self.__dict__.get(name), _PLAIN)]
        # hooks that say so leave the same in a program, whichever of them it is
        both = (*self._forward_pre_hooks.items(), *self._forward_hooks.items())
        hooks = [getattr(hook, "traced_as", number) for number, hook in both]
        return self.training, options, [id(self.__dict__[name]) for name in self._registered], hooks

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook in list(self._forward_pre_hooks.values()):
            replaced = hook(self, args)
            if replaced is not None:
                args = replaced if isinstance(replaced, tuple) else (replaced,)
        output = self.forward(*args, **kwargs)
        for hook in list(self._forward_hooks.values()):
            replaced = hook(self, args, output)
            if replaced is not None:
                output = replaced
        return output

    def register_forward_hook(self, hook: Callable[[Any, tuple[Any, ...], Any], Any]) -> RemovableHandle:
        """Call `hook(module, args, output)` after each forward; what it returns, if anything, replaces the output."""
        return self._register_hook(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Callable[[Any, tuple[Any, ...]], Any]) -> RemovableHandle:
        """Call `hook(module, args)` before each forward; what it returns, if anything, replaces the arguments."""
        return self._register_hook(self._forward_pre_hooks, hook)

    def _register_hook(self, hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> RemovableHandle:
        handle = RemovableHandle(hooks, hook)
        _restructured()
        return handle

    # Registering members

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Make `param` the parameter `name`; None keeps the name for one.

        Raises:
            TypeError: it is no Parameter. KeyError: the name is empty, has a dot, or is another attribute's.
        """
        self._register(name, param, PARAMETER, Parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Make `tensor` the buffer `name`: state that no optimizer changes. state_dict() holds it if persistent.

        Raises:
            TypeError: it is no Tensor. KeyError: as in register_parameter().
        """
        self._register(name, tensor, BUFFER if persistent else TRANSIENT, Tensor)

    def add_module(self, name: str, module: Module | None) -> None:
        """Make `module` the child `name`.

        Raises:
            TypeError: it is no Module. KeyError: as in register_parameter().
        """
        self._register(name, module, MODULE, Module)

    register_module = add_module

    def _register(self, name: str, value: Any, kind: str, expected: type) -> None:
        if "_registered" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning the {kind} {name!r}")
        if value is not None and not isinstance(value, expected):
            raise TypeError(
                f"{type(self).__name__}: cannot register a {type(value).__name__} as the {kind} {name!r}; "
                f"expected a {expected.__name__} or None"
            )
        if not isinstance(name, str) or not name or "." in name:
            raise KeyError(f"{type(self).__name__}: {name!r} cannot name a {kind}: a name is a string without dots")
        if name not in self._registered and hasattr(self, name):
            raise KeyError(f"{type(self).__name__}: attribute {name!r} already exists")
        self._registered[name] = kind
        self.__dict__[name] = value
        _restructured()

    def __setattr__(self, name: str, value: Any) -> None:
        kind = self.__dict__.get("_registered", {}).get(name)
        if isinstance(value, (Parameter, Module)):
            if kind is None:
                self.__dict__.pop(name, None)
            if isinstance(value, Module):
                self.add_module(name, value)
            else:
                self.register_parameter(name, value)
        elif kind is not None:
            self._register(name, value, kind, {PARAMETER: Parameter, MODULE: Module}.get(kind, Tensor))
        else:
            object.__setattr__(self, name, value)
            if name == "forward":
                _restructured()
            elif name in self._options:
                revise()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        if self._registered.pop(name, None) is not None or name == "forward":
            _restructured()

    # Walking over them

    def _members(self, *kinds: str) -> list[tuple[str, Any]]:
        values = self.__dict__
        return [
            (name, values[name])
            for name, kind in self._registered.items()
            if kind in kinds and values[name] is not None
        ]

    def _walk(self, prefix: str, seen: set[Module] | None) -> Iterator[tuple[str, Module]]:
        if seen is not None:
            if self in seen:
                return
            seen.add(self)
        yield prefix, self
        for name, child in self._members(MODULE):
            yield from child._walk(_join(prefix, name), seen)

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module and of all below, parents first; a shared one once, unless asked otherwise."""
        return self._walk(prefix, set() if remove_duplicate else None)

    def modules(self) -> Iterator[Module]:
        """This module and all below, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the modules directly below, each once."""
        seen = set()
        for name, child in self._members(MODULE):
            if child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly below, each once."""
        return (child for _, child in self.named_children())

    def _named_tensors(
        self, kinds: tuple[str, ...], prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        owners = self.named_modules(prefix, remove_duplicate) if recurse else iter([(prefix, self)])
        for path, module in owners:
            for name, tensor in module._members(*kinds):
                if remove_duplicate:
                    if tensor in seen:
                        continue
                    seen.add(tensor)
                yield _join(path, name), tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) of this module and, if `recurse`, of all below; a shared one once."""
        return self._named_tensors((PARAMETER,), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and, if `recurse`, of all below, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(path, buffer) of this module and, if `recurse`, of all below; a shared one once."""
        return self._named_tensors((BUFFER, TRANSIENT), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and, if `recurse`, of all below, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    # State

    def _state(self) -> dict[str, Tensor]:
        return {
            _join(path, name): tensor
            for path, module in self.named_modules(remove_duplicate=False)
            for name, tensor in (*module._members(PARAMETER), *module._members(BUFFER))
        }

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Path → parameter or persistent buffer, detached, over the same memory; PyTorch's keys and shapes."""
        return {prefix + name: tensor.detach() for name, tensor in self._state().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Copy values into the parameters and buffers of the same paths, converted to their dtypes.

        Args:
            state_dict: path → tensor or array, as state_dict() returns it here or in PyTorch.
            strict: whether a missing or an unexpected key is an error.

        Returns:
            the missing and the unexpected keys, both empty where strict.

        Raises:
            RuntimeError: keys or shapes do not fit; lists all of them. Nothing is changed then.
        """
        own = self._state()
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        complaints = []
        if strict and unexpected:
            complaints.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.")
        if strict and missing:
            complaints.append(f"Missing key(s) in state_dict: {_quoted(missing)}.")
        given = {name: as_tensor(state_dict[name]) for name in own if name in state_dict}
        for name, source in given.items():
            target = own[name]
            if source.shape != target.shape:
                complaints.append(
                    f"size mismatch for {name}: copying a tensor of shape {source.shape} from state_dict, "
                    f"the shape in the module is {target.shape}."
                )
            elif not np.can_cast(source.dtype, target.dtype, "same_kind"):
                complaints.append(f"dtype mismatch for {name}: {source.dtype} cannot become {target.dtype}.")
        if complaints:
            raise RuntimeError("\n\t".join([f"Error(s) in loading state_dict for {type(self).__name__}:", *complaints]))
        with no_grad():
            targets = {name: own[name].writable("load_state_dict") for name in given}
        state.kernels.hold([*own.values(), *given.values()])
        for name, array in targets.items():
            state.kernels.assign(array, given[name].array)
            own[name].changed()
        return IncompatibleKeys(missing, unexpected)

    # Changing all of it

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call fn on every module below, children first, and on this one; returns the module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Set `training` here and in all modules below; returns the module."""
        for module in self.modules():
            module.training = bool(mode)
        revise()
        return self

    def eval(self: M) -> M:
        """train(False)."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Set whether the parameters ask for gradients; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the parameters' gradients: to None, or else to zeros."""
        clear_gradients(self.parameters(), set_to_none)

    def to(self: M, dtype: Any) -> M:
        """Convert the floating parameters and buffers, and their gradients, in place; returns the module.

        An optimizer made before holds its state in the old dtype: make it after.

        Raises:
            TypeError: dtype is not float32 or float64.
        """
        known = () if dtype is None else (dtypes.float32, dtypes.float64)
        target = next((d for d in known if dtype in (d, d.name, d.type)), None)
        if target is None:
            raise TypeError(f"to: {dtype!r} is not a dtype that modules can have; expected float32 or float64")
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.dtype.kind == "f" and tensor.dtype != target:
                tensor.data = Tensor(aligned_copy(tensor.array, target))
                if tensor.grad is not None:
                    tensor.grad = tensor.grad.detach().to(target)
        return self

    def float(self: M) -> M:
        """to(float32)."""
        return self.to(dtypes.float32)

    def double(self: M) -> M:
        """to(float64)."""
        return self.to(dtypes.float64)

    # Showing it

    def extra_repr(self) -> str:
        """What stands between the parentheses of the repr; subclasses define it."""
        return ""

    def __repr__(self) -> str:
        count = sum(parameter.size for parameter in self.parameters())
        note = f"  # {count:,} parameter{'s' * (count != 1)}" if count else ""
        head = f"{type(self).__name__}({self.extra_repr()}"
        children = "".join(
            f"  ({name}): " + repr(child).replace("\n", "\n  ") + "\n" for name, child in self._members(MODULE)
        )
        return f"{head}{note}\n{children})" if children else f"{head}){note}"


def clear_gradients(parameters: Iterator[Tensor] | list[Tensor], set_to_none: bool) -> None:
    """Set gradients to None, or those that there are to zeros."""
    for p in parameters:
        if set_to_none:
            p.grad = None
        elif p.grad is not None:
            p.grad = p.grad.detach()
            p.grad.zero_()


def _restructured() -> None:
    Module.structure = object()
    revise()


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
