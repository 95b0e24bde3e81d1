"""Likelihoods p(y | outputs): the loss of a problem is the mean (or sum) of -log p."""

from .base import Likelihood
from .bernoulli import Bernoulli
from .categorical import Categorical
from .exponential import Exponential
from .gamma import Gamma
from .gaussian import Gaussian
from .heteroscedastic_gaussian import HeteroscedasticGaussian
from .poisson import Poisson
from .von_mises import VonMises

__all__ = [
    "Bernoulli",
    "Categorical",
    "Exponential",
    "Gamma",
    "Gaussian",
    "HeteroscedasticGaussian",
    "Likelihood",
    "Poisson",
    "VonMises",
]
