"""Closed forms of the likelihoods in their outputs, in plain NumPy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class OutputTerms:
    """For each example: -log p (N,), ∂ log p/∂f (N, C), E[score scoreᵀ] and -∂² log p/∂f∂fᵀ (N, C, C)."""

    loss: np.ndarray
    score: np.ndarray
    fisher: np.ndarray
    hessian: np.ndarray


def _diagonal(values: np.ndarray) -> np.ndarray:
    return values[:, :, None] * np.eye(values.shape[1])


def categorical(f: np.ndarray, y: np.ndarray) -> OutputTerms:
    """Softmax: diag(p) - p pᵀ (Martens 2020)."""
    p = np.exp(f - f.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    matrix = _diagonal(p) - p[:, :, None] * p[:, None, :]
    return OutputTerms(-np.log(p[np.arange(len(y)), y]), np.eye(f.shape[1])[y] - p, matrix, matrix)


def bernoulli(f: np.ndarray, y: np.ndarray) -> OutputTerms:
    """Logits: p (1 - p)."""
    p = 1 / (1 + np.exp(-f))
    loss = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1)
    matrix = _diagonal(p * (1 - p))
    return OutputTerms(loss, y - p, matrix, matrix)


def poisson(f: np.ndarray, y: np.ndarray) -> OutputTerms:
    """Log rates: the rate."""
    rate = np.exp(f)
    factorial = np.vectorize(math.lgamma)(y + 1.0)
    matrix = _diagonal(rate)
    return OutputTerms((rate - y * f + factorial).sum(axis=1), y - rate, matrix, matrix)


def gaussian(f: np.ndarray, y: np.ndarray, variance: float) -> OutputTerms:
    """Means of known variance: 1/variance."""
    constant = 0.5 * f.shape[1] * math.log(2 * math.pi * variance)
    matrix = _diagonal(np.full_like(f, 1 / variance))
    return OutputTerms(((f - y) ** 2).sum(axis=1) / (2 * variance) + constant, (y - f) / variance, matrix, matrix)
