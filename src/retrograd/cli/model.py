"""A trained network with all that predicting takes: what train writes and predict reads."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import nn, serialization
from ..kernels.spec import Array
from ..ops.creation import as_tensor
from ..tape import no_grad
from .errors import CommandError, extra, reading
from .output import writing
from .preprocess import Preprocessing
from .target import Target, Task

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}

METADATA = "retrograd"
"""The one key of the file's metadata: with more, their order, and so the file, would differ from run to run."""

FORMAT = 1
"""Of what save() writes; another number is another layout."""

CHUNK = 4096
"""Rows that go through the network at once when it predicts."""


@dataclass
class Model:
    """A dense network between a table's preprocessing and a target.

    Attributes:
        target: the name of the target's column.
        task: "classification" or "regression".
        labels: the classes, one for each output; None for a regression.
        offset, factor: of a regression: the prediction is offset + factor * output.
        hidden, activation, dropout: how the network is built.
        preprocessing: what is done to a table before.
        network: inputs → logits, or → one standardized number.
    """

    target: str
    task: Task
    labels: list[Any] | None
    offset: float
    factor: float
    hidden: list[int]
    activation: str
    dropout: float
    preprocessing: Preprocessing
    network: nn.Sequential

    @staticmethod
    def build(
        target: Target, rows: Array, hidden: list[int], activation: str, dropout: float, preprocessing: Preprocessing
    ) -> Model:
        """An untrained model for this target, a regression's standardized over `rows`."""
        offset, factor = 0.0, 1.0
        if target.task == "regression":
            values = target.values[rows]
            offset, factor = float(values.mean()), float(values.std()) if np.ptp(values) else 1.0
        outputs = len(target.labels) if target.labels else 1
        network = _dense(preprocessing.inputs, hidden, outputs, activation, dropout)
        return Model(
            target.name, target.task, target.labels, offset, factor, hidden, activation, dropout, preprocessing, network
        )

    @property
    def parameters(self) -> int:
        """How many numbers the training fits."""
        return sum(p.size for p in self.network.parameters())

    def describe(self) -> str:
        """The network in a few words: its widths, its activation, and how many parameters it has."""
        widths = [self.preprocessing.inputs, *self.hidden, len(self.labels) if self.labels else 1]
        dropout = f", dropout {self.dropout:g}" if self.dropout else ""
        return f"{'-'.join(map(str, widths))} {self.activation}{dropout} ({self.parameters:,} parameters)"

    def outputs(self, inputs: Array) -> Array:
        """What the network gives, without dropout: logits (rows, classes) or standardized numbers (rows, 1)."""
        was_training = self.network.training
        self.network.eval()
        with no_grad():
            parts = [
                self.network(as_tensor(inputs[start : start + CHUNK])).numpy() for start in range(0, len(inputs), CHUNK)
            ]
        self.network.train(was_training)
        return np.concatenate(parts)

    def numbers(self, outputs: Array) -> Array:
        """A regression's predictions, (rows,) float64 in the target's unit."""
        return self.offset + self.factor * outputs[:, 0].astype(np.float64)

    def save(self, path: str) -> None:
        """Write it as safetensors: the weights, what preprocessing takes, and the rest as JSON in the metadata."""
        facts = {
            "format": FORMAT,
            "target": self.target,
            "task": self.task,
            "labels": self.labels,
            "offset": self.offset,
            "factor": self.factor,
            "hidden": self.hidden,
            "activation": self.activation,
            "dropout": self.dropout,
            "preprocessing": self.preprocessing.facts(),
        }
        tensors: dict[str, Any] = {f"network.{name}": t for name, t in self.network.state_dict().items()}
        tensors |= {f"preprocessing.{name}": array for name, array in self.preprocessing.arrays().items()}
        with writing(path):
            serialization.save(tensors, os.path.realpath(path), {METADATA: json.dumps(facts)})

    @staticmethod
    def load(path: str) -> Model:
        """Read what save() wrote.

        Raises:
            CommandError: no such file, a damaged one, or one that `retrograd train` did not write.
        """
        extra("safetensors")
        try:
            with reading(path):
                open(path, "rb").close()  # says why, where it cannot be read
            tensors, metadata = serialization.load(path), serialization.load_metadata(path)
        except ValueError as error:
            raise CommandError(f"{path}: damaged, or not a safetensors file: {error.__cause__ or error}") from None
        facts = json.loads(metadata.get(METADATA, "{}"))
        if facts.pop("format", None) != FORMAT:
            raise CommandError(f"{path}: not a model that this version of `retrograd train` wrote")
        try:
            return Model._restore(facts, {name: tensor.numpy() for name, tensor in tensors.items()})
        except (KeyError, TypeError, RuntimeError):
            raise CommandError(f"{path}: damaged: the parts of the model do not fit together") from None

    @staticmethod
    def _restore(facts: dict[str, Any], arrays: dict[str, Array]) -> Model:
        of_preprocessing = {name: arrays.pop(f"preprocessing.{name}") for name in ("mean", "scale")}
        preprocessing = Preprocessing.restore(facts.pop("preprocessing"), of_preprocessing)
        outputs = len(facts["labels"]) if facts["labels"] else 1
        network = _dense(preprocessing.inputs, facts["hidden"], outputs, facts["activation"], facts["dropout"])
        network.load_state_dict({name.removeprefix("network."): array for name, array in arrays.items()})
        return Model(**facts, preprocessing=preprocessing, network=network)


def _dense(inputs: int, hidden: list[int], outputs: int, activation: str, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in zip([inputs, *hidden], hidden, strict=False):
        layers += [nn.Linear(before, width), ACTIVATIONS[activation]()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(hidden[-1] if hidden else inputs, outputs))
