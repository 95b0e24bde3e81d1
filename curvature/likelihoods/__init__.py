"""Likelihoods p(y | outputs): the loss of a problem is the mean (or sum) of -log p."""

from .base import Likelihood
from .bernoulli import Bernoulli
from .categorical import Categorical
from .gaussian import Gaussian
from .poisson import Poisson

__all__ = ["Bernoulli", "Categorical", "Gaussian", "Likelihood", "Poisson"]
