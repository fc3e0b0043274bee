"""Tensors in files, in the safetensors format (https://huggingface.co/docs/safetensors), which PyTorch and others
read too. It needs the package safetensors: pip install 'retrograd[safetensors]'."""

from __future__ import annotations

import contextlib
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
        tensors: a module, whose state_dict() is written, or a mapping of names to tensors or arrays.
        path: where to; a file that is there is replaced.
        metadata: strings to keep beside them, see load_metadata().

    Raises:
        TypeError: something else than a mapping of names to tensors, or metadata that is not strings.
        ImportError: safetensors is not installed. OSError: the file cannot be written.

    Example:
        >>> import retrograd as rg
        >>> rg.save({"w": rg.ones(2)}, "model.safetensors", metadata={"epochs": "3"})  # doctest: +SKIP
        >>> rg.load("model.safetensors")  # doctest: +SKIP
        {'w': tensor([1., 1.])}
    """
    numpy_format = _safetensors().numpy
    if hasattr(tensors, "state_dict"):
        tensors = tensors.state_dict()
    if not isinstance(tensors, Mapping):
        raise TypeError(f"save: cannot save a {type(tensors).__name__}; expected a Module or a dict of tensors")
    arrays = {}
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, (Tensor, np.ndarray)):
            raise TypeError(f"save: {name!r} is a {type(value).__name__}, expected names of tensors or arrays")
        arrays[name] = np.asarray(as_tensor(value).array, order="C")
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save: metadata {key!r} is a {type(text).__name__}, expected strings")
    content = numpy_format.save(arrays, dict(metadata) if metadata else None)
    with replacing(path) as new, open(new, "xb") as file:
        file.write(content)


def load(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, as Module.load_state_dict() takes them.

    Raises:
        ValueError: the file is damaged or of another format; names it.
        FileNotFoundError: there is none. ImportError: safetensors is not installed.
    """
    with _opened(path) as file:
        names = file.keys()
        return {name: as_tensor(file.get_tensor(name)) for name in names}


def load_metadata(path: Path) -> dict[str, str]:
    """The strings that save() kept beside a file's tensors; raises as load()."""
    with _opened(path) as file:
        return dict(file.metadata() or {})


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
