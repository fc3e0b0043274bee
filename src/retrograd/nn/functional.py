"""The operations that layers and losses are made of, under PyTorch's names: `import retrograd.nn.functional as F`."""

from ..ops.activation import gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
from ..ops.loss import binary_cross_entropy_with_logits, cross_entropy, huber_loss, l1_loss, mse_loss
from ..ops.product import linear
from ..ops.random import dropout
from ..ops.reduction import log_softmax, softmax

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "gelu",
    "huber_loss",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mse_loss",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]
