"""Tensors in files, in the safetensors format (https://huggingface.co/docs/safetensors), which PyTorch and others
read too. It needs the package safetensors: pip install 'retrograd[safetensors]'."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .ops.creation import as_tensor
from .tensor import Tensor

Path = str | os.PathLike[str]


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "saving and loading need the package safetensors; pip install 'retrograd[safetensors]'"
        ) from None
    return safetensors


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[str]:
    """The path of a new file beside `path` to write to, which takes its place at the block's end: whoever reads `path`
    finds the old content or all of the new. Where the block raises, the new file is removed and `path` stays.

    Raises:
        OSError: `path` is there and no regular file: a device or a pipe must not be replaced.
    """
    target = os.fspath(path)
    if os.path.lexists(target) and not os.path.isfile(target):
        raise OSError(f"save: {target} is not a regular file")
    new = f"{target}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        yield new
        with open(new, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(new, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(new)
        raise


def save(tensors: Any, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to a file, whole or not at all.

    Args:
        tensors: a module, whose state_dict() is written, or a mapping of names to tensors or arrays; or a checkpoint, a
            mapping of more: of modules, optimizers and schedules, of their state_dict()s, of numbers, texts, None, and
            of dicts, lists and tuples of all these.
        path: where to; a file that is there is replaced.
        metadata: strings to keep beside them, see load_metadata().

    Raises:
        TypeError: something else, named with where it is, or metadata that is not strings.
        ImportError: safetensors is not installed. OSError: the file cannot be written.

    Example:
        >>> import retrograd as rg
        >>> rg.save({"w": rg.ones(2)}, "model.safetensors", metadata={"epochs": "3"})  # doctest: +SKIP
        >>> rg.load("model.safetensors")  # doctest: +SKIP
        {'w': tensor([1., 1.])}
        >>> rg.save({"model": model, "optimizer": optimizer, "epoch": 3}, "checkpoint")  # doctest: +SKIP
        >>> optimizer.load_state_dict(rg.load("checkpoint")["optimizer"])  # doctest: +SKIP
    """
    numpy_format = _safetensors().numpy
    if hasattr(tensors, "state_dict"):
        tensors = tensors.state_dict()
    if not isinstance(tensors, Mapping):
        kind = type(tensors).__name__
        raise TypeError(f"save: cannot save a {kind}; expected a Module or a dict of tensors, then the path")
    notes = dict(metadata or {})
    for key, text in notes.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save: metadata {key!r} is a {type(text).__name__}, expected strings")
    arrays: dict[str, np.ndarray] = {}
    tree = _written(tensors, "", arrays)
    if not all(isinstance(name, str) and _is_tensor(value) for name, value in tensors.items()):
        notes[_TREE] = json.dumps(tree)
    content = numpy_format.save(arrays, notes or None)
    with replacing(path) as new, open(new, "xb") as file:
        file.write(content)


_TREE = "retrograd.checkpoint"
"""Under what a file's metadata holds the tree of a checkpoint: JSON, each node a kind and what it is made of."""


def _is_tensor(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray))


def _written(value: Any, path: str, arrays: dict[str, np.ndarray]) -> list[Any]:
    """A node of the tree; the arrays under it go among the others, named by where they are."""
    if _is_tensor(value):
        arrays[path] = np.asarray(as_tensor(value).array, order="C")
        return ["tensor", path]
    if hasattr(value, "state_dict"):
        value = value.state_dict()
    below = f"{path}/" if path else ""
    if isinstance(value, Mapping):
        if not all(isinstance(key, (str, int)) for key in value):
            raise TypeError(f"save: {path!r} has the keys {list(value)}, expected strings or whole numbers")
        return ["dict", [[key, _written(v, f"{below}{key}", arrays)] for key, v in value.items()]]
    if isinstance(value, (tuple, list)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return [kind, [_written(v, f"{below}{i}", arrays) for i, v in enumerate(value)]]
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (bool, int, float, str, type(None))):
        raise TypeError(f"save: {path!r} is a {type(value).__name__}, expected a tensor, array, number, text or None")
    return ["value", value]


def _read(node: list[Any], tensors: dict[str, Tensor]) -> Any:
    kind, content = node
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _read(below, tensors) for key, below in content}
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(_read(below, tensors) for below in content)
    return content


def load(path: Path) -> dict[str, Any]:
    """The tensors of a file by name, as Module.load_state_dict() takes them; or the checkpoint that save() was given,
    with the state_dict() of what has one.

    Raises:
        ValueError: the file is damaged or of another format; names it.
        FileNotFoundError: there is none. ImportError: safetensors is not installed.
    """
    with _opened(path) as file:
        names = file.keys()
        tensors = {name: as_tensor(file.get_tensor(name)) for name in names}
        tree = (file.metadata() or {}).get(_TREE)
        return tensors if tree is None else _read(json.loads(tree), tensors)


def load_metadata(path: Path) -> dict[str, str]:
    """The strings that save() kept beside a file's tensors; raises as load()."""
    with _opened(path) as file:
        return {name: text for name, text in (file.metadata() or {}).items() if name != _TREE}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    library = _safetensors()
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"load: there is no file {path}")
    try:
        with library.safe_open(path, framework="np") as file:
            yield file
    except library.SafetensorError as error:
        raise ValueError(f"load: {path} is damaged or not a safetensors file: {error}") from None
