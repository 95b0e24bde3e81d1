"""Layers of neural networks as pure functions of arrays and parameters, for every array library.

They are written in the Array API, so that they run on plain and on traced arrays, inside the transforms of any library
and under its compiler. On plain arrays of a backend that has kernels of its own (``Backend.kernels``) those are called
instead: the same function of the same arguments, faster. Weights of linear maps are stored (d_out, d_in), kernels of
convolutions (c_out, c_in / groups, height, width), both as in PyTorch.

Each parameter enters in the way that ``Backend.parameter_uses`` recognises: a convolution multiplies the patches of its
input with one matrix, and an embedding takes rows.
"""

from .activations import gelu, log_softmax, relu, softmax
from .affine import linear, mlp
from .attention import attention, self_attention
from .convolution import conv2d
from .embedding import embedding
from .normalisation import layer_norm

__all__ = [
    "attention",
    "conv2d",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "log_softmax",
    "mlp",
    "relu",
    "self_attention",
    "softmax",
]
