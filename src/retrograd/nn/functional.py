"""The operations that layers and losses are made of, under PyTorch's names: `import retrograd.nn.functional as F`."""

from ..ops.activation import gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
from ..ops.arrange import pad
from ..ops.distributions import gumbel_softmax, one_hot
from ..ops.loss import binary_cross_entropy_with_logits, cross_entropy, huber_loss, l1_loss, mse_loss
from ..ops.product import linear
from ..ops.random import dropout
from ..ops.reduction import log_softmax, softmax

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "gelu",
    "gumbel_softmax",
    "huber_loss",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "mse_loss",
    "one_hot",
    "pad",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]
