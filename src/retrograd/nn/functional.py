"""The operations that layers and losses are made of, under PyTorch's names: `import retrograd.nn.functional as F`."""

from ..ops.activation import gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
from ..ops.arrange import pad
from ..ops.distributions import gumbel_softmax, one_hot
from ..ops.elementary import elu, logsigmoid
from ..ops.gather import embedding
from ..ops.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from ..ops.normalization import batch_norm, group_norm, layer_norm, normalize, rms_norm
from ..ops.product import linear
from ..ops.random import dropout
from ..ops.reduction import log_softmax, softmax

__all__ = [
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "group_norm",
    "gumbel_softmax",
    "huber_loss",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mse_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "relu",
    "rms_norm",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
]
